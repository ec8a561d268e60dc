/* The command line of pppctl: options, operands, and the errors that it is refused with. */

#include "cli/args.h"
#include "cli/choose.h"
#include "cli/say.h"
#include "cli/suggest.h"
#include "cli/verbs.h"
#include "tests/unit/capture.h"

static struct capture err;

#define parse(args, ...)                                                  \
        ({                                                                \
                char *_argv[] = { (char *)"pppctl", __VA_ARGS__, NULL };  \
                int _r;                                                   \
                                                                          \
                capture_begin(&err, stderr);                              \
                _r = args_parse((int)ARRAY_SIZE(_argv) - 1, _argv, args); \
                capture_end(&err);                                        \
                _r;                                                       \
        })
#define A(s) (char *)(s)

static void test_options_anywhere(void)
{
        struct args args = ARGS_NULL;

        test_int(parse(&args, A("--socket"), A("/s"), A("run"), A("--workers=7"), A("threads"),
                       A("-q"), A("sum"), A("5"), A("--timeout"), A("200ms")),
                 ==, 0);
        test_str(args.verb, "run");
        test_str(args.socket, "/s");
        test_int(args.workers, ==, 7);
        test_int(args.timeout_ns, ==, 200 * NSEC_PER_MSEC);
        test_true(args_has(&args, OPTION_QUIET));
        test_true(!args_has(&args, OPTION_JSON));
        test_int(args.n_operands, ==, 3);
        test_str(args.operands[0], "threads");
        test_str(args.operands[2], "5");
        args_deinit(&args);
}

static void test_operands_like_options(void)
{
        struct args args = ARGS_NULL;

        test_int(parse(&args, A("run"), A("--from"), A("-"), A("-5"), A("-"), A("--"), A("--gil")),
                 ==, 0);
        test_str(args.from, "-");
        test_int(args.n_operands, ==, 3);
        test_str(args.operands[0], "-5");
        test_str(args.operands[1], "-");
        test_str(args.operands[2], "--gil");
        test_true(!args_has(&args, OPTION_GIL));
        args_deinit(&args);
}

static void test_letters(void)
{
        struct args args = ARGS_NULL;

        test_int(parse(&args, A("list"), A("-qn5")), ==, 0);
        test_true(args_has(&args, OPTION_QUIET));
        test_int(args.limit, ==, 5);
        args_deinit(&args);
        test_int(parse(&args, A("list"), A("-n"), A("6")), ==, 0);
        test_int(args.limit, ==, 6);
        args_deinit(&args);
}

static void test_limits(void)
{
        struct args args = ARGS_NULL;
        struct spec spec = SPEC_NULL;

        test_int(parse(&args, A("run"), A("processes"), A("--memory-max=64M"),
                       A("--worker-cpu-max"), A("50%"), A("--cpus"), A("0-1"), A("--io-max"),
                       A("8:0 rbps=1M"), A("--io-max"), A("8:16 wiops=50"), A("--nice"), A("-5"),
                       A("--time-max"), A("2s"), A("--cpu-time-max=3s"), A("--thread-weight"),
                       A("100,300")),
                 ==, 0);
        test_int(choose_spec(&args, LEVEL_PROCESSES, WORKLOAD_SUM, &spec), ==, 0);
        args_deinit(&args);
        test_int(spec.limits.values[LIMIT_MEMORY_MAX], ==, 64 << 20);
        test_str(spec.limits.cpus, "0-1");
        test_int(spec.limits.n_io, ==, 2);
        test_int(spec.limits.io[1].rates[IO_WRITES], ==, 50);
        test_int(spec.worker_limits.given, ==, LIMIT_BIT(LIMIT_CPU_MAX));
        test_int(spec.worker_limits.values[LIMIT_CPU_MAX], ==, 500000);
        test_true(spec.has_nice);
        test_int(spec.nice, ==, -5);
        test_int(spec.timeout_ns, ==, 2 * NSEC_PER_SEC);
        test_int(spec.cpu_time_max_ns, ==, 3 * NSEC_PER_SEC);
        test_true(spec.threaded);
        test_int(spec.n_thread_weights, ==, 2);
        test_int(spec.thread_weights[1], ==, 300);
        spec_deinit(&spec);
}

/* Each limit has two options, the job's and the worker's, which differ in the name. */
static void test_limit_options(void)
{
        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                struct option_info job = option_info(option_of_limit(i));
                struct option_info worker = option_info(option_of_worker_limit(i));

                test_str(job.name, limit_infos[i].option);
                test_str(job.help, limit_infos[i].help);
                test_str(worker.name, limit_infos[i].worker_option);
                test_str(worker.argument, job.argument);
                test_true(OPTIONS_LIMITS & OPTION_BIT(option_of_limit(i)));
                test_true(OPTIONS_LIMITS & OPTION_BIT(option_of_worker_limit(i)));
        }
        test_true(!(OPTIONS_LIMITS & OPTION_BIT(OPTION_NICE)));
        test_true(!(OPTIONS_LIMITS & OPTION_BIT(OPTION_RETRIES)));
        for (unsigned i = 0; i < _OPTION_N; ++i)
                test_true(option_info(i).name);
}

