/* What users are charged with, and the order in which they take turns. */

#include "tests/unit/test.h"

#include "daemon/supervisor/base/quota.h"

/* Three users, none of them trusted as root and the one who runs this are. */
#define ANNE (getuid() + 1000)
#define BERT (getuid() + 1001)
#define CARL (getuid() + 1002)

static struct quota quota;

static void begin(void)
{
        quota_init(&quota);
}

static void charge(uid_t uid, unsigned n)
{
        for (unsigned i = 0; i < n; ++i)
                test_int(quota_charge(&quota, QUOTA_QUEUED, uid, 100, 100), ==, 0);
}

static void test_bounds(void)
{
        begin();
        test_int(quota_charge(&quota, QUOTA_QUEUED, ANNE, 3, 2), ==, 0);
        test_int(quota_charge(&quota, QUOTA_QUEUED, ANNE, 3, 2), ==, 0);
        test_int(quota_charge(&quota, QUOTA_QUEUED, ANNE, 3, 2), ==, QUOTA_E_USER);
        test_int(quota_charge(&quota, QUOTA_QUEUED, BERT, 3, 2), ==, 0);
        test_int(quota_charge(&quota, QUOTA_QUEUED, BERT, 3, 2), ==, QUOTA_E_TOTAL);
        test_int(quota_charge(&quota, QUOTA_RUNNING, BERT, 1, 1), ==, 0);
        test_int(quota_used(&quota, QUOTA_QUEUED, ANNE), ==, 2);
        test_int(quota_used(&quota, QUOTA_QUEUED, BERT), ==, 1);
        test_int(quota_used(&quota, QUOTA_RUNNING, ANNE), ==, 0);
        test_int(quota_used(&quota, QUOTA_RUNNING, CARL), ==, 0);
        quota_release(&quota, QUOTA_QUEUED, ANNE);
        quota_release(&quota, QUOTA_QUEUED, ANNE);
        quota_release(&quota, QUOTA_QUEUED, BERT);
        quota_release(&quota, QUOTA_RUNNING, BERT);
        test_true(list_empty(&quota.users));
        test_int(quota.totals[QUOTA_QUEUED], ==, 0);
}

static void test_turns(void)
{
        begin();
        test_int(quota_turn(&quota, ANNE), ==, 0);
        charge(ANNE, 3);
        charge(BERT, 1);
        test_int(quota_turn(&quota, ANNE), <, quota_turn(&quota, BERT));
        quota_take_turn(&quota, ANNE);
        test_int(quota_turn(&quota, BERT), <, quota_turn(&quota, ANNE));
        /* Being new puts a user behind those that wait already. */
        charge(CARL, 1);
        test_int(quota_turn(&quota, ANNE), <, quota_turn(&quota, CARL));
        quota_take_turn(&quota, BERT);
        test_int(quota_turn(&quota, CARL), <, quota_turn(&quota, BERT));
        /* Nobody gets ahead by leaving and coming again. */
        quota_release(&quota, QUOTA_QUEUED, BERT);
        charge(BERT, 1);
        test_int(quota_turn(&quota, CARL), <, quota_turn(&quota, BERT));
        for (unsigned i = 0; i < 3; ++i)
                quota_release(&quota, QUOTA_QUEUED, ANNE);
        quota_release(&quota, QUOTA_QUEUED, BERT);
        quota_release(&quota, QUOTA_QUEUED, CARL);
}

static void test_bytes(void)
{
        uid_t over;

        begin();
        test_int(quota_add(&quota, QUOTA_LIVE_BYTES, ANNE, 60), ==, 0);
        test_int(quota_add(&quota, QUOTA_KEPT_BYTES, 0, 1000), ==, 0);
        test_true(!quota_find_over(&quota, 50, &over));
        test_int(quota_add(&quota, QUOTA_KEPT_BYTES, ANNE, 40), ==, 0);
        test_true(!quota_find_over(&quota, 100, &over));
        test_true(quota_find_over(&quota, 99, &over));
        test_int(over, ==, ANNE);
        quota_subtract(&quota, QUOTA_KEPT_BYTES, ANNE, 50);
        test_true(!quota_find_over(&quota, 50, &over));
        quota_subtract(&quota, QUOTA_LIVE_BYTES, ANNE, 60);
        quota_subtract(&quota, QUOTA_KEPT_BYTES, 0, 1000);
        quota_subtract(&quota, QUOTA_KEPT_BYTES, BERT, 1);
        test_true(list_empty(&quota.users));
}

TEST_MAIN("quota", { "bounds", test_bounds }, { "turns", test_turns }, { "bytes", test_bytes })
