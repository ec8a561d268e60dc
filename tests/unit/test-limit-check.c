/* What the supervisor makes of limits: what it refuses, and what it blames in the end. */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "daemon/supervisor/limits/limit-check.h"
#include "daemon/supervisor/limits/limit-hits.h"
#include "lib/priority.h"
#include "lib/results.h"

static struct host host = { (char *)"6.1.0", 2 };

/* Nobody writes to these: only what they say they have is looked at. */
static struct groups with_all = { .fd = 1000, .controllers = 0x1f };
static struct groups without_any = { .fd = 1000, .controllers = 0 };
static struct groups none = { .fd = -EBADF, .why = (char *)"there are none" };

static int check(const char *text, const struct groups *groups, struct fault *fault)
{
        json_t *json = json_loads(text, 0, NULL);
        struct spec spec;
        int r;

        test_true(json);
        r = spec_from_json(json, &spec, fault);
        if (r < 0)
                test_fail_at("%s: %s", fault->field, fault->why);
        json_decref(json);
        spec_fill(&spec, 2, 100);
        r = limit_check(&spec, groups, &host, fault);
        spec_deinit(&spec);
        return r;
}

#define EXEC(members)                                                                             \
        "{\"workload\":\"exec\",\"level\":\"serial\",\"command\":{\"words\":[\"true\"]}," members \
        "}"
#define SPEC(level, members) "{\"workload\":\"sum\",\"level\":\"" level "\"," members "}"

static void refuses(const char *text, const struct groups *groups, int error, const char *field,
                    const char *why)
{
        _cleanup_fault_ struct fault what = FAULT_NULL;

        test_int(check(text, groups, &what), ==, error);
        test_str(what.field, field);
        test_contains(what.why, why);
        test_true(*what.advice);
}

static void test_past_the_machine(void)
{
        refuses(SPEC("serial", "\"limits\":{\"cpu_max_cpus\":2.5}"), &with_all, -EDOM,
                "spec.limits.cpu_max_cpus", "250% is more than the 2 CPUs");
        refuses(SPEC("serial", "\"limits\":{\"memory_max_bytes\":1125899906842624}"), &with_all,
                -EDOM, "spec.limits.memory_max_bytes", "more than the memory of this machine");
        refuses(SPEC("serial", "\"limits\":{\"cpus\":\"8191\"}"), &with_all, -EDOM,
                "spec.limits.cpus", "CPU 8191 does not exist");
        refuses(SPEC("serial",
                     "\"limits\":{\"io_max\":[{\"device\":\"4000:1\",\"reads_per_second\":10}]}"),
                &with_all, -EDOM, "spec.limits.io_max", "4000:1 is not a whole disk");
        refuses(SPEC("serial", "\"limits\":{\"io_max\":[{\"device\":\"8:0\",\"read_bytes_per_"
                               "second\":65535}]}"),
                &with_all, -EDOM, "spec.limits.io_max[0].read_bytes_per_second",
                "65535 is out of range");
        refuses(SPEC("serial",
                     "\"limits\":{\"io_max\":[{\"device\":\"8:0\",\"writes_per_second\":9}]}"),
                &with_all, -EDOM, "spec.limits.io_max[0].writes_per_second", "9 is out of range");
        refuses(SPEC("processes", "\"worker_limits\":{\"cpu_max_cpus\":3}"), &with_all, -EDOM,
                "spec.worker_limits.cpu_max_cpus", "300%");
        refuses(EXEC("\"task_limits\":{\"cpu_max_cpus\":3}"), &with_all, -EDOM,
                "spec.task_limits.cpu_max_cpus", "300%");
}

static void test_unavailable(void)
{
        refuses(SPEC("serial", "\"limits\":{\"pids_max\":5}"), &without_any, -EOPNOTSUPP,
                "spec.limits.pids_max", "controller");
        refuses(SPEC("serial", "\"limits\":{\"pids_max\":5}"), &none, -EOPNOTSUPP,
                "spec.limits.pids_max", "there are none");
        refuses(SPEC("processes", "\"worker_limits\":{\"swap_max_bytes\":0}"), &without_any,
                -EOPNOTSUPP, "spec.worker_limits.swap_max_bytes", "controller");
        refuses(EXEC("\"task_limits\":{\"memory_max_bytes\":4194304}"), &without_any, -EOPNOTSUPP,
                "spec.task_limits.memory_max_bytes", "controller");
        refuses(EXEC("\"task_limits\":{\"pids_max\":9}"), &none, -EOPNOTSUPP,
                "spec.task_limits.pids_max", "there are none");
        refuses(SPEC("threads", "\"threaded\":true,\"thread_weights\":[1]"), &without_any,
                -EOPNOTSUPP, "spec.thread_weights", "controller");
        refuses(SPEC("threads", "\"threaded\":true"), &none, -EOPNOTSUPP, "spec.threaded",
                "there are none");
        refuses(SPEC("serial", "\"cpu_time_max_seconds\":1"), &none, -EOPNOTSUPP,
                "spec.cpu_time_max_seconds", "there are none");
}

