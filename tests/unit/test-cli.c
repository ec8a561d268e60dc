/* The parts of pppctl that need no daemon: options, inputs, formats, the order of results. */

#include <fcntl.h>
#include <sys/mman.h>

#include "cli/args.h"
#include "cli/choose.h"
#include "cli/errors.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "cli/source.h"
#include "cli/suggest.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "cli/times.h"
#include "cli/units.h"
#include "cli/verbs.h"
#include "tests/unit/capture.h"

static struct capture out, err;

#define parse(args, ...)                                                                           \
        ({                                                                                         \
                char *_argv[] = { (char *)"pppctl", __VA_ARGS__, NULL };                           \
                int _r;                                                                            \
                                                                                                   \
                capture_begin(&err, stderr);                                                       \
                _r = args_parse((int)ARRAY_SIZE(_argv) - 1, _argv, args);                          \
                capture_end(&err);                                                                 \
                _r;                                                                                \
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

        test_int(parse(&args, A("run"), A("processes"), A("--memory-max=64M"), A("--worker-cpu-max"),
                       A("50%"), A("--cpus"), A("0-1"), A("--io-max"), A("8:0 rbps=1M"), A("--io-max"),
                       A("8:16 wiops=5"), A("--nice"), A("-5"), A("--time-max"), A("2s"),
                       A("--cpu-time-max=3s"), A("--thread-weight"), A("100,300")),
                 ==, 0);
        test_int(choose_spec(&args, LEVEL_PROCESSES, WORKLOAD_SUM, &spec), ==, 0);
        args_deinit(&args);
        test_int(spec.limits.values[LIMIT_MEMORY_MAX], ==, 64 << 20);
        test_str(spec.limits.cpus, "0-1");
        test_int(spec.limits.n_io, ==, 2);
        test_int(spec.limits.io[1].rates[IO_WRITES], ==, 5);
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

/* Each option that is a limit is that limit's, by name and place. */
static void test_limit_options(void)
{
        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                const char *worker = option_infos[option_of_worker_limit(i)].name;

                test_str(option_infos[option_of_limit(i)].name, limit_infos[i].option);
                test_true(strncmp(worker, "worker-", 7) == 0);
                test_str(worker + 7, limit_infos[i].option);
                test_true(OPTIONS_LIMITS & OPTION_BIT(option_of_limit(i)));
                test_true(OPTIONS_LIMITS & OPTION_BIT(option_of_worker_limit(i)));
        }
        test_true(!(OPTIONS_LIMITS & OPTION_BIT(OPTION_NICE)));
        test_true(!(OPTIONS_LIMITS & OPTION_BIT(OPTION_RETRIES)));
        for (unsigned i = 0; i < _OPTION_N; ++i)
                test_true(option_infos[i].name);
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
        refuse_option(A("--timeout"), A("99999999999"), "99999999999 is out of range; give more than 0 and at most a year");
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
        refuse_option(A("--memory-max"), A("0"), "--memory-max: \"0\" would let nothing run; give bytes");
        refuse_option(A("--worker-pids-max"), A("x"), "--worker-pids-max: \"x\" is not what it takes");
        refuse_option(A("--nice"), A("20"), "\"20\" is out of range; give a whole number from -20 (first of all) to 19");
        refuse_option(A("--nice"), A("99999999999999999999"), "is out of range");
        refuse_option(A("--pids-max"), A("4194305"), "is too large; give a number of processes and threads from 1 to 4194304");
        refuse_option(A("--nice"), A("--5"), "is no nice value");
        refuse_option(A("--thread-weight"), A("1,,2"), "\"\" is no weight");
        refuse_option(A("--thread-weight"), A("10001"), "is out of range; give whole numbers from 1 to 10000");
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
        test_contains(err.text,
                      "levels are serial, threads, processes, async, machines; did you mean async?");
        test_contains(err.text, "words \"http://x/\"");
        test_contains(err.text, "--levels serial");
        test_int(choose_level("processes", &level), ==, 0);
        test_int(level, ==, LEVEL_PROCESSES);
}

static void test_units(void)
{
        char text[UNITS_SIZE];

        test_str(units_seconds(0, text), "0 s");
        test_str(units_seconds(1e-9, text), "1 ns");
        test_str(units_seconds(999.4e-9, text), "999 ns");
        test_str(units_seconds(999.6e-9, text), "1.00 us");
        test_str(units_seconds(0.0000421, text), "42.1 us");
        test_str(units_seconds(0.0009996, text), "1.00 ms");
        test_str(units_seconds(0.2023, text), "202 ms");
        test_str(units_seconds(0.99949, text), "999 ms");
        test_str(units_seconds(0.9996, text), "1.00 s");
        test_str(units_seconds(1.234, text), "1.23 s");
        test_str(units_seconds(9.996, text), "10.0 s");
        test_str(units_seconds(99.9, text), "99.9 s");
        test_str(units_seconds(99.96, text), "1 min 40 s");
        test_str(units_seconds(3599.6, text), "1 h 00 min");
        test_str(units_seconds(7380, text), "2 h 03 min");
        test_str(units_bytes(0, text), "0 B");
        test_str(units_bytes(1023, text), "1023 B");
        test_str(units_bytes(37478, text), "36.6 KiB");
        test_str(units_bytes(1048575, text), "1.00 MiB");
        test_str(units_bytes(1.5 * 1024 * 1024 * 1024, text), "1.50 GiB");
        test_str(units_rate(19.52, text), "19.5");
        test_str(units_rate(839808, text), "839808");
        test_str(units_rate(12345678, text), "12.3M");
        test_str(units_count(4294967296, text), "4294967296");
}

static void test_times(void)
{
        char text[TIMES_SIZE];

        setenv("TZ", "UTC-2", 1);
        tzset();
        test_str(times_local("2025-11-22T23:13:05Z", text), "2025-11-23 01:13:05");
        test_str(times_local("2025-11-22T23:13:05.123Z", text), "2025-11-23 01:13:05");
        test_str(times_local("yesterday", text), "yesterday");
        test_str(times_local("", text), "");
        /* 2025-11-23 01:30:00 at UTC+2 */
        test_str(times_brief("2025-11-22T23:13:05Z", 1763854200, text), "01:13:05");
        test_str(times_brief("2025-11-22T21:13:05Z", 1763854200, text), "11-22 23:13");
        test_str(times_brief("2024-11-23T12:13:05Z", 1763854200, text), "2024-11-23");
        test_str(times_brief("yesterday", 1763854200, text), "yesterday");
        unsetenv("TZ");
        tzset();
}

static void test_progress_line(void)
{
        struct progress_state state = {
                .label = "job 12",
                .done = 50,
                .failed = 2,
                .total = 100,
                .elapsed_ns = 5 * NSEC_PER_SEC,
        };
        char line[256];

        progress_format(&state, 200, line, sizeof(line));
        test_str(line,
                 "job 12 [============>           ] 50 of 100, 2 failed  10.0/s, 5.00 s left");
        progress_format(&state, 20, line, sizeof(line));
        test_int(strlen(line), ==, 19);
        state.done = 100;
        state.failed = 0;
        progress_format(&state, 200, line, sizeof(line));
        test_str(line, "job 12 [========================] 100 of 100");
        state = (struct progress_state){ .label = "x" };
        progress_format(&state, 200, line, sizeof(line));
        test_str(line, "x [>                       ] 0 of 0");
}

static const char *print(struct output *output, const char *input, const struct ppp_record *record)
{
        capture_begin(&out, stdout);
        output_result(output, input, strlen(input), record);
        return capture_end(&out);
}

static void test_plain_results(void)
{
        struct output output = OUTPUT_NULL;
        struct ppp_record record = { .value = UINT64_MAX, .state = PPP_STATE_DONE };

        test_str(print(&output, "demo:5", &record), "demo:5: 18446744073709551615\n");
        record.value = 0;
        output_take_workload(&output, WORKLOAD_WORDS);
        test_str(print(&output, "demo:2016", &record), "2016: 0 words\n");
        record.value = 1;
        test_str(print(&output, "demo:2016", &record), "2016: 1 word\n");
        record.value = 0;
        test_str(print(&output, "demo:", &record), "demo:: 0 words\n");
        test_str(print(&output, "a\033[2Jb", &record), "a\033[2Jb: 0 words\n");
        output.out_terminal = true;
        test_str(print(&output, "a\033[2Jb\x7f", &record), "a\\x1b[2Jb\\x7f: 0 words\n");
}

static void test_failed_results(void)
{
        struct output output = OUTPUT_NULL;
        struct ppp_record record = {
                .reason = PPP_REASON_HTTP_STATUS,
                .detail = 404,
                .state = PPP_STATE_FAILED,
        };

        capture_begin(&err, stderr);
        test_str(print(&output, "u", &record), "");
        test_str(capture_end(&err), "u: failed: the server answered with status 404\n");
        output.failures_are_data = true;
        test_str(print(&output, "u", &record), "u: failed: the server answered with status 404\n");
}

static void test_json_results(void)
{
        struct output output = { .json = true };
        struct ppp_record record = {
                .value = 3794,
                .start_ns = 1500,
                .end_ns = 2 * NSEC_PER_SEC + 1,
                .worker = 65535,
                .state = PPP_STATE_DONE,
        };

        test_str(print(&output, "demo:2016", &record),
                 "{\"input\":\"demo:2016\",\"state\":\"done\",\"value\":3794,"
                 "\"start_seconds\":0.000001500,\"end_seconds\":2.000000001,\"worker\":65535}\n");
        output_take_workload(&output, WORKLOAD_WORDS);
        test_contains(print(&output, "demo:2016", &record), ",\"value\":3794,\"unit\":\"words\",");
        output_take_workload(&output, WORKLOAD_SLEEP);
        record.value = 250 * NSEC_PER_MSEC;
        test_contains(print(&output, "250ms", &record), ",\"value\":0.25,\"unit\":\"seconds\",");
        output_take_workload(&output, WORKLOAD_SUM);
        record.state = PPP_STATE_FAILED;
        record.reason = PPP_REASON_NEGATIVE;
        test_contains(
                print(&output, "-1", &record),
                "\"state\":\"failed\",\"reason\":\"negative\",\"detail\":0,\"why\":\"negative;");
}

/* Strings must come back as they were, and bytes that are no UTF-8 as U+FFFD. */
static void test_json_strings(void)
{
        static const struct {
                const char *input, *expected;
        } cases[] = {
                { "plain", "plain" },
                { "q\"b\\t\tn\x01\x7f", "q\"b\\t\tn\x01\x7f" },
                { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
                { "a\xffz", "a\xef\xbf\xbdz" },
                { "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        };
        struct output output = { .json = true };
        struct ppp_record record = { .state = PPP_STATE_DONE };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                json_t *json = json_loads(print(&output, cases[i].input, &record), 0, NULL);

                test_true(json);
                test_str(json_string_value(json_object_get(json, "input")), cases[i].expected);
                json_decref(json);
        }
}

static void test_wrapped(void)
{
        struct output output = OUTPUT_NULL;

        capture_begin(&out, stdout);
        output_wrapped(&output, "ab ", 4, "one two three", 11);
        output_wrapped(&output, "cd", 4, "one two", 11);
        output_wrapped(&output, "ef", 4, "unbreakable", 11);
        output_wrapped(&output, "gh", 4, "one unbreakable two", 11);
        output_wrapped(&output, "", 4, "one two", 3);
        output_wrapped(&output, "ij", 4, "one two three", SIZE_MAX);
        test_str(capture_end(&out), "ab  one two\n    three\n"
                                    "cd  one two\n"
                                    "ef  unbreakable\n"
                                    "gh  one\n    unbreakable two\n"
                                    "    one two\n"
                                    "ij  one two three\n");
}

static void test_hints(void)
{
        test_contains(output_hint(-ENOSPC), "free some space");
        test_contains(output_hint(-EBADF), "closed");
        test_true(!strstr(output_hint(-EIO), "space"));
}

static void test_write_errors(void)
{
        struct output output = OUTPUT_NULL;
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC), saved;

        (void)fflush(stdout);
        saved = dup(STDOUT_FILENO);
        (void)dup2(full, STDOUT_FILENO);
        output_line(&output, "%d", 1);
        test_true(!output_flush(&output));
        clearerr(stdout);
        (void)dup2(saved, STDOUT_FILENO);
        close_fd(saved);
        close_fd(full);
        test_int(output.error, ==, -ENOSPC);
        capture_begin(&err, stderr);
        test_int(output_finish(&output), ==, CLI_FAILED);
        test_contains(capture_end(&err), "No space left");
        output.error = -EPIPE;
        capture_begin(&err, stderr);
        test_int(output_finish(&output), ==, CLI_PIPE);
        test_str(capture_end(&err), "");
}

static void test_relative_paths(void)
{
        static const char *const relative[] = { "a", "a/b", "./x:y", "../x", "1:2", "-", ":x", "day:1",
                                                "x-y.1:", "http:x", "https:/x", "mailto:x", "files:/x" };
        static const char *const others[] = { "/a", "http://h/", "demo:2016", "file:/x", "HTTPS://h/",
                                              "gopher://h/" };

        for (size_t i = 0; i < ARRAY_SIZE(relative); ++i)
                test_true(is_relative_path(relative[i], strlen(relative[i])));
        for (size_t i = 0; i < ARRAY_SIZE(others); ++i)
                test_true(!is_relative_path(others[i], strlen(others[i])));
}

/* What pppd would read. */
static const char *sent(const struct source *source)
{
        static char *text;

        free(text);
        text = contents(source->fd);
        return text;
}

static void test_source_operands(void)
{
        char *operands[] = { A("/a"), A("b"), A("demo:2016"), NULL };
        struct source source = SOURCE_NULL;
        _cleanup_free_ char *cwd = getcwd(NULL, 0), *expected = NULL;
        size_t n;

        test_int(source_open(&source, WORKLOAD_WORDS, NULL, operands, 3), ==, 0);
        test_int(asprintf(&expected, "/a\n%s/b\ndemo:2016\n", cwd), >, 0);
        test_str(sent(&source), expected);
        test_int(source.given.n, ==, 3);
        test_true(strncmp(inputs_get(&source.given, 1, &n), "b\n", 2) == 0);
        test_int(n, ==, 1);
        test_int(fcntl(source.fd, F_GET_SEALS) & F_SEAL_WRITE, !=, 0);
        source_close(&source);

        test_int(source_open(&source, WORKLOAD_SUM, NULL, operands, 2), ==, 0);
        test_str(sent(&source), "/a\nb\n");
        source_close(&source);
}

static void test_source_defaults(void)
{
        struct source source = SOURCE_NULL;

        test_int(source_open(&source, WORKLOAD_WORDS, NULL, NULL, 0), ==, 0);
        test_str(sent(&source), "demo:2016\ndemo:2017\ndemo:2018\ndemo:2019\n");
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM_ARRAY, NULL, NULL, 0), ==, 0);
        test_str(sent(&source), "201600000\n201700000\n201800000\n201900000\n");
        source_close(&source);
}

