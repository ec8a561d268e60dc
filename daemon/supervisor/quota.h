#pragma once

/*
 * What each user makes us hold: connections and waiting jobs. Charged to the uid the kernel vouches
 * for (SO_PEERCRED).
 */

#include <sys/types.h>

#include "daemon/supervisor/list.h"

enum quota_slot {
        QUOTA_PEERS,
        QUOTA_QUEUED,
        _QUOTA_N,
};

struct quota {
        struct list users;
        uint64_t totals[_QUOTA_N];
};

void quota_init(struct quota *quota);

/* Charges one. Returns 0; QUOTA_E_TOTAL or QUOTA_E_USER when a limit is reached; -ENOMEM. */
enum {
        _QUOTA_E_SUCCESS,
        QUOTA_E_TOTAL,
        QUOTA_E_USER,
};
int quota_charge(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t total_max,
                 uint64_t user_max);
void quota_release(struct quota *quota, enum quota_slot slot, uid_t uid);

/* Root and the supervisor's own user share only the total with others. */
static inline bool uid_is_trusted(uid_t uid)
{
        return uid == 0 || uid == geteuid();
}
