#pragma once

/*
 * What each user makes us hold: connections, and jobs that wait, run, or are frozen. Charged to the
 * uid the kernel vouches for (SO_PEERCRED). And the order in which users take turns.
 */

#include <sys/types.h>

#include "lib/list.h"

enum quota_slot {
        QUOTA_PEERS,
        QUOTA_QUEUED,
        QUOTA_RUNNING,    /* jobs that hold one of the max_running slots */
        QUOTA_FROZEN,     /* paused ones that run and gave their slot up */
        QUOTA_LIVE_BYTES, /* on disk, of jobs that wait or run */
        QUOTA_KEPT_BYTES, /* on disk, of jobs that have ended */
        _QUOTA_N,
};

struct quota {
        struct list users;
        uint64_t totals[_QUOTA_N];
        uint64_t n_turns;
};

void quota_init(struct quota *quota);
/* What is still charged (of jobs that are kept) goes with it. */
void quota_deinit(struct quota *quota);

/* Charges one. Returns 0; QUOTA_E_TOTAL or QUOTA_E_USER when a limit is reached; -ENOMEM. */
enum {
        _QUOTA_E_SUCCESS,
        QUOTA_E_TOTAL,
        QUOTA_E_USER,
};
int quota_charge(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t total_max,
                 uint64_t user_max);
void quota_release(struct quota *quota, enum quota_slot slot, uid_t uid);

/*
 * Any number of them, as of bytes, which somebody else has bounded. -ENOMEM. Releases what there is
 * at most.
 */
int quota_add(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t n);
void quota_subtract(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t n);

/* Some user, not trusted, with ended jobs, whose bytes are more than @max. False: there is none. */
bool quota_find_over(const struct quota *quota, uint64_t max, uid_t *ret);

/* How much of it @uid is charged with. */
uint64_t quota_used(const struct quota *quota, enum quota_slot slot, uid_t uid);

/*
 * Users take turns: the one with the smallest number is next, and taking a turn puts a user behind
 * all others, as being new does. A user who is charged with nothing is forgotten, and has the
 * number 0.
 */
uint64_t quota_turn(const struct quota *quota, uid_t uid);
void quota_take_turn(struct quota *quota, uid_t uid);

/* Root and the supervisor's own user share only the total with others. */
static inline bool uid_is_trusted(uid_t uid)
{
        return uid == 0 || uid == geteuid();
}