/* A file of @text, by a name that open(2) takes. */
static int from_text(const char *text, size_t n, struct source *source)
{
        _cleanup_close_ int fd = memfd_create("from", MFD_CLOEXEC);
        char path[64];
        int r;

        test_int(write_all(fd, text, n), ==, 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        capture_begin(&err, stderr);
        r = source_open(source, WORKLOAD_SUM, path, NULL, 0);
        capture_end(&err);
        return r;
}

static void refuse_text(const char *text, size_t n, const char *expected)
{
        struct source source = SOURCE_NULL;

        test_int(from_text(text, n, &source), ==, CLI_USAGE);
        test_contains(err.text, expected);
        source_close(&source);
}

static void test_source_files(void)
{
        struct source source = SOURCE_NULL;
        _cleanup_free_ char *line = malloc(INPUT_MAX + 1);

        test_int(from_text("1\n2", 3, &source), ==, 0);
        test_str(sent(&source), "1\n2\n");
        test_int(source.given.n, ==, 2);
        source_close(&source);

        memset(line, 'x', INPUT_MAX + 1);
        test_int(from_text(line, INPUT_MAX, &source), ==, 0);
        source_close(&source);
        refuse_text(line, INPUT_MAX + 1, "line 1: it is longer than 65536 bytes");
        refuse_text("", 0, "the list is empty");
        refuse_text("a\n\nb\n", 5, "line 2: it is empty");
        refuse_text("a\nb\0c\n", 6, "line 2: it holds a NUL byte");
        refuse_text("a\nb\r\nc\r\n", 8, "line 2: it ends with CR LF");
        refuse_text("\xef\xbb\xbf" "5\n", 5, "line 1: it begins with a byte order mark");
}

/* The name of a file may begin with a blank, and is made absolute then. */
static void test_source_blanks(void)
{
        static const char *const urls[] = { " http://h/", "\thttps://h/", " \t demo:2016",
                                            "\xef\xbb\xbfhttp://h/", " file:/x" };
        char *files[] = { A(" notes"), A("\tday:1") };
        struct source source = SOURCE_NULL;

        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i) {
                char *operands[] = { A("/a"), A(urls[i]) };

                capture_begin(&err, stderr);
                test_int(source_open(&source, WORKLOAD_WORDS, NULL, operands, 2), ==, CLI_USAGE);
                test_contains(capture_end(&err), "argument 2: a blank or a byte order mark stands before its URL");
                source_close(&source);
        }
        test_int(source_open(&source, WORKLOAD_WORDS, NULL, files, 2), ==, 0);
        test_contains(sent(&source), "/ notes\n");
        test_contains(sent(&source), "/\tday:1\n");
        source_close(&source);
}

