#include "daemon/supervisor/base/quota.h"

struct user {
        struct list link;
        uid_t uid;
        uint64_t turn;
        uint64_t used[_QUOTA_N];
};

void quota_init(struct quota *quota)
{
        *quota = (struct quota){ .totals = { 0 } };
        list_init(&quota->users);
}

static struct user *find(const struct quota *quota, uid_t uid)
{
        struct user *user;

        list_for_each(user, &quota->users, struct user, link)
                if (user->uid == uid)
                        return user;
        return NULL;
}

static struct user *find_or_add(struct quota *quota, uid_t uid)
{
        struct user *user = find(quota, uid);

        if (user)
                return user;
        user = calloc(1, sizeof(*user));
        if (!user)
                return NULL;
        user->uid = uid;
        user->turn = ++quota->n_turns;
        list_init(&user->link);
        list_append(&quota->users, &user->link);
        return user;
}

static void drop_if_unused(struct user *user)
{
        for (unsigned i = 0; i < _QUOTA_N; ++i)
                if (user->used[i] > 0)
                        return;
        list_remove(&user->link);
        free(user);
}

int quota_charge(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t total_max,
                 uint64_t user_max)
{
        struct user *user;

        assert(slot < _QUOTA_N);
        if (quota->totals[slot] >= total_max)
                return QUOTA_E_TOTAL;
        user = find_or_add(quota, uid);
        if (!user)
                return -ENOMEM;
        if (user->used[slot] >= user_max) {
                drop_if_unused(user);
                return QUOTA_E_USER;
        }
        ++user->used[slot];
        ++quota->totals[slot];
        return 0;
}

void quota_release(struct quota *quota, enum quota_slot slot, uid_t uid)
{
        struct user *user = find(quota, uid);

        assert(user && user->used[slot] > 0 && quota->totals[slot] > 0);
        --user->used[slot];
        --quota->totals[slot];
        drop_if_unused(user);
}

uint64_t quota_used(const struct quota *quota, enum quota_slot slot, uid_t uid)
{
        const struct user *user = find(quota, uid);

        assert(slot < _QUOTA_N);
        return user ? user->used[slot] : 0;
}

uint64_t quota_turn(const struct quota *quota, uid_t uid)
{
        const struct user *user = find(quota, uid);

        return user ? user->turn : 0;
}

void quota_take_turn(struct quota *quota, uid_t uid)
{
        struct user *user = find(quota, uid);

        if (user)
                user->turn = ++quota->n_turns;
}

int quota_add(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t n)
{
        struct user *user = n > 0 ? find_or_add(quota, uid) : NULL;

        assert(slot < _QUOTA_N);
        if (n == 0)
                return 0;
        if (!user)
                return -ENOMEM;
        user->used[slot] += n;
        quota->totals[slot] += n;
        return 0;
}

void quota_subtract(struct quota *quota, enum quota_slot slot, uid_t uid, uint64_t n)
{
        struct user *user = find(quota, uid);

        assert(slot < _QUOTA_N);
        if (!user)
                return;
        n = MIN(n, user->used[slot]);
        user->used[slot] -= n;
        quota->totals[slot] -= n;
        drop_if_unused(user);
}

bool quota_find_over(const struct quota *quota, uint64_t max, uid_t *ret)
{
        struct user *user;

        list_for_each(user, &quota->users, struct user, link) {
                uint64_t kept = user->used[QUOTA_KEPT_BYTES];

                if (uid_is_trusted(user->uid) || kept == 0 ||
                    user->used[QUOTA_LIVE_BYTES] + kept <= max)
                        continue;
                *ret = user->uid;
                return true;
        }
        return false;
}

void quota_deinit(struct quota *quota)
{
        struct user *user;

        list_for_each(user, &quota->users, struct user, link) {
                list_remove(&user->link);
                free(user);
        }
}