static void test_allowed(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(check(SPEC("serial", "\"limits\":{\"pids_max\":5,\"cpu_max_cpus\":2,\"memory_max_"
                                      "bytes\":4194304,\"cpus\":\"0\"}"),
                       &with_all, &fault),
                 ==, 0);
        test_int(check(SPEC("threads", "\"threaded\":true,\"thread_weights\":[1]"), &with_all,
                       &fault),
                 ==, 0);
        test_int(check(SPEC("threads", "\"threaded\":true"), &without_any, &fault), ==, 0);
        test_int(check(SPEC("serial", "\"cpu_time_max_seconds\":1,\"nice\":19"), &without_any,
                       &fault),
                 ==, 0);
        test_int(check(EXEC("\"task_limits\":{\"memory_max_bytes\":4194304,\"swap_max_bytes\":0,"
                            "\"cpu_max_cpus\":0.5,\"pids_max\":9}"),
                       &with_all, &fault),
                 ==, 0);
        /* Nothing to be enforced. */
        test_int(check(SPEC("serial", "\"limits\":{\"pids_max\":9223372036854775807}"), &none,
                       &fault),
                 ==, 0);
}

static struct outcome ended(enum job_state state, enum job_reason reason)
{
        return (struct outcome){ OUTCOME_ENDED, state, reason };
}

static void blames(struct outcome outcome, bool oom, uint64_t refused, enum job_state state,
                   enum job_reason reason)
{
        const struct limit_hits hits = { .runner_oom_killed = oom, .n_refused = refused };

        outcome = limit_blame(outcome, &hits);
        test_int(outcome.verdict, ==, OUTCOME_ENDED);
        test_int(outcome.state, ==, state);
        test_int(outcome.reason, ==, reason);
}

static void test_blame(void)
{
        blames(ended(JOB_FAILED, REASON_RUNNER_DIED), true, 0, JOB_FAILED, REASON_OOM_KILLED);
        blames(ended(JOB_FAILED, REASON_RUNNER_DIED), false, 3, JOB_FAILED, REASON_RUNNER_DIED);
        blames((struct outcome){ OUTCOME_AGAIN, JOB_QUEUED, REASON_NONE }, true, 0, JOB_FAILED,
               REASON_OOM_KILLED);
        blames(ended(JOB_FAILED, REASON_RUNNER_FAILED), false, 1, JOB_FAILED, REASON_PIDS_MAX);
        blames(ended(JOB_DONE, REASON_NONE), false, 1, JOB_DONE, REASON_PIDS_MAX);
        blames(ended(JOB_DONE, REASON_NONE), false, 0, JOB_DONE, REASON_NONE);
        /* Who stopped it had a reason of his own. */
        blames(ended(JOB_CANCELLED, REASON_TIMEOUT), true, 1, JOB_CANCELLED, REASON_TIMEOUT);
        test_int(limit_blame((struct outcome){ OUTCOME_AGAIN, JOB_QUEUED, REASON_NONE },
                             &(const struct limit_hits){ .n_refused = 5 })
                         .verdict,
                 ==, OUTCOME_AGAIN);
}

/* Of 20 tasks 12 were claimed; 3, 7 and from 9 on have no record. */
static int make_results(void)
{
        struct results results = RESULTS_NULL;
        int fd = memfd_create("results", MFD_CLOEXEC);

        test_int(fd, >=, 0);
        test_int(results_create(fd, 20, 1000), ==, 0);
        test_int(results_map(fd, true, &results), ==, 0);
        results.header->next = 12;
        for (unsigned i = 0; i < 9; ++i)
                if (i != 3 && i != 7)
                        results.records[i].state = PPP_STATE_DONE;
        results_unmap(&results);
        return fd;
}

static void test_sentences(void)
{
        _cleanup_close_ int fd = make_results();
        struct spec spec = { .level = LEVEL_THREADS };
        struct limit_met memory = { PLACE_JOB, NULL, 67108864, 1 };
        struct limit_hits hits = { .runner_oom_killed = true };
        struct tally tally;
        char *text;

        test_int(counters_tally(fd, 20, &tally), ==, 0);
        test_int(tally.n_open, ==, 5);
        test_int(tally.open[0], ==, 3);
        test_int(tally.open[1], ==, 7);

        text = limit_describe(REASON_OOM_KILLED, &hits, &spec, &tally);
        test_contains(text, "; inputs 4, 8, 10, 11, 12 were in progress");
        free(text);
        spec.level = LEVEL_SERIAL;
        hits.limits[CHAIN_MEMORY].met = &memory;
        hits.limits[CHAIN_MEMORY].n = 1;
        text = limit_describe(REASON_OOM_KILLED, &hits, &spec, &tally);
        test_str(text, "the kernel killed the runner for lack of memory: memory.max of the job is "
                       "67108864 bytes; input 4 was in progress");
        free(text);
        hits.n_refused = 1;
        text = limit_describe(REASON_PIDS_MAX, &hits, &spec, &tally);
        test_contains(text, "refused 1 process or thread: ");
        free(text);
        test_true(!limit_describe(REASON_TIMEOUT, &hits, &spec, &tally));
}

static void test_nice(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int nice;

        test_int(priority_get(0, &nice), ==, 0);
        test_true(priority_may_set(nice, &fault));
        test_true(priority_may_set(19, &fault));
        test_int(priority_get(INT32_MAX, &nice), ==, -ESRCH);
}

TEST_MAIN("limit-check", { "past the machine", test_past_the_machine },
          { "unavailable", test_unavailable }, { "allowed", test_allowed }, { "blame", test_blame },
          { "sentences", test_sentences }, { "nice values", test_nice })