static void test_source_errors(void)
{
        char *operands[] = { A("a"), A("b\nc"), NULL };
        struct source source = SOURCE_NULL;

        capture_begin(&err, stderr);
        test_int(source_open(&source, WORKLOAD_SUM, NULL, operands, 2), ==, CLI_USAGE);
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM, "/nope", NULL, 0), ==, CLI_USAGE);
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM, "/", NULL, 0), ==, CLI_USAGE);
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM, "/nope", operands, 1), ==, CLI_USAGE);
        source_close(&source);
        capture_end(&err);
        test_contains(err.text, "argument 2: it holds a newline");
        test_contains(err.text, "cannot read inputs from /nope: No such file");
        test_contains(err.text, "cannot read inputs from /: Is a directory");
        test_contains(err.text, "given twice");
}

/* A results file of five tasks and what a job writes into it. */
struct fixture {
        struct source source;
        struct results writer;
        int fd;
        struct output output;
        struct follow follow;
};

static void fixture_init(struct fixture *f, bool ordered, enum follow_show show)
{
        char *operands[] = { A("a"), A("b"), A("c"), A("d"), A("e"), NULL };

        *f = (struct fixture){ .source = SOURCE_NULL, .follow = FOLLOW_NULL };
        test_int(source_open(&f->source, WORKLOAD_SUM, NULL, operands, 5), ==, 0);
        f->fd = memfd_create("results", MFD_CLOEXEC);
        test_int(results_create(f->fd, 5, 0), ==, 0);
        test_int(results_map(f->fd, true, &f->writer), ==, 0);
        test_int(follow_init(&f->follow, f->fd, &f->source.given, &f->output, ordered, show), ==,
                 0);
}

