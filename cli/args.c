#include "cli/args.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/say.h"
#include "cli/suggest.h"
#include "lib/command.h"
#include "lib/spec.h"

#define RUNS_MAX 1000

const char *const color_names[] = { "auto", "always", "never", NULL };
const char *const format_names[] = { "json", "table", "csv", "tsv", "joblog", NULL };
const char *const output_names[] = { "grouped", "none", NULL };

/* Limits are not here: limit_infos has their options. */
static const struct option_info option_infos[_OPTION_N] = {
        [OPTION_SOCKET] = { "socket", 0, "PATH", "talk to the pppd that listens there" },
        [OPTION_SYSTEM] = { "system", 0, NULL, "talk to the system's pppd" },
        [OPTION_USER] = { "user", 0, NULL, "talk to your own pppd" },
        [OPTION_COLOR] = { "color", 0, "WHEN", "auto, always or never" },
        [OPTION_HELP] = { "help", 'h', NULL, "show this help" },
        [OPTION_VERSION] = { "version", 0, NULL, "show the version" },
        [OPTION_FROM] = { "from", 0, "FILE", "read inputs, one a line; - is standard input" },
        [OPTION_WORKERS] = { "workers", 0, "N", "threads, processes, or tasks in flight at async" },
        [OPTION_LOOPS] = { "loops", 0, "N", "async: io_uring loops, one a thread" },
        [OPTION_EXECUTOR] = { "executor", 0, "KIND", "async: who computes: threads, processes" },
        [OPTION_EXECUTOR_WORKERS] = { "executor-workers", 0, "N",
                                      "workers of the executor; one a CPU" },
        [OPTION_GIL] = { "gil", 0, NULL, "threads: one lock for all, as in CPython" },
        [OPTION_THREADED] = { "threaded", 0, NULL, "threads: each in a cgroup of its own" },
        [OPTION_THREAD_WEIGHT] = { "thread-weight", 0, "W,W",
                                   "their shares of the CPU, in rotation; 100 is usual" },
        [OPTION_TIME_MAX] = { "time-max", 0, "TIME", "cancel the job after this time (90s, 5min)" },
        [OPTION_TIMEOUT] = { "timeout", 0, "TIME", NULL },
        [OPTION_CPU_TIME_MAX] = { "cpu-time-max", 0, "TIME",
                                  "cancel it when its CPU time is that" },
        [OPTION_TASK_TIMEOUT] = { "task-timeout", 0, "TIME",
                                  "fail a task whose try takes longer (500ms)" },
        [OPTION_NICE] = { "nice", 0, "N", "run with that nice value, -20 to 19" },
        [OPTION_RETRIES] = { "retries", 0, "N", "try again what failed for a passing reason" },
        [OPTION_CA_FILE] = { "ca-file", 0, "PEM", "trust these authorities, not the system's" },
        [OPTION_LEVELS] = { "levels", 0, "LIST", "levels to compare, as in serial,async" },
        [OPTION_RUNS] = { "runs", 0, "N", "run each level N times, show medians" },
        [OPTION_TIMELINE] = { "timeline", 0, NULL, "draw what each worker did when, too" },
        [OPTION_DETACH] = { "detach", 0, NULL, "print the job's number and leave" },
        [OPTION_ORDERED] = { "ordered", 0, NULL, "print results in the order of the inputs" },
        [OPTION_FAILED] = { "failed", 0, NULL, "only the tasks that failed" },
        [OPTION_LIMIT] = { "limit", 'n', "N", "at most N jobs, 0 for all" },
        [OPTION_ASCII] = { "ascii", 0, NULL, "draw with ASCII characters only" },
        [OPTION_JSON] = { "json", 0, NULL, "print JSON" },
        [OPTION_QUIET] = { "quiet", 'q', NULL, "no progress bar and no summary" },
        [OPTION_SUMMARY] = { "summary", 0, NULL, "print the summary, also with --quiet" },
        [OPTION_NO_SUMMARY] = { "no-summary", 0, NULL, "print no summary" },
        [OPTION_LIST] = { "list", 0, NULL, "name the chapters" },
        [OPTION_NO_PAUSE] = { "no-pause", 0, NULL, "do not wait for a key between chapters" },
        [OPTION_NULL] = { "null", '0', NULL, "exec: inputs end with NUL bytes, not newlines" },
        [OPTION_SHELL] = { "shell", 0, NULL, "exec: the words are a script of /bin/sh" },
        [OPTION_STDIN] = { "stdin", 0, NULL, "exec: give the input on standard input" },
        [OPTION_CD] = { "cd", 0, "DIR", "exec: run commands in that directory" },
        [OPTION_ENV] = { "env", 0, "NAME[=VALUE]", "exec: with that variable; once for each" },
        [OPTION_TASK_MEMORY_MAX] = { "task-memory-max", 0, "SIZE", "exec: memory of each command" },
        [OPTION_TASK_CPU_MAX] = { "task-cpu-max", 0, "PERCENT", "exec: CPU time of each" },
        [OPTION_TASK_PIDS_MAX] = { "task-pids-max", 0, "N", "exec: processes and threads of each" },
        [OPTION_NO_TASK_CGROUP] = { "no-task-cgroup", 0, NULL, "exec: no cgroup for each command" },
        [OPTION_KILL_AFTER] = { "kill-after", 0, "TIME",
                                "exec: from SIGTERM to SIGKILL, past --task-timeout; 5s" },
        [OPTION_OUTPUT] = { "output", 0, "HOW", "exec: print what commands print: grouped, none" },
        [OPTION_OUTPUT_MAX] = { "output-max", 0, "SIZE", "exec: keep so much of each stream" },
        [OPTION_VERBOSE] = { "verbose", 'v', NULL, "exec: a line about each command that ended" },
        [OPTION_STDERR] = { "stderr", 0, NULL, "what was written to standard error" },
        [OPTION_REASON] = { "reason", 0, "REASON", "what failed for it; once for each" },
        [OPTION_FORMAT] = { "format", 0, "FORMAT",
                            "table, json, csv, tsv, or joblog for commands" },
        [OPTION_HALT] = { "halt", 0, "WHEN",
                          "end the job early: soon,fail=1 now,fail=10% now,done=3" },
        [OPTION_DELAY] = { "delay", 0, "TIME", "begin tasks at least so long apart" },
        [OPTION_RETRY_MEMORY] = { "retry-memory", 0, "N",
                                  "exec: what ran out of memory again, with N times as much" },
        [OPTION_UNFINISHED] = { "unfinished", 0, NULL, "only what has no result" },
};