static void refuse_option(char *option, char *value, const char *expected)
{
        struct args args = ARGS_NULL;

        test_int(parse(&args, A("run"), option, value), ==, CLI_USAGE);
        test_contains(err.text, expected);
        args_deinit(&args);
}

static void test_wrong_options(void)
{
        refuse_option(A("--worker"), A("1"), "did you mean --workers?");
        refuse_option(A("--workers"), NULL, "needs a value");
        refuse_option(A("--workers"), A("x"), "\"x\" is not a whole number; give 1 to 65535");
        refuse_option(A("--timeout"), A("99999999999"),
                      "99999999999 is out of range; give more than 0 and at most a year");
        refuse_option(A("--timeout"), A("9999999999"), "9999999999 is out of range");
        refuse_option(A("--cpu-time-max"), A("366d"), "366d is out of range");
        refuse_option(A("--task-timeout"), A("1000000d"), "out of range");
        refuse_option(A("--time-max"), A("5 min"), "is not a time; give");
        refuse_option(A("--time-max"), A("0ms"), "0ms is out of range; give more than 0");
        refuse_option(A("--workers"), A("0"), "out of range");
        refuse_option(A("--workers"), A("65536"), "out of range");
        refuse_option(A("--workers"), A("99999999999999999999999"), "out of range");
        refuse_option(A("--workers=-1"), NULL, "not a whole number");
        refuse_option(A("--gil=1"), NULL, "takes no value");
        refuse_option(A("--timeout"), A("0"), "0 is out of range");
        refuse_option(A("--timeout"), A("5x"), "not a time");
        refuse_option(A("--time-max"), A("0"), "--time-max: 0 is out of range");
        refuse_option(A("--memory-max"), A("0"),
                      "--memory-max: \"0\" would let nothing run; give bytes");
        refuse_option(A("--worker-pids-max"), A("x"),
                      "--worker-pids-max: \"x\" is not what it takes");
        refuse_option(A("--nice"), A("20"),
                      "\"20\" is out of range; give a whole number from -20 (first of all) to 19");
        refuse_option(A("--nice"), A("99999999999999999999"), "is out of range");
        refuse_option(A("--pids-max"), A("4194305"),
                      "is too large; give a number of processes and threads from 1 to 4194304");
        refuse_option(A("--nice"), A("--5"), "is no nice value");
        refuse_option(A("--thread-weight"), A("1,,2"), "\"\" is no weight");
        refuse_option(A("--thread-weight"), A("10001"),
                      "is out of range; give whole numbers from 1 to 10000");
        refuse_option(A("--color"), A("red"), "none of auto, always and never");
        refuse_option(A("-x"), NULL, "there is no option -x");
        refuse_option(A("-n"), NULL, "-n needs a value");
}

static void test_options_of_verbs(void)
{
        struct args args = ARGS_NULL;

        test_int(parse(&args, A("--json"), A("list"), A("--socket=/s")), ==, 0);
        test_int(args_check(&args, "list", verb_list.options | OPTIONS_COMMON), ==, 0);
        capture_begin(&err, stderr);
        test_int(args_check(&args, "wait", verb_wait.options | OPTIONS_COMMON), ==, CLI_USAGE);
        test_contains(capture_end(&err), "--json is no option of wait");
        args_deinit(&args);
}

static void test_verbs(void)
{
        for (size_t i = 0; verbs[i]; ++i) {
                test_true(verb_find(verbs[i]->name) == verbs[i]);
                test_true(*verbs[i]->what && *verbs[i]->text);
        }
        test_true(!verb_find("rnu"));
}

static void test_suggest(void)
{
        static const char *const names[] = { "serial", "threads", "processes", "async" };

        test_str(suggest("thraeds", names, 4), "threads");
        test_str(suggest("asnyc", names, 4), "async");
        test_str(suggest("proc", names, 4), "processes");
        test_str(suggest("thread", names, 4), "threads");
        test_true(!suggest("machines", names, 4));
        test_true(!suggest("", names, 4));
        test_true(!suggest("x", names, 4));
        test_true(!suggest("a-word-far-too-long-to-be-any-of-these-names", names, 4));
        test_str(suggest_text("serail", names, 4), "; did you mean serial?");
        test_str(suggest_text("foo", names, 4), "");
}

static void test_choose(void)
{
        enum workload_id workload;
        enum level level;

        capture_begin(&err, stderr);
        test_int(choose_level("asnyc", &level), ==, CLI_USAGE);
        test_int(choose_workload("http://x/", &workload), ==, CLI_USAGE);
        test_int(choose_workload("serial", &workload), ==, CLI_USAGE);
        capture_end(&err);
        test_contains(
                err.text,
                "levels are serial, threads, processes, async, machines; did you mean async?");
        test_contains(err.text, "words \"http://x/\"");
        test_contains(err.text, "--levels serial");
        test_int(choose_level("processes", &level), ==, 0);
        test_int(level, ==, LEVEL_PROCESSES);
}

TEST_MAIN("args", { "options stand anywhere", test_options_anywhere },
          { "operands that look like options", test_operands_like_options },
          { "options of one letter", test_letters }, { "limits", test_limits },
          { "options that are limits", test_limit_options },
          { "wrong options", test_wrong_options },
          { "options of each verb", test_options_of_verbs }, { "verbs", test_verbs },
          { "did you mean", test_suggest }, { "levels and workloads by name", test_choose })