static void fixture_deinit(struct fixture *f)
{
        follow_deinit(&f->follow);
        results_unmap(&f->writer);
        close_fd(f->fd);
        source_close(&f->source);
}

static void finish_task(struct fixture *f, uint64_t index, uint64_t end_ns, enum ppp_state state)
{
        struct ppp_record record = {
                .value = index,
                .end_ns = end_ns,
                .reason = state == PPP_STATE_FAILED ? PPP_REASON_NEGATIVE : PPP_REASON_NONE,
                .state = (uint8_t)state,
        };

        record_publish(&f->writer.records[index], &record);
        f->writer.header->next = MAX(f->writer.header->next, index + 1);
}

static const char *update(struct fixture *f, bool final)
{
        capture_begin(&out, stdout);
        capture_begin(&err, stderr);
        test_int(follow_update(&f->follow, final), ==, 0);
        capture_end(&err);
        return capture_end(&out);
}

/* Touching what is gone of a mapped file is a signal that kills, if nobody takes it. */
static void test_results_cut_short(void)
{
        static const uint64_t left[] = { 0, PPP_RESULTS_HEADER_SIZE,
                                         PPP_RESULTS_HEADER_SIZE + sizeof(struct ppp_record) };

        for (size_t i = 0; i < 2 * ARRAY_SIZE(left); ++i) {
                struct fixture f;

                fixture_init(&f, i % 2, FOLLOW_ALL);
                finish_task(&f, 0, 1, PPP_STATE_DONE);
                finish_task(&f, 3, 2, PPP_STATE_DONE);
                test_int(ftruncate(f.fd, (off_t)left[i / 2]), ==, 0);
                capture_begin(&out, stdout);
                capture_begin(&err, stderr);
                test_int(follow_update(&f.follow, true), ==, CLI_FAILED);
                capture_end(&out);
                test_contains(capture_end(&err), "the file was cut short");
                fixture_deinit(&f);
        }
}

