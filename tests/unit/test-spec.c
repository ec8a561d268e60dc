/* The spec: strict reading, writing, defaults. */

#include "lib/spec.h"
#include "tests/unit/test.h"

static int parse(const char *text, struct spec *ret, struct fault *fault)
{
        json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
        int r;

        test_true(json);
        r = spec_from_json(json, ret, fault);
        json_decref(json);
        return r;
}

#define EXEC(members)                                                                             \
        "{\"level\":\"serial\",\"workload\":\"exec\",\"command\":{\"words\":[\"true\"]}," members \
        "}"

static const struct {
        const char *text, *field, *why;
} refused[] = {
        { "[]", "spec", "not an object" },
        { "{}", "spec.level", "missing" },
        { "{\"level\":\"fast\",\"workload\":\"sum\"}", "spec.level", "fast" },
        { "{\"level\":1,\"workload\":\"sum\"}", "spec.level", "not a string" },
        { "{\"level\":\"serial\"}", "spec.workload", "missing" },
        { "{\"level\":\"serial\",\"workload\":\"Words\"}", "spec.workload", "Words" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"wrokers\":1}", "spec", "wrokers" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"workers\":0}", "spec.workers",
          "out of range" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"workers\":-1}", "spec.workers",
          "out of range" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"workers\":1.5}", "spec.workers", "whole" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"workers\":5000}", "spec.workers",
          "too many" },
        { "{\"level\":\"async\",\"workload\":\"sum\",\"workers\":65536}", "spec.workers",
          "out of range" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"workers\":2}", "spec.workers",
          "one worker" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"loops\":2}", "spec.loops", "async" },
        { "{\"level\":\"async\",\"workload\":\"sum\",\"gil\":true}", "spec.gil", "threads" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"gil\":1}", "spec.gil", "boolean" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"timeout_seconds\":0}",
          "spec.timeout_seconds", "out of range" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"timeout_seconds\":1e300}",
          "spec.timeout_seconds", "out of range" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"task_timeout_seconds\":\"1\"}",
          "spec.task_timeout_seconds", "not a number" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"retries\":101}", "spec.retries",
          "out of range" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"ca_file\":\"ca.pem\"}", "spec.ca_file",
          "absolute" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"nice\":20}", "spec.nice", "out of range" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"nice\":1.5}", "spec.nice", "whole" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"cpu_time_max_seconds\":-1}",
          "spec.cpu_time_max_seconds", "out of range" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"limits\":{\"pids_max\":0}}",
          "spec.limits.pids_max", "out of range" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"limits\":{\"pids_max\":1}}",
          "spec.limits.pids_max", "no worker" },
        { "{\"level\":\"async\",\"workload\":\"words\",\"limits\":{\"pids_max\":1}}",
          "spec.limits.pids_max", "to read a file" },
        { "{\"level\":\"async\",\"workload\":\"words\",\"loops\":3,\"limits\":{\"pids_"
          "max\":5}}",
          "spec.limits.pids_max", "each loop is a thread" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"worker_limits\":{\"memory_max_"
          "bytes\":67108864}}",
          "spec.worker_limits.memory_max_bytes", "memory cannot be limited a thread" },
        { "{\"level\":\"async\",\"workload\":\"sum\",\"worker_limits\":{\"pids_max\":5}}",
          "spec.worker_limits.pids_max", "workers of the async level have no cgroup" },
        { "{\"level\":\"async\",\"workload\":\"sum\",\"executor\":\"threads\","
          "\"worker_limits\":{\"pids_max\":5}}",
          "spec.worker_limits.pids_max", "workers of the async level have no cgroup" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"threaded\":true}", "spec.threaded",
          "only the threads level" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"thread_weights\":[1]}",
          "spec.thread_weights", "threaded cgroups only" },
        { "{\"level\":\"threads\",\"workload\":\"sum\",\"threaded\":true,\"thread_"
          "weights\":[1,0]}",
          "spec.thread_weights", "entry 2" },
        { "{\"level\":\"machines\",\"workload\":\"sum\",\"workers\":2}", "spec.workers",
          "nodes' own configuration says" },
        { "{\"level\":\"machines\",\"workload\":\"sum\",\"loops\":2}", "spec.loops",
          "nodes' own configuration says" },
        { "{\"level\":\"machines\",\"workload\":\"sum\",\"gil\":true}", "spec.gil",
          "only the threads level" },
        { "{\"level\":\"machines\",\"workload\":\"sum\",\"ca_file\":\"/ca\"}", "spec.ca_file",
          "not on the nodes" },
        { "{\"level\":\"machines\",\"workload\":\"sum\",\"cpu_time_max_seconds\":2}",
          "spec.cpu_time_max_seconds", "that of the nodes" },
        { "{\"level\":\"machines\",\"workload\":\"sum\",\"worker_limits\":{\"pids_max\":5}"
          "}",
          "spec.worker_limits.pids_max", "nodes' own configuration says" },
        { EXEC("\"task_limits\":{\"pids_max\":9,\"cpu_weight\":50}"), "spec.task_limits.cpu_weight",
          "on its CPU time, memory, swap and processes only" },
        { EXEC("\"task_limits\":{\"memory_high_bytes\":8388608}"),
          "spec.task_limits.memory_high_bytes", "a task may have" },
        { EXEC("\"task_limits\":{\"io_max\":[{\"device\":\"8:0\",\"reads_per_second\":10}]}"),
          "spec.task_limits.io_max", "a task may have" },
        { "{\"level\":\"serial\",\"workload\":\"sum\",\"task_limits\":{\"pids_max\":9}}",
          "spec.task_limits", "no limits of their own" },
        { "{\"level\":\"serial\",\"workload\":\"exec\",\"command\":{\"words\":[\"a\"],"
          "\"no_group\":true},\"task_limits\":{\"pids_max\":9}}",
          "spec.task_limits", "without a cgroup" },
        { "{\"level\":\"serial\",\"workload\":\"exec\"}", "spec.command", "missing" },
        { "{\"level\":\"machines\",\"workload\":\"exec\",\"command\":{\"words\":[\"a\"]}}",
          "spec.workload", "nodes run no commands" },
};

