/* The workload `mix`: how its input is read, and what each part does. */

#include <pthread.h>

#include "daemon/runner/runner.h"
#include "daemon/runner/workloads/mix-input.h"
#include "daemon/runner/workloads/workloads.h"
#include "tests/unit/test.h"

static void test_parts(void)
{
        _cleanup_(mix_input_deinit) struct mix_input input = MIX_INPUT_NULL;
        static const struct mix_part expected[] = {
                { MIX_CPU, 2000000, NULL },    { MIX_SLEEP, 20000000, NULL },
                { MIX_TOUCH, 64 << 20, NULL }, { MIX_READ, 0, "/a=b" },
                { MIX_CRASH, 0, NULL },        { MIX_CPU, 1000000000, NULL },
        };

        test_int(mix_input_parse("cpu=2ms,sleep=0.02,touch=64M,read=/a=b,crash,cpu=1s", &input), ==,
                 0);
        test_int(input.n_parts, ==, ARRAY_SIZE(expected));
        for (size_t i = 0; i < ARRAY_SIZE(expected); ++i) {
                test_int(input.parts[i].kind, ==, expected[i].kind);
                test_int(input.parts[i].amount, ==, expected[i].amount);
                if (expected[i].path)
                        test_str(input.parts[i].path, expected[i].path);
        }
}

static void test_refused(void)
{
        static const struct {
                const char *input;
                int error;
                size_t part;
        } cases[] = {
                { "", -ENOENT, 0 },
                { "cpu=1ms,", -ENOENT, 1 },
                { ",cpu=1ms", -ENOENT, 0 },
                { "CPU=1ms", -ENOENT, 0 },
                { "cpu=1ms,sleep=1ms,fly=1", -ENOENT, 2 },
                { " cpu=1ms", -ENOENT, 0 },
                { "cpu", -EINVAL, 0 },
                { "cpu=", -EINVAL, 0 },
                { "cpu=soon", -EINVAL, 0 },
                { "cpu=1ms ", -EINVAL, 0 },
                { "touch=64X", -EINVAL, 0 },
                { "read=", -EINVAL, 0 },
                { "crash=1", -EINVAL, 0 },
                { "sleep=1ms,cpu=-1ms", -EDOM, 1 },
                { "shared=-1", -EDOM, 0 },
                { "shared=--1", -EINVAL, 0 },
                { "cpu=2d", -ERANGE, 0 },
                { "touch=2T", -ERANGE, 0 },
                { "exit=256", -ERANGE, 0 },
                { "shared=99999999999999999999", -ERANGE, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                _cleanup_(mix_input_deinit) struct mix_input input = MIX_INPUT_NULL;

                test_int(mix_input_parse(cases[i].input, &input), ==, cases[i].error);
                test_int(input.n_parts, ==, cases[i].part);
        }
}

static const struct io_ops none;

static int run(struct runner *runner, const char *input, struct ppp_task *task, uint64_t *value)
{
        struct worker worker = { .runner = runner, .io = &none };

        *task = (struct ppp_task){ .worker = &worker };
        return workload_mix.run(task, input, strlen(input), value);
}

static uint64_t cpu_time_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* The kernel may add the time of an interrupt, so the best of some runs counts. */
static void test_cpu_time(void)
{
        uint64_t best = UINT64_MAX, value;
        struct runner runner = { 0 };
        struct ppp_task task;

        for (unsigned i = 0; i < 20; ++i) {
                uint64_t before = cpu_time_ns();

                test_int(run(&runner, i % 2 ? "cpu=1ms,lock=1ms" : "cpu=2ms", &task, &value), ==,
                         0);
                best = MIN(best, cpu_time_ns() - before);
        }
        test_int(best, >=, 2000000);
        test_int(best, <, 2060000);
}

#define N_COUNTS 300000

static void *count_locked(void *userdata)
{
        struct ppp_task task;
        uint64_t value;

        test_int(run(userdata, "locked=300000", &task, &value), ==, 0);
        return NULL;
}

static void test_counter(void)
{
        struct runner runner = { 0 };
        struct ppp_task task;
        uint64_t start, value;
        pthread_t threads[3];

        test_int(run(&runner, "shared=1", &task, &start), ==, 0);
        test_int(run(&runner, "shared=1000,cpu=0,locked=20", &task, &value), ==, 0);
        test_int(value, ==, start + 1020);
        for (size_t i = 0; i < ARRAY_SIZE(threads); ++i)
                test_int(pthread_create(&threads[i], NULL, count_locked, &runner), ==, 0);
        for (size_t i = 0; i < ARRAY_SIZE(threads); ++i)
                pthread_join(threads[i], NULL);
        test_int(run(&runner, "shared=0", &task, &value), ==, 0);
        test_int(value, ==, start + 1020 + ARRAY_SIZE(threads) * N_COUNTS);
}

static void test_memory(void)
{
        struct runner runner = { 0 };
        struct ppp_task task;
        uint64_t value = 1;

        test_int(run(&runner, "touch=3M,touch=0,alloc=1M,alloc=0", &task, &value), ==, 0);
        test_int(value, ==, 0);
}

static void test_failures(void)
{
        static const struct {
                const char *input;
                enum ppp_reason reason;
                int32_t detail;
        } cases[] = {
                { "cpu=0,fly=1", PPP_REASON_BAD_PART, 2 },
                { "cpu=x", PPP_REASON_NOT_A_NUMBER, 0 },
                { "cpu=-1s", PPP_REASON_NEGATIVE, 0 },
                { "cpu=2d", PPP_REASON_TOO_LARGE, PPP_TOO_LARGE_NUMBER },
        };
        struct runner runner = { 0 };
        struct ppp_task task;
        uint64_t value = 42;

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                test_int(run(&runner, cases[i].input, &task, &value), <, 0);
                test_int(task.reason, ==, cases[i].reason);
                test_int(task.detail, ==, cases[i].detail);
        }
        test_int(value, ==, 42);

        runner.cancelled = true;
        test_int(run(&runner, "cpu=10s", &task, &value), ==, -ECANCELED);
        test_int(run(&runner, "lock=10s", &task, &value), ==, -ECANCELED);
}

TEST_MAIN("mix", { "parts", test_parts }, { "inputs that are refused", test_refused },
          { "CPU time", test_cpu_time }, { "the counter, alone and by threads", test_counter },
          { "memory", test_memory }, { "failures", test_failures })