static void test_follow_as_they_end(void)
{
        struct fixture f;

        fixture_init(&f, false, FOLLOW_ALL);
        test_str(update(&f, false), "");
        finish_task(&f, 3, 10, PPP_STATE_DONE);
        finish_task(&f, 2, 20, PPP_STATE_DONE);
        finish_task(&f, 0, 15, PPP_STATE_DONE);
        test_str(update(&f, false), "d: 3\na: 0\nc: 2\n");
        test_str(update(&f, false), "");
        finish_task(&f, 1, 30, PPP_STATE_FAILED);
        test_str(update(&f, true), "");
        test_contains(err.text, "b: failed: negative");
        test_str(update(&f, true), "");
        fixture_deinit(&f);
}

/* After a restart of the runner the claim counter starts over: records above it still count. */
static void test_follow_resumed(void)
{
        struct fixture f;

        fixture_init(&f, false, FOLLOW_ALL);
        finish_task(&f, 4, 10, PPP_STATE_DONE);
        f.writer.header->next = 1;
        test_str(update(&f, false), "");
        test_str(update(&f, true), "e: 4\n");
        fixture_deinit(&f);
}

static void test_follow_ordered(void)
{
        struct fixture f;

        fixture_init(&f, true, FOLLOW_ALL);
        finish_task(&f, 1, 10, PPP_STATE_DONE);
        test_str(update(&f, false), "");
        finish_task(&f, 0, 20, PPP_STATE_DONE);
        test_str(update(&f, false), "a: 0\nb: 1\n");
        finish_task(&f, 3, 30, PPP_STATE_DONE);
        test_str(update(&f, false), "");
        test_str(update(&f, true), "d: 3\n");
        fixture_deinit(&f);
}