static void test_refused(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(refused); ++i) {
                struct spec spec = SPEC_NULL;
                _cleanup_fault_ struct fault fault = FAULT_NULL;

                test_int(parse(refused[i].text, &spec, &fault), ==, -EBADMSG);
                test_str(fault.field, refused[i].field);
                test_contains(fault.why, refused[i].why);
                test_true(fault.advice[0] != 0);
        }
}

/* Members of "spec" with what is one too many, or the most there may be. */
static json_t *make_long(const char *member, const char *head, char fill, size_t n)
{
        _cleanup_free_ char *text = malloc(n + 1);
        size_t n_head = strlen(head);

        test_true(text);
        memset(text, fill, n);
        memcpy(text, head, n_head);
        text[n] = 0;
        return json_pack("{s:s, s:s, s:s}", "level", "serial", "workload", "sum", member, text);
}

static json_t *make_weights(size_t n)
{
        json_t *json = json_pack("{s:s, s:s, s:b, s:[]}", "level", "threads", "workload", "sum",
                                 "threaded", true, "thread_weights");

        for (size_t i = 0; i < n; ++i)
                json_array_append_new(json_object_get(json, "thread_weights"), json_integer(1));
        return json;
}

static void takes(json_t *json)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct spec spec;

        test_int(spec_from_json(json, &spec, &fault), ==, 0);
        json_decref(json);
        spec_deinit(&spec);
}

static void refuses(json_t *json, const char *field, const char *why)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct spec spec;

        test_int(spec_from_json(json, &spec, &fault), ==, -EBADMSG);
        json_decref(json);
        test_str(fault.field, field);
        test_contains(fault.why, why);
        test_true(fault.advice[0] != 0);
}