struct option_info option_info(enum option option)
{
        const struct limit_info *limit;

        assert((unsigned)option < _OPTION_N);
        if (!(OPTIONS_LIMITS & OPTION_BIT(option)))
                return option_infos[option];
        if (option >= _OPTION_WORKER_LIMITS) {
                limit = &limit_infos[option - _OPTION_WORKER_LIMITS];
                return (struct option_info){ limit->worker_option, 0, limit->argument, NULL };
        }
        limit = &limit_infos[option - _OPTION_LIMITS];
        return (struct option_info){ limit->option, 0, limit->argument, limit->help };
}

enum option option_by_name(const char *name, size_t n)
{
        enum option i = 0;

        while (i < _OPTION_N &&
               (strlen(option_info(i).name) != n || strncmp(option_info(i).name, name, n) != 0))
                ++i;
        return i;
}

enum option option_by_letter(char letter)
{
        enum option i = 0;

        while (i < _OPTION_N && option_info(i).letter != letter)
                ++i;
        return i;
}

static int set_count(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
        uint64_t v;
        int r = parse_u64(value, strlen(value), UINT64_MAX, &v);

        if (r == -EINVAL)
                return cli_fail(CLI_USAGE,
                                "--%s: \"%s\" is not a whole number; give %" PRIu64 " to %" PRIu64,
                                name, value, min, max);
        if (r < 0 || v < min || v > max)
                return cli_fail(CLI_USAGE, "--%s: %s is out of range; give %" PRIu64 " to %" PRIu64,
                                name, value, min, max);
        *ret = v;
        return 0;
}

static int set_count32(const char *name, const char *value, uint32_t min, uint32_t max,
                       uint32_t *ret)
{
        uint64_t v;
        int r = set_count(name, value, min, max, &v);

        if (r == 0)
                *ret = (uint32_t)v;
        return r;
}

static int set_duration(const char *name, const char *value, uint64_t *ret)
{
        uint64_t v;
        int r = parse_duration(value, &v);

        if (r == -EINVAL)
                return cli_fail(CLI_USAGE,
                                "--%s: \"%s\" is not a time; give seconds, or a number with ns, "
                                "us, ms, s, min, h or d, as in 500ms",
                                name, value);
        if (r < 0 || v == 0 || v > SPEC_SECONDS_MAX * NSEC_PER_SEC)
                return cli_fail(
                        CLI_USAGE,
                        "--%s: %s is out of range; give more than 0 and at most a year, 365d", name,
                        value);
        *ret = v;
        return 0;
}