static void test_follow_failed_only(void)
{
        struct fixture f;

        fixture_init(&f, true, FOLLOW_FAILED);
        f.output.failures_are_data = true;
        finish_task(&f, 0, 10, PPP_STATE_DONE);
        finish_task(&f, 1, 10, PPP_STATE_FAILED);
        test_contains(update(&f, true), "b: failed: negative");
        test_true(!strstr(out.text, "a: "));
        fixture_deinit(&f);
}

/* More than one word of the bit map, more than one stride of the inputs, in a shuffled order. */
static void test_follow_many(void)
{
        enum { N = 1000 };
        _cleanup_free_ char *text = calloc(N, 8);
        struct source source = SOURCE_NULL;
        struct output output = OUTPUT_NULL;
        struct follow follow = FOLLOW_NULL;
        struct results writer;
        size_t size = 0, lines = 0;
        int fd = memfd_create("results", MFD_CLOEXEC);

        for (unsigned i = 0; i < N; ++i)
                size += (size_t)sprintf(text + size, "i%u\n", i);
        test_int(from_text(text, size, &source), ==, 0);
        test_int(results_create(fd, N, 0), ==, 0);
        test_int(results_map(fd, true, &writer), ==, 0);
        test_int(follow_init(&follow, fd, &source.given, &output, false, FOLLOW_ALL), ==, 0);
        for (unsigned round = 0; round < 4; ++round) {
                capture_begin(&out, stdout);
                for (unsigned k = round * N / 4; k < (round + 1) * N / 4; ++k) {
                        unsigned i = k * 7 % N;
                        struct ppp_record record = { i, 0, k, 0, 0, 0, PPP_STATE_DONE };

                        record_publish(&writer.records[i], &record);
                }
                writer.header->next = N;
                test_int(follow_update(&follow, round == 3), ==, 0);
                capture_end(&out);
                for (char *at = out.text; *at; at = strchr(at, '\n') + 1, ++lines) {
                        unsigned name, value;

                        test_int(sscanf(at, "i%u: %u\n", &name, &value), ==, 2);
                        test_int(name, ==, lines * 7 % N);
                        test_int(value, ==, name);
                }
        }
        test_int(lines, ==, N);
        follow_deinit(&follow);
        results_unmap(&writer);
        close_fd(fd);
        source_close(&source);
}

