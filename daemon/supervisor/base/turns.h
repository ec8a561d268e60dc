#pragma once

/*
 * Whose turn it is. Users take turns, by the uid the kernel vouches for and whatever the number of
 * their connections; within a user, its connections do. All that is done for a client is done in
 * its turn, and a turn is one small step: one call, or one part of a stream. So what one user asks
 * for delays another by a turn at most.
 *
 * Turns come after everything else of the event loop (TURNS_PRIORITY): by the time one is taken,
 * all who want one are in the rotation.
 */

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "daemon/supervisor/base/log.h"
#include "lib/list.h"

/* Larger is later; other sources have 0. */
#define TURNS_PRIORITY 10

/* The uid of turns that are no user's. */
#define TURNS_NOBODY ((uid_t)-1)

struct turns {
        sd_event_source *source;
        struct list users; /* all */
        struct list ready; /* those that want a turn, in rotation */
};

/* All turns of one uid. It is there while one of them is. */
struct turn_user {
        struct turns *turns;
        struct list link;   /* turns->users */
        struct list ready;  /* turns->ready */
        struct list wanted; /* its turns that are wanted, in rotation */
        uid_t uid;
        unsigned n;           /* its turns, wanted or not */
        struct log_limit log; /* what this user may have us write to the log */
};

struct turn {
        struct turn_user *user;
        struct list link;                /* user->wanted */
        void (*take)(struct turn *turn); /* may free the turn */
};

int turns_init(struct turns *turns, sd_event *event);
/* No turn may be left. */
void turns_deinit(struct turns *turns);

/* -ENOMEM, and @turn may be passed to turn_deinit(). */
int turn_init(struct turn *turn, struct turns *turns, uid_t uid, void (*take)(struct turn *turn));
void turn_deinit(struct turn *turn);

/* Has turn->take() called once, when it is this turn. Wanting twice is wanting once. */
void turn_want(struct turn *turn);