static int set_color(const char *value, enum progress_color *ret)
{
        for (size_t i = 0; color_names[i]; ++i) {
                if (streq(value, color_names[i])) {
                        *ret = (enum progress_color)i;
                        return 0;
                }
        }
        return cli_fail(CLI_USAGE, "--color: \"%s\" is none of auto, always and never", value);
}

static int set_nice(const char *value, int *ret)
{
        bool negative = *value == '-';
        const char *digits = value + negative;
        uint64_t v;
        int r = parse_u64(digits, strlen(digits), negative ? 20 : 19, &v);

        if (r < 0)
                return cli_fail(CLI_USAGE,
                                "--nice: \"%s\" %s; give a whole number from -20 (first of all) to "
                                "19 (after all others)",
                                value, r == -ERANGE ? "is out of range" : "is no nice value");
        *ret = negative ? -(int)v : (int)v;
        return 0;
}

static int add_weight(struct args *args, const char *word, size_t n)
{
        uint32_t *larger;
        uint64_t v;
        int r;

        r = parse_u64(word, n, 10000, &v);
        if (r < 0 || v == 0)
                return cli_fail(CLI_USAGE,
                                "--thread-weight: \"%.*s\" %s; give whole numbers from 1 to 10000 "
                                "with commas between, as in 100,300",
                                (int)n, word, r == -EINVAL ? "is no weight" : "is out of range");
        if (args->n_thread_weights == SPEC_WEIGHTS_MAX)
                return cli_fail(
                        CLI_USAGE,
                        "--thread-weight: these are more than %d weights; give one for each thread",
                        SPEC_WEIGHTS_MAX);
        larger = reallocarray(args->thread_weights, args->n_thread_weights + 1, sizeof(*larger));
        if (!larger)
                return cli_no_memory();
        args->thread_weights = larger;
        args->thread_weights[args->n_thread_weights++] = (uint32_t)v;
        return 0;
}

static int set_weights(struct args *args, const char *value)
{
        args->n_thread_weights = 0;
        for (const char *word = value;; ++word) {
                size_t n = strcspn(word, ",");
                int r = add_weight(args, word, n);

                word += n;
                if (r || !*word)
                        return r;
        }
}

static int set_executor(const char *value, enum executor *ret)
{
        char names[EXECUTOR_LIST_SIZE];

        if (executor_from_name(value, ret) < 0)
                return cli_fail(CLI_USAGE, "--executor takes %s, not \"%s\"", executor_list(names),
                                value);
        return 0;
}

static int set_limit(struct limits *limits, const char *name, enum limit limit, const char *value)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        _cleanup_free_ char *why = NULL;
        int r = limits_set_text(limits, limit, value, &fault);

        if (r == -ENOMEM)
                return cli_no_memory();
        if (r >= 0)
                return 0;
        why = fault_sentence(&fault);
        return cli_fail(CLI_USAGE, "--%s: %s", name, fault_text(why));
}

static int set_any_limit(struct args *args, enum option option, const char *value)
{
        const char *name = option_info(option).name;

        if (option >= _OPTION_WORKER_LIMITS)
                return set_limit(&args->worker_limits, name,
                                 (enum limit)(option - _OPTION_WORKER_LIMITS), value);
        return set_limit(&args->limits, name, (enum limit)(option - _OPTION_LIMITS), value);
}

static int set_output(struct args *args, const char *value)
{
        if (!streq(value, "grouped") && !streq(value, "none"))
                return cli_fail(CLI_USAGE, "--output takes grouped or none, not \"%s\"", value);
        args->no_output = streq(value, "none");
        return 0;
}

static int set_size(const char *name, const char *value, uint64_t *ret)
{
        uint64_t v;

        if (parse_size(value, &v) < 0 || v == 0 || v > INT64_MAX)
                return cli_fail(CLI_USAGE,
                                "--%s: \"%s\" is no size; give 1 byte or more, as in 64K or 10M",
                                name, value);
        *ret = v;
        return 0;
}

