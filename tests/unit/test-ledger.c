/* What a coordinator knows of a job's tasks and of the nodes that run them. */

#include <stdio.h>
#include <sys/mman.h>

#include "daemon/runner/machines/ledger.h"
#include "daemon/runner/machines/roster.h"
#include "tests/unit/test.h"

enum { N = 100 };

static const struct ppp_record done = { .state = PPP_STATE_DONE };
static const struct ppp_record failed = { .reason = PPP_REASON_IO, .state = PPP_STATE_FAILED };

static void setup(struct ledger *ledger, struct results *results)
{
        _cleanup_close_ int fd = memfd_create("results", MFD_CLOEXEC);

        test_int(results_create(fd, N, now_monotonic()), ==, 0);
        test_int(results_map(fd, true, results), ==, 0);
        test_int(ledger_init(ledger, results), ==, 0);
}

static void teardown(struct ledger *ledger, struct results *results)
{
        ledger_deinit(ledger);
        results_unmap(results);
}

#define test_next(ledger, max, at, many)                      \
        do {                                                  \
                struct task_range _range;                     \
                                                              \
                test_true(ledger_next(ledger, max, &_range)); \
                test_int(_range.first, ==, at);               \
                test_int(_range.n, ==, many);                 \
        } while (0)

static struct outstanding *enter(struct ledger *ledger, uint64_t first, uint32_t n)
{
        struct outstanding *chunk = ledger_enter(ledger, first, n, 10);

        test_true(chunk);
        return chunk;
}

/* In turn, without what is out or has a record; and to the last. */
static void test_in_turn(void)
{
        struct task_range range;
        struct results results;
        struct ledger ledger;

        setup(&ledger, &results);
        test_int(ledger_left(&ledger), ==, N);
        test_next(&ledger, 8, 0, 8);
        (void)enter(&ledger, 0, 8);
        test_int(ledger_left(&ledger), ==, N - 8);
        test_true(ledger_record(&ledger, 12, &done));
        test_int(ledger_left(&ledger), ==, N - 9);
        test_next(&ledger, 8, 8, 4);
        (void)enter(&ledger, 8, 4);
        test_next(&ledger, 1000, 13, N - 13);
        (void)enter(&ledger, 13, N - 13);
        test_true(!ledger_next(&ledger, 8, &range));
        test_int(ledger_left(&ledger), ==, 0);
        teardown(&ledger, &results);
}

/* What comes back without a record comes first, the gaps of a chunk each by itself. */
static void test_comes_back(void)
{
        struct outstanding *chunk;
        struct results results;
        struct ledger ledger;

        setup(&ledger, &results);
        chunk = enter(&ledger, 0, 10);
        test_next(&ledger, 5, 10, 5);
        test_true(ledger_record(&ledger, 0, &done));
        test_true(ledger_record(&ledger, 4, &failed));
        ledger_close(&ledger, chunk);
        test_int(ledger.out.n, ==, 0);
        test_next(&ledger, 100, 5, 5);
        (void)enter(&ledger, 5, 5);
        test_next(&ledger, 100, 1, 3);
        (void)enter(&ledger, 1, 3);
        test_next(&ledger, 100, 10, N - 10);

        /* One that could not be sent is where it was. */
        chunk = enter(&ledger, 10, N - 10);
        ledger_strike(&ledger, chunk);
        test_next(&ledger, 100, 10, N - 10);
        teardown(&ledger, &results);
}

static void test_recorded_once(void)
{
        struct results results;
        struct ppp_record record;
        struct ledger ledger;

        setup(&ledger, &results);
        test_true(ledger_record(&ledger, 1, &done));
        test_true(!ledger_record(&ledger, 1, &failed));
        test_true(results_get(&results, 1, &record));
        test_int(record.state, ==, PPP_STATE_DONE);
        test_int(ledger.n_duplicate, ==, 1);
        test_true(ledger_record(&ledger, 2, &failed));
        test_int(results.header->n_done + results.header->n_failed, ==, 0);
        ledger_tell(&ledger);
        ledger_tell(&ledger);
        test_int(results.header->n_done, ==, 1);
        test_int(results.header->n_failed, ==, 1);
        for (uint64_t i = 0; i < N; ++i) {
                test_true(!ledger_is_complete(&ledger) || i == N);
                (void)ledger_record(&ledger, i, &done);
        }
        test_true(ledger_is_complete(&ledger));
        ledger_tell(&ledger);
        ledger_deinit(&ledger);
        /* Taken up again it knows of them. */
        test_int(ledger_init(&ledger, &results), ==, 0);
        test_true(ledger_is_complete(&ledger));
        teardown(&ledger, &results);
}

static struct roster_node *named(struct roster *roster, const char *name)
{
        struct roster_node *node = roster_get(roster, name, strlen(name));

        test_true(node);
        return node;
}

static void test_roster(void)
{
        struct roster roster = {};
        struct roster_node *a = named(&roster, "a"), *ab = named(&roster, "ab");
        uint64_t n_nodes, n_workers;

        test_true(named(&roster, "a") == a);
        test_true(named(&roster, "ab") == ab);
        test_int(roster.n, ==, 2);
        test_int(ab->number, ==, 1);
        a->alive = ab->alive = a->seen = true;
        a->workers = 10;
        a->slots = 2;
        ab->workers = ab->slots = 5;
        roster_count(&roster);
        test_int(roster.capacity, ==, 15);
        test_int(roster.slots, ==, 7);
        roster_count_seen(&roster, &n_nodes, &n_workers);
        test_int(n_nodes, ==, 1);
        test_int(n_workers, ==, 10);
        roster_call(&roster);
        ab->alive = true;
        roster_count(&roster);
        test_int(roster.capacity, ==, 5);
        roster_deinit(&roster);
}

/* Whoever may write to Redis may name any number. */
static void test_too_many(void)
{
        struct roster roster = {};
        struct roster_node *first;
        char name[16];

        for (unsigned i = 0; i < ROSTER_NODES_MAX; ++i) {
                snprintf(name, sizeof(name), "%u", i);
                test_true(named(&roster, name) != &roster.others);
        }
        first = named(&roster, "0");
        test_true(named(&roster, "one more") == &roster.others);
        test_int(roster.others.number, ==, UINT16_MAX);
        test_true(named(&roster, "0") == first);
        test_int(roster.n, ==, ROSTER_NODES_MAX);
        roster_deinit(&roster);
}

TEST_MAIN("ledger", { "tasks are sent in turn", test_in_turn },
          { "what comes back without a record is sent again", test_comes_back },
          { "a task is recorded once", test_recorded_once },
          { "nodes, and what they take", test_roster },
          { "names of nodes have a bound", test_too_many })
