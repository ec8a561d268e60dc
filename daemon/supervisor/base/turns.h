#pragma once

/*
 * Turns decide which client is served next. Users take turns in rotation, by the uid that the
 * kernel reports, however many connections they have; and so do the connections of one user.
 * Everything that is done for a client is done in its turn, and a turn is one small step: one call,
 * or one part of a stream. So a user's calls never delay another user by more than a turn.
 *
 * Turns come after everything else in the event loop (TURNS_PRIORITY). So by the time that one is
 * taken, everybody who wants a turn is in the rotation.
 */

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "daemon/supervisor/base/log.h"
#include "lib/list.h"

/* sd-event handles sources with a larger number later; all other sources have 0. */
#define TURNS_PRIORITY 10

/* The uid for turns that belong to no user. */
#define TURNS_NOBODY ((uid_t)-1)

struct turns {
        sd_event_source *source;
        struct list users; /* all users */
        struct list ready; /* users that want a turn, in rotation */
};

/* All turns of one uid. The object exists as long as any of them does. */
struct turn_user {
        struct turns *turns;
        struct list link;   /* turns->users */
        struct list ready;  /* turns->ready */
        struct list wanted; /* this user's turns that are wanted, in rotation */
        uid_t uid;
        unsigned n;           /* all of this user's turns, wanted or not */
        struct log_limit log; /* limits the messages that this user can cause */
};

struct turn {
        struct turn_user *user;
        struct list link;                /* user->wanted */
        void (*take)(struct turn *turn); /* may free the turn */
};

int turns_init(struct turns *turns, sd_event *event);
/* No turn may be left. */
void turns_deinit(struct turns *turns);

/* -ENOMEM; @turn may be passed to turn_deinit() even then. */
int turn_init(struct turn *turn, struct turns *turns, uid_t uid, void (*take)(struct turn *turn));
void turn_deinit(struct turn *turn);

/* Asks that turn->take() be called once, when this turn is next. Asking again changes nothing. */
void turn_want(struct turn *turn);