static int add_to(const char ***list, size_t *n, const char *value)
{
        const char **larger = reallocarray(*list, *n + 1, sizeof(*larger));

        if (!larger)
                return cli_no_memory();
        *list = larger;
        larger[(*n)++] = value;
        return 0;
}

static int add_variable(struct args *args, const char *value)
{
        if (!*value || *value == '=')
                return cli_fail(CLI_USAGE,
                                "--env: \"%s\" has no name; give NAME=VALUE, or NAME alone for the "
                                "value that it has here",
                                value);
        return add_to(&args->environment, &args->n_environment, value);
}

/* The options that only commands have. */
static int set_command_option(struct args *args, enum option option, const char *value)
{
        const char *name = option_info(option).name;

        switch (option) {
        case OPTION_CD:
                args->directory = value;
                return 0;
        case OPTION_ENV:
                return add_variable(args, value);
        case OPTION_TASK_MEMORY_MAX:
                return set_limit(&args->task_limits, name, LIMIT_MEMORY_MAX, value);
        case OPTION_TASK_CPU_MAX:
                return set_limit(&args->task_limits, name, LIMIT_CPU_MAX, value);
        case OPTION_TASK_PIDS_MAX:
                return set_limit(&args->task_limits, name, LIMIT_PIDS_MAX, value);
        case OPTION_OUTPUT:
                return set_output(args, value);
        case OPTION_OUTPUT_MAX:
                return set_size(name, value, &args->output_max);
        case OPTION_RETRY_MEMORY:
                return set_count32(name, value, COMMAND_RETRY_MEMORY_MIN, COMMAND_RETRY_MEMORY_MAX,
                                   &args->retry_memory);
        default:
                return 0;
        }
}

/* NULL: the option takes no time. */
static uint64_t *duration_of(struct args *args, enum option option)
{
        switch (option) {
        case OPTION_CPU_TIME_MAX:
                return &args->cpu_time_max_ns;
        case OPTION_TIME_MAX:
        case OPTION_TIMEOUT:
                return &args->timeout_ns;
        case OPTION_TASK_TIMEOUT:
                return &args->task_timeout_ns;
        case OPTION_DELAY:
                return &args->delay_ns;
        case OPTION_KILL_AFTER:
                return &args->kill_after_ns;
        default:
                return NULL;
        }
}

static int set_option(struct args *args, enum option option, const char *value)
{
        const char *name = option_info(option).name;
        uint64_t *duration = duration_of(args, option);

        args->given |= OPTION_BIT(option);
        if (OPTIONS_LIMITS & OPTION_BIT(option))
                return set_any_limit(args, option, value);
        if (duration)
                return set_duration(name, value, duration);
        if (OPTIONS_COMMAND & OPTION_BIT(option))
                return set_command_option(args, option, value);
        switch (option) {
        case OPTION_SOCKET:
                args->socket = value;
                return 0;
        case OPTION_FROM:
                args->from = value;
                return 0;
        case OPTION_CA_FILE:
                args->ca_file = value;
                return 0;
        case OPTION_LEVELS:
                args->levels = value;
                return 0;
        case OPTION_COLOR:
                return set_color(value, &args->color);
        case OPTION_WORKERS:
                return set_count32(name, value, 1, SPEC_WORKERS_MAX, &args->workers);
        case OPTION_LOOPS:
                return set_count32(name, value, 1, SPEC_LOOPS_MAX, &args->loops);
        case OPTION_EXECUTOR:
                return set_executor(value, &args->executor);
        case OPTION_EXECUTOR_WORKERS:
                return set_count32(name, value, 1, SPEC_EXECUTOR_WORKERS_MAX,
                                   &args->executor_workers);
        case OPTION_RETRIES:
                return set_count32(name, value, 0, SPEC_RETRIES_MAX, &args->retries);
        case OPTION_RUNS:
                return set_count32(name, value, 1, RUNS_MAX, &args->runs);
        case OPTION_LIMIT:
                return set_count(name, value, 0, INT64_MAX, &args->limit);
        case OPTION_NICE:
                return set_nice(value, &args->nice);
        case OPTION_THREAD_WEIGHT:
                return set_weights(args, value);
        case OPTION_FORMAT:
                args->format = value;
                return 0;
        case OPTION_HALT:
                if (halt_from_text(value, &args->halt) < 0)
                        return cli_fail(CLI_USAGE, "--halt: \"%s\" does not say when; %s", value,
                                        HALT_EXPECTED);
                return 0;
        case OPTION_REASON:
                return add_to(&args->reasons, &args->n_reasons, value);
        default:
                return 0;
        }
}