/* Else a job's spec could be as long as a message, and no list would have room for it. */
static void test_bounds(void)
{
        takes(make_long("ca_file", "/", 'a', SPEC_PATH_MAX));
        refuses(make_long("ca_file", "/", 'a', SPEC_PATH_MAX + 1), "spec.ca_file",
                "4096 bytes long, more than the 4095");
        refuses(make_long("level", "", 'a', 1000000), "spec.level",
                "1000000 bytes long, more than the 64");
        refuses(make_long("workload", "", 'a', 65), "spec.workload", "more than the 64");
        takes(make_weights(SPEC_WEIGHTS_MAX));
        refuses(make_weights(SPEC_WEIGHTS_MAX + 1), "spec.thread_weights",
                "4097 entries, more than the 4096");
        refuses(make_weights(0), "spec.thread_weights", "no entries");
}

static void test_round_trip(void)
{
        static const char text[] =
                "{\"workload\":\"words\",\"level\":\"threads\",\"workers\":7,\"gil\":true,"
                "\"threaded\":true,\"thread_weights\":[100,300],\"timeout_seconds\":2.5,\"task_"
                "timeout_seconds\":0.001,\"retries\":3,\"cpu_time_max_seconds\":1.5,\"nice\":-5,"
                "\"limits\":{\"memory_max_bytes\":67108864,\"cpus\":\"0\"},\"ca_file\":\"/"
                "ca.pem\",\"halt\":\"now,fail=10%\",\"delay_seconds\":0.25}";
        struct spec spec = SPEC_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *json, *expected;

        test_int(parse(text, &spec, &fault), ==, 0);
        test_int(spec.level, ==, LEVEL_THREADS);
        test_int(spec.workload, ==, WORKLOAD_WORDS);
        test_int(spec.workers, ==, 7);
        test_int(spec.timeout_ns, ==, 2500 * NSEC_PER_MSEC);
        test_int(spec.task_timeout_ns, ==, NSEC_PER_MSEC);
        json = spec_to_json(&spec);
        expected = json_loads(text, 0, NULL);
        test_true(json_equal(json, expected));
        json_decref(json);
        json_decref(expected);
        spec_deinit(&spec);
}

/* A worker that takes too much is to be known by name, unless somebody wanted otherwise. */
static void test_worker_memory(void)
{
        static const char *const texts[] = {
                "{\"level\":\"processes\",\"workload\":\"sum\",\"limits\":{\"memory_max_bytes\":"
                "67108864}}",
                "{\"level\":\"processes\",\"workload\":\"sum\",\"limits\":{\"memory_max_bytes\":"
                "67108864},\"worker_limits\":{\"memory_max_bytes\":9223372036854775807}}",
                "{\"level\":\"async\",\"workload\":\"sum\",\"limits\":{\"memory_max_bytes\":"
                "67108864}}",
                "{\"level\":\"async\",\"workload\":\"sum\",\"executor\":\"processes\","
                "\"limits\":{\"memory_max_bytes\":67108864}}",
        };
        static const bool enforced[] = { true, false, false, true };

        for (size_t i = 0; i < ARRAY_SIZE(texts); ++i) {
                struct spec spec;
                _cleanup_fault_ struct fault fault = FAULT_NULL;

                test_int(parse(texts[i], &spec, &fault), ==, 0);
                spec_fill(&spec, 2, 10);
                test_int(limits_enforces(&spec.worker_limits, LIMIT_MEMORY_MAX), ==, enforced[i]);
                if (enforced[i])
                        test_int(spec.worker_limits.values[LIMIT_MEMORY_MAX], ==, 67108864);
                spec_deinit(&spec);
        }
}

static void test_null_is_absent(void)
{
        struct spec spec = SPEC_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(parse("{\"level\":\"async\",\"workload\":\"sum\",\"workers\":null,\"gil\":null}",
                       &spec, &fault),
                 ==, 0);
        test_int(spec.workers, ==, 0);
        spec_deinit(&spec);
}

