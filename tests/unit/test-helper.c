/* The life of a helper, with a real process: when it is started, stopped, and started again. */

#include "daemon/supervisor/helpers/helper.h"

#include <sys/wait.h>

#include "tests/unit/test.h"

#define IDLE_USEC UINT64_C(20000)

static const char *script;
static unsigned n_started, n_down;
static struct groups groups = GROUPS_NULL;
static sd_event *event;
static struct helper helper;

static int start(struct helper *of, int leaf_fd, struct fault *fault)
{
        char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
        const struct spawn spawn = {
                .path = "/bin/sh",
                .argv = argv,
                .envp = environ,
                .cgroup_fd = leaf_fd,
                .fds = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO },
                .n_fds = 3,
                .die_with_parent = true,
        };
        const char *attempted;

        ++n_started;
        return child_start(&of->child, &spawn, &attempted);
}

static void down(struct helper *of)
{
        ++n_down;
}

static const struct helper_kind patient = {
        .what = "a helper of the test",
        .idle_usec = IDLE_USEC,
        .start = start,
        .down = down,
};
static const struct helper_kind mortal = {
        .what = "a helper that dies",
        .idle_usec = IDLE_USEC,
        .deaths_max = 2,
        .start = start,
        .down = down,
};
static const struct helper_kind choosy = {
        .what = "a helper that refuses",
        .idle_usec = IDLE_USEC,
        .may_refuse = true,
        .start = start,
        .down = down,
};

static void begin(const struct helper_kind *kind, const char *what_it_runs)
{
        script = what_it_runs;
        n_started = n_down = 0;
        test_int(sd_event_new(&event), >=, 0);
        helper_init(&helper, kind, event, &groups, "test");
}

static void end(void)
{
        helper_deinit(&helper);
        event = sd_event_unref(event);
}

static void acquire(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(helper_acquire(&helper, &fault), ==, 0);
}

/* When its timer is due, in microseconds from now; 0: it is off. */
static uint64_t due(void)
{
        uint64_t usec = 0, now = 0;
        int enabled = SD_EVENT_OFF;

        if (helper.timer_source)
                test_int(sd_event_source_get_enabled(helper.timer_source, &enabled), >=, 0);
        if (enabled == SD_EVENT_OFF)
                return 0;
        test_int(sd_event_source_get_time(helper.timer_source, &usec), >=, 0);
        test_int(sd_event_now(event, CLOCK_MONOTONIC, &now), >=, 0);
        return usec > now ? usec - now : 1;
}

/* The time has come, whatever the clock says. */
static void let_it_be_due(void)
{
        test_true(due() > 0);
        test_int(sd_event_source_set_time(helper.timer_source, 1), >=, 0);
}

#define turn_until(condition)                                            \
        do {                                                             \
                while (!(condition))                                     \
                        test_int(sd_event_run(event, UINT64_MAX), >, 0); \
        } while (0)

static void test_idle(void)
{
        begin(&patient, "exec sleep 3600");
        acquire();
        acquire();
        test_int(n_started, ==, 1);
        test_true(helper_is_up(&helper));
        helper_release(&helper);
        test_int(due(), ==, 0);
        /* Somebody comes before it has been idle for long. */
        helper_release(&helper);
        test_true(due() > 0);
        acquire();
        test_int(due(), ==, 0);
        helper_release(&helper);
        turn_until(n_down == 1);
        test_int(helper.state, ==, HELPER_DOWN);
        test_int(n_started, ==, 1);
        /* And again from the beginning. */
        acquire();
        test_int(n_started, ==, 2);
        end();
}

/* Who comes while it is being stopped gets the next one. */
static void test_needed_while_it_stops(void)
{
        begin(&patient, "exec sleep 3600");
        acquire();
        helper_release(&helper);
        let_it_be_due();
        turn_until(helper.state == HELPER_STOPPING);
        acquire();
        test_int(n_started, ==, 1);
        turn_until(helper.state == HELPER_RUNS);
        test_int(n_started, ==, 2);
        test_int(n_down, ==, 0);
        end();
}

/* New settings: it is stopped, and started again at once. */
static void test_stopped_with_a_user(void)
{
        begin(&patient, "exec sleep 3600");
        acquire();
        helper_stop(&helper);
        test_int(helper.state, ==, HELPER_STOPPING);
        turn_until(helper.state == HELPER_RUNS);
        test_int(n_started, ==, 2);
        test_int(helper.n_deaths, ==, 0);
        end();
}

/* Twice the delay after each death, up to a minute. */
static void test_deaths(void)
{
        uint64_t usec = 100000;

        begin(&patient, "exit 3");
        acquire();
        for (unsigned i = 1; i <= 12; ++i) {
                turn_until(helper.state == HELPER_DOWN);
                test_int(helper.n_deaths, ==, i);
                test_int(due(), <=, MIN(usec, UINT64_C(60000000)));
                if (i > 10)
                        test_int(due(), >, 30000000);
                let_it_be_due();
                turn_until(n_started == i + 1);
                usec *= 2;
        }
        /* A reload does not wait. */
        turn_until(helper.state == HELPER_DOWN);
        helper_stop(&helper);
        test_int(n_started, ==, 14);
        test_int(helper.n_deaths, ==, 0);
        /* One that has lived for long is not punished for what was before. */
        helper.n_deaths = 5;
        helper.started_ns -= 60 * NSEC_PER_SEC;
        turn_until(helper.state == HELPER_DOWN);
        test_int(helper.n_deaths, ==, 1);
        helper_release(&helper);
        test_int(due(), ==, 0);
        test_int(n_down, ==, 1);
        end();
}

static void test_deaths_that_are_enough(void)
{
        begin(&mortal, "kill -9 $$");
        acquire();
        turn_until(helper.state == HELPER_DOWN);
        let_it_be_due();
        turn_until(n_down == 1);
        test_int(n_started, ==, 2);
        test_int(due(), ==, 0);
        /* Somebody new needs it. */
        acquire();
        test_int(n_started, ==, 3);
        test_int(helper.n_deaths, ==, 0);
        end();
}

static void test_refuses(void)
{
        begin(&choosy, "exit 1");
        acquire();
        turn_until(helper.state == HELPER_DOWN);
        test_true(helper.refused);
        test_true(due() > 10000000);
        end();
}

TEST_MAIN("helper", { "idle", test_idle }, { "needed while it stops", test_needed_while_it_stops },
          { "stopped with a user", test_stopped_with_a_user }, { "deaths", test_deaths },
          { "deaths that are enough", test_deaths_that_are_enough }, { "refuses", test_refuses })