static void test_follow_foreign_file(void)
{
        struct fixture f;
        struct follow follow = FOLLOW_NULL;
        int fd = memfd_create("results", MFD_CLOEXEC);

        fixture_init(&f, true, FOLLOW_ALL);
        capture_begin(&err, stderr);
        test_int(follow_init(&follow, fd, &f.source.given, &f.output, true, FOLLOW_ALL), ==,
                 CLI_FAILED);
        test_int(results_create(fd, 4, 0), ==, 0);
        test_int(follow_init(&follow, fd, &f.source.given, &f.output, true, FOLLOW_ALL), ==,
                 CLI_FAILED);
        capture_end(&err);
        test_contains(err.text, "cut short");
        test_contains(err.text, "of 4 tasks, but there are 5 inputs");
        follow_deinit(&follow);
        close_fd(fd);
        fixture_deinit(&f);
}

static const char *say_error(const char *error, const char *parameters, int status)
{
        json_t *json = json_loads(parameters, 0, NULL);

        test_true(json);
        capture_begin(&err, stderr);
        test_int(say_varlink_error("start the job", 0, error, json), ==, status);
        json_decref(json);
        return capture_end(&err);
}

static void test_varlink_errors(void)
{
        test_str(say_error("io.pppctl.Jobs.NoSuchJob", "{\"job\": 7}", CLI_NO_SUCH_JOB),
                 "pppctl: cannot start the job: there is no job 7; pppctl list shows those there "
                 "are\n");
        test_str(say_error("io.pppctl.Jobs.QueueFull", "{\"limit\": 3, \"why\": \"w\"}",
                           CLI_QUEUE_FULL),
                 "pppctl: cannot start the job: the queue is full (limit 3): w\n");
        test_str(say_error("io.pppctl.Jobs.NoSpace", "{\"why\": \"w\", \"hint\": \"h\"}",
                           CLI_QUEUE_FULL),
                 "pppctl: cannot start the job: there is no room for it: w; h\n");
        test_contains(say_error("io.pppctl.Jobs.NotAllowed", "{\"what\": \"x\", \"why\": \"w\"}",
                                CLI_NOT_ALLOWED),
                      "you are not allowed to x: w");
        test_str(say_error("io.pppctl.Jobs.BadRequest",
                           "{\"field\": \"spec.task_timeout_seconds\", \"why\": \"w\", \"hint\": "
                           "\"h\"}",
                           CLI_USAGE),
                 "pppctl: cannot start the job: --task-timeout: w; h\n");
        test_contains(say_error("io.pppctl.Jobs.BadInputs", "{\"input\": 3, \"why\": \"w\"}",
                                CLI_USAGE),
                      "input 3: w");
        test_contains(say_error("io.pppctl.Jobs.LevelUnavailable",
                                "{\"level\": \"async\", \"why\": \"w\", \"hint\": \"h\"}",
                                CLI_FAILED),
                      "the level async is not available here: w; h");
        test_str(say_error("io.pppctl.Jobs.LimitUnavailable",
                           "{\"limit\": \"spec.worker_limits.memory_max_bytes\", \"why\": \"w\", "
                           "\"hint\": \"h\"}", CLI_FAILED),
                 "pppctl: cannot start the job: --worker-memory-max cannot be enforced here: w; h\n");
        test_contains(say_error("io.pppctl.Jobs.BadRequest",
                                "{\"field\": \"spec.limits.io_max[0].device\", \"why\": \"w\"}",
                                CLI_USAGE), "--io-max: w");
        test_contains(say_error("io.pppctl.Jobs.BadRequest",
                                "{\"field\": \"spec.limits.cpusx\", \"why\": \"w\"}", CLI_USAGE),
                      "spec.limits.cpusx: w");
        test_contains(say_error("io.pppctl.Jobs.Failed", "{}", CLI_FAILED), "pppd gave no reason");
        test_contains(say_error("org.varlink.service.MethodNotFound", "{\"method\": \"x\"}",
                                CLI_FAILED),
                      "of the same version");
}

static void test_summary_members(void)
{
        json_t *json =
                json_loads("{\"a\": 1.5, \"d\": {\"p50\": 2}, \"s\": \"x\", \"unavailable\": "
                           "[{\"metric\": \"d\", \"reason\": \"r\"}]}",
                           0, NULL);
        double v;

        test_true(summary_number(json, "a", &v) && v == 1.5);
        test_true(summary_number(json, "d.p50", &v) && v == 2);
        test_true(!summary_number(json, "d.p99", &v));
        test_true(!summary_number(json, "s", &v));
        test_true(!summary_number(NULL, "a", &v));
        test_str(summary_why_absent(json, "d"), "r");
        test_str(summary_why_absent(json, "d.p99"), "r");
        test_true(!summary_why_absent(json, "dd"));
        json_decref(json);
}