static int unknown_option(const char *text)
{
        const char *names[_OPTION_N];
        char word[64];

        for (size_t i = 0; i < _OPTION_N; ++i)
                names[i] = option_info(i).name;
        snprintf(word, sizeof(word), "%.*s", (int)MIN(strcspn(text + 2, "="), sizeof(word) - 1),
                 text + 2);
        return cli_fail(CLI_USAGE, "there is no option %.*s%s%s%s", (int)strcspn(text, "="), text,
                        suggest(word, names, _OPTION_N) ? "; did you mean --" : "",
                        suggest(word, names, _OPTION_N) ?: "",
                        suggest(word, names, _OPTION_N) ? "?" : "; see pppctl --help");
}

/* "--name", "--name=VALUE" or "--name VALUE"; *i moves past a value that stands alone. */
static int parse_long(struct args *args, char **argv, int *i)
{
        const char *text = argv[*i] + 2, *equals = strchr(text, '=');
        enum option k = option_by_name(text, equals ? (size_t)(equals - text) : strlen(text));
        struct option_info info;

        if (k == _OPTION_N)
                return unknown_option(argv[*i]);
        info = option_info(k);
        if (!info.argument && equals)
                return cli_fail(CLI_USAGE, "--%s takes no value; leave out \"%s\"", info.name,
                                equals);
        if (!info.argument)
                return set_option(args, k, NULL);
        if (!equals && !argv[*i + 1])
                return cli_fail(CLI_USAGE, "--%s needs a value: --%s %s", info.name, info.name,
                                info.argument);
        return set_option(args, k, equals ? equals + 1 : argv[++*i]);
}

/* "-q", "-qh", "-n 5", "-n5". */
static int parse_letters(struct args *args, char **argv, int *i)
{
        for (const char *p = argv[*i] + 1; *p; ++p) {
                enum option k = option_by_letter(*p);
                const char *argument, *value;
                int r;

                if (k == _OPTION_N)
                        return cli_fail(CLI_USAGE, "there is no option -%c; see pppctl --help", *p);
                argument = option_info(k).argument;
                if (argument) {
                        value = p[1] ? p + 1 : argv[++*i];
                        if (!value)
                                return cli_fail(CLI_USAGE, "-%c needs a value: -%c %s", *p, *p,
                                                argument);
                        return set_option(args, k, value);
                }
                r = set_option(args, k, NULL);
                if (r)
                        return r;
        }
        return 0;
}

/* A negative number is a (wrong) input, and the workload says so better than we could. -0 is none.
 */
static bool is_option(const char *text)
{
        if (text[0] != '-' || !text[1])
                return false;
        return !strchr("0123456789.", text[text[1] == '0' && text[2] ? 2 : 1]) || streq(text, "-0");
}

static void add_operand(struct args *args, char *text)
{
        if (!args->verb)
                args->verb = text;
        else
                args->operands[args->n_operands++] = text;
}

int args_parse(int argc, char **argv, struct args *args)
{
        args->operands = calloc((size_t)argc + 1, sizeof(*args->operands));
        if (!args->operands)
                return cli_no_memory();
        for (int i = 1; i < argc; ++i) {
                int r = 0;

                if (streq(argv[i], "--")) {
                        args->n_before = args->n_operands;
                        while (++i < argc)
                                add_operand(args, argv[i]);
                        return 0;
                }
                if (!is_option(argv[i]))
                        add_operand(args, argv[i]);
                else if (argv[i][1] == '-')
                        r = parse_long(args, argv, &i);
                else
                        r = parse_letters(args, argv, &i);
                if (r)
                        return r;
        }
        args->n_before = args->n_operands;
        return 0;
}

void args_deinit(struct args *args)
{
        free(args->operands);
        free(args->thread_weights);
        free(args->environment);
        free(args->reasons);
        limits_deinit(&args->task_limits);
        limits_deinit(&args->limits);
        limits_deinit(&args->worker_limits);
        *args = (struct args)ARGS_NULL;
}

int args_check(const struct args *args, const char *verb, option_set allowed)
{
        for (unsigned k = 0; k < _OPTION_N; ++k)
                if ((args->given & ~allowed) & OPTION_BIT(k))
                        return cli_fail(CLI_USAGE, "--%s is no option of %s; see pppctl help %s",
                                        option_info(k).name, verb, verb);
        return 0;
}
