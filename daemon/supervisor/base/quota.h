#pragma once

/*
 * Quotas count what each user makes us hold: connections, jobs that wait, run, or are frozen, and
 * bytes on disk. All is charged to the uid that the kernel reports (SO_PEERCRED). A quota also has
 * the order in which users take turns.
 */

#include <sys/types.h>

#include "lib/list.h"

enum quota_slot {
        QUOTA_PEERS,
        QUOTA_QUEUED,
        QUOTA_RUNNING,    /* jobs that hold one of the max_running slots */
        QUOTA_FROZEN,     /* running jobs that are paused and have given up their slot */
        QUOTA_LIVE_BYTES, /* bytes on disk of jobs that wait or run */
        QUOTA_KEPT_BYTES, /* bytes on disk of jobs that have ended */
        _QUOTA_N,
};

struct quota {
        struct list users;
        uint64_t totals[_QUOTA_N];
        uint64_t n_turns;
};

void quota_init(struct quota *quota);
/* Something may still be charged: the bytes of jobs that are kept. */
void quota_deinit(struct quota *quota);

/* Charges one unit. Returns 0; QUOTA_E_TOTAL or QUOTA_E_USER when a limit is reached; -ENOMEM. */
enum {
        _QUOTA_E_SUCCESS,
        QUOTA_E_TOTAL,
        QUOTA_E_USER,
};
int quota_charge(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t total_max,
                 uint64_t user_max);
void quota_release(struct quota *quota, enum quota_slot slot, uid_t uid);

/*
 * Charges and releases @n units, such as bytes, without a limit; the caller has checked that. Not
 * more is released than was charged. -ENOMEM.
 */
int quota_add(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t n);
void quota_subtract(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t n);

/* Finds an untrusted user with ended jobs whose jobs take more than @max bytes, if there is one. */
bool quota_find_over(const struct quota *quota, uint64_t max, uid_t *ret);

/* The number of units that @uid is charged with. */
uint64_t quota_used(const struct quota *quota, enum quota_slot slot, uid_t uid);

/*
 * Users take turns in rotation: the one with the smallest number is next. A user who takes a turn
 * goes behind all others, and so does a new user. A user who is charged with nothing is forgotten,
 * and has the number 0.
 */
uint64_t quota_turn(const struct quota *quota, uid_t uid);
void quota_take_turn(struct quota *quota, uid_t uid);

/* Root and the supervisor's own user are bound by the total limits only, not by those per user. */
static inline bool uid_is_trusted(uid_t uid)
{
        return uid == 0 || uid == geteuid();
}