static void check_progress(int done, int total, const char *expected)
{
        json_t *job = json_pack("{s:i, s:i}", "tasks_done", done, "tasks_total", total);
        char text[JOB_PROGRESS_SIZE];

        test_str(job_progress(job, text), expected);
        json_decref(job);
}

static void test_job_progress(void)
{
        check_progress(0, 1, "0 of 1 task has a result");
        check_progress(1, 1, "1 of 1 task has a result");
        check_progress(0, 2, "0 of 2 tasks have results");
        check_progress(1, 2, "1 of 2 tasks has a result");
        check_progress(2, 2, "2 of 2 tasks have results");
}

static void test_job_status(void)
{
        json_t *job =
                json_pack("{s:s, s:i, s:i}", "state", "done", "tasks_done", 3, "tasks_failed", 0);

        test_int(job_status(job), ==, CLI_OK);
        json_object_set_new(job, "tasks_failed", json_integer(1));
        test_int(job_status(job), ==, CLI_FAILED);
        test_int(job_results(job), ==, 4);
        json_object_set_new(job, "tasks_failed", json_integer(0));
        json_object_set_new(job, "state", json_string("cancelled"));
        test_int(job_status(job), ==, CLI_FAILED);
        json_decref(job);
}

static void check_table(size_t room, bool may_turn, const char *expected)
{
        struct table table = TABLE_NULL;
        char *text = NULL;

        table_add_column(&table, "NAME", true);
        table_add_column(&table, "N", false);
        table_add_column(&table, "LONG NAME", false);
        for (int i = 0; i < 2; ++i) {
                table_add(&table, "row %d", i);
                table_add(&table, "%d", i * 100);
                table_add(&table, "x");
        }
        test_int(table_print(&table, room, may_turn, false, &text), ==, 0);
        test_str(text, expected);
        free(text);
        table_deinit(&table);
}

static void test_table(void)
{
        check_table(SIZE_MAX, true,
                    "NAME     N  LONG NAME\n"
                    "row 0    0          x\n"
                    "row 1  100          x");
        check_table(20, true,
                    "NAME    N LONG NAME\n"
                    "row 0   0         x\n"
                    "row 1 100         x");
        check_table(18, true,
                    "NAME       row 0  row 1\n"
                    "N              0    100\n"
                    "LONG NAME      x      x");
        check_table(18, false,
                    "NAME    N LONG NAME\n"
                    "row 0   0         x\n"
                    "row 1 100         x");
}

TEST_MAIN("cli",
          { "options stand anywhere", test_options_anywhere },
          { "limits", test_limits }, { "options that are limits", test_limit_options },
          { "operands that look like options", test_operands_like_options },
          { "options of one letter", test_letters },
          { "wrong options", test_wrong_options },
          { "options of each verb", test_options_of_verbs },
          { "verbs", test_verbs },
          { "did you mean", test_suggest },
          { "levels and workloads by name", test_choose },
          { "numbers for people", test_units },
          { "times for people", test_times },
          { "progress bar", test_progress_line },
          { "plain result lines", test_plain_results },
          { "failures", test_failed_results },
          { "JSON result lines", test_json_results },
          { "JSON strings", test_json_strings },
          { "lines that are broken at spaces", test_wrapped },
          { "what to do about standard output", test_hints },
          { "standard output that cannot be written", test_write_errors },
          { "relative paths", test_relative_paths },
          { "inputs from arguments", test_source_operands },
          { "default inputs", test_source_defaults },
          { "inputs from a file", test_source_files },
          { "blanks before URLs", test_source_blanks },
          { "inputs that are refused", test_source_errors },
          { "results that are cut short meanwhile", test_results_cut_short },
          { "results as tasks end", test_follow_as_they_end },
          { "results of a job that was resumed", test_follow_resumed },
          { "results in order", test_follow_ordered },
          { "failures only", test_follow_failed_only },
          { "many results, shuffled", test_follow_many },
          { "results files that do not fit", test_follow_foreign_file },
          { "errors of the daemon", test_varlink_errors },
          { "members of a summary", test_summary_members },
          { "how far a job is", test_job_progress },
          { "status of a job", test_job_status },
          { "tables", test_table })