static void test_fill(void)
{
        struct spec spec = { .level = LEVEL_THREADS };

        spec_fill(&spec, 2, 1000);
        test_int(spec.workers, ==, 6);
        spec = (struct spec){ .level = LEVEL_THREADS };
        spec_fill(&spec, 64, 1000);
        test_int(spec.workers, ==, 32);
        spec = (struct spec){ .level = LEVEL_PROCESSES };
        spec_fill(&spec, 2, 1000);
        test_int(spec.workers, ==, 2);
        spec = (struct spec){ .level = LEVEL_PROCESSES, .workers = 100 };
        spec_fill(&spec, 2, 4);
        test_int(spec.workers, ==, 4);
        spec = (struct spec){ .level = LEVEL_ASYNC, .loops = 9 };
        spec_fill(&spec, 2, 4);
        test_int(spec.workers, ==, 4);
        test_int(spec.loops, ==, 4);
        spec = (struct spec){ .level = LEVEL_SERIAL };
        spec_fill(&spec, 2, 4);
        test_int(spec.workers, ==, 1);
        test_int(spec.loops, ==, 0);
        spec = (struct spec){ .level = LEVEL_MACHINES };
        spec_fill(&spec, 2, 4);
        test_int(spec.workers, ==, 0);
}

/* With all that some level takes, but for the file of authorities. */
static json_t *leave_out_for(enum level level, bool ca_file)
{
        struct spec spec = {
                .level = level,
                .workers = 2,
                .loops = 2,
                .gil = true,
                .threaded = true,
                .n_thread_weights = 1,
                .timeout_ns = 1,
                .cpu_time_max_ns = NSEC_PER_SEC,
                .has_nice = true,
                .nice = 3,
                .retries = 4,
        };
        json_t *json;

        spec.thread_weights = calloc(1, sizeof(*spec.thread_weights));
        test_true(spec.thread_weights);
        *spec.thread_weights = 100;
        spec.worker_limits.given = LIMIT_BIT(LIMIT_PIDS_MAX);
        spec.worker_limits.values[LIMIT_PIDS_MAX] = 5;
        spec.ca_file = ca_file ? strdup("/ca") : NULL;
        spec_leave_out(&spec);
        json = spec_to_json(&spec);
        spec_deinit(&spec);
        test_true(json);
        return json;
}

static bool has(enum level level, const char *member)
{
        json_t *json = leave_out_for(level, false);
        bool there = json_object_get(json, member);

        json_decref(json);
        return there;
}

/* As compare does: each level gets what it takes, and is left no cause to refuse the spec. */
static void test_leave_out(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct spec spec;
        json_t *json;

        for (enum level i = 0; i < _LEVEL_N; ++i) {
                json = leave_out_for(i, false);
                test_int(spec_from_json(json, &spec, &fault), ==, 0);
                test_int(spec.nice, ==, 3);
                test_int(spec.retries, ==, 4);
                spec_deinit(&spec);
                json_decref(json);
                test_int(has(i, "gil"), ==, i == LEVEL_THREADS);
                test_int(has(i, "thread_weights"), ==, i == LEVEL_THREADS);
                test_int(has(i, "loops"), ==, i == LEVEL_ASYNC);
                test_int(has(i, "worker_limits"), ==, i == LEVEL_PROCESSES);
                test_int(has(i, "cpu_time_max_seconds"), ==, i != LEVEL_MACHINES);
                test_int(has(i, "workers"), ==, i != LEVEL_SERIAL && i != LEVEL_MACHINES);
        }
        /* Without it, pages would not be fetched that are: that is not for us to leave out. */
        json = leave_out_for(LEVEL_MACHINES, true);
        test_int(spec_from_json(json, &spec, &fault), ==, -EBADMSG);
        test_str(fault.field, "spec.ca_file");
        json_decref(json);
}

TEST_MAIN("spec", { "bad specs are refused, the member named", test_refused },
          { "what has a length has a bound", test_bounds },
          { "a spec survives writing and reading", test_round_trip },
          { "the memory of workers", test_worker_memory },
          { "what a level does not take is left out", test_leave_out },
          { "null is absent", test_null_is_absent }, { "defaults", test_fill })
