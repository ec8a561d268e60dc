#pragma once

/*
 * The command line: one table of all options, one parser for all verbs. Options may stand anywhere,
 * also before the verb; "--" ends them. "-" and what looks like a negative number are operands.
 */

#include "cli/progress.h"
#include "lib/executor.h"
#include "lib/halt.h"
#include "lib/limits.h"

enum option {
        OPTION_SOCKET,
        OPTION_SYSTEM,
        OPTION_USER,
        OPTION_COLOR,
        OPTION_HELP,
        OPTION_VERSION,
        OPTION_FROM,
        OPTION_WORKERS,
        OPTION_LOOPS,
        OPTION_EXECUTOR,
        OPTION_EXECUTOR_WORKERS,
        OPTION_GIL,
        OPTION_THREADED,
        OPTION_THREAD_WEIGHT,
        OPTION_TIME_MAX,
        OPTION_TIMEOUT, /* another name of --time-max */
        OPTION_CPU_TIME_MAX,
        OPTION_TASK_TIMEOUT,
        OPTION_NICE,
        _OPTION_LIMITS, /* one for each enum limit, in that order */
        _OPTION_WORKER_LIMITS = _OPTION_LIMITS + _LIMIT_N,
        _OPTION_AFTER_LIMITS = _OPTION_WORKER_LIMITS + _LIMIT_N - 1,
        OPTION_RETRIES,
        OPTION_CA_FILE,
        OPTION_LEVELS,
        OPTION_RUNS,
        OPTION_TIMELINE,
        OPTION_DETACH,
        OPTION_ORDERED,
        OPTION_FAILED,
        OPTION_LIMIT,
        OPTION_ASCII,
        OPTION_JSON,
        OPTION_QUIET,
        OPTION_SUMMARY,
        OPTION_NO_SUMMARY,
        OPTION_LIST,
        OPTION_NO_PAUSE,
        OPTION_NULL,
        OPTION_SHELL,
        OPTION_STDIN,
        OPTION_CD,
        OPTION_ENV,
        OPTION_TASK_MEMORY_MAX,
        OPTION_TASK_CPU_MAX,
        OPTION_TASK_PIDS_MAX,
        OPTION_NO_TASK_CGROUP,
        OPTION_KILL_AFTER,
        OPTION_OUTPUT,
        OPTION_OUTPUT_MAX,
        OPTION_VERBOSE,
        OPTION_STDERR,
        OPTION_REASON,
        OPTION_UNFINISHED,
        OPTION_FORMAT,
        OPTION_HALT,
        OPTION_DELAY,
        OPTION_RETRY_MEMORY,
        _OPTION_N,
};

__extension__ typedef unsigned __int128 option_set;

#define OPTION_BIT(option) ((option_set)1 << (option))
_Static_assert(_OPTION_N <= 128, "options fit a bit set");

static inline enum option option_of_limit(enum limit limit)
{
        return (enum option)(_OPTION_LIMITS + limit);
}

static inline enum option option_of_worker_limit(enum limit limit)
{
        return (enum option)(_OPTION_WORKER_LIMITS + limit);
}

/* The options of every verb. */
#define OPTIONS_COMMON                                                                     \
        (OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_SYSTEM) | OPTION_BIT(OPTION_USER) | \
         OPTION_BIT(OPTION_COLOR) | OPTION_BIT(OPTION_HELP) | OPTION_BIT(OPTION_VERSION))

/* The options that are limits, the job's and the workers'. */
#define OPTIONS_LIMITS (OPTION_BIT(_OPTION_AFTER_LIMITS) * 2 - OPTION_BIT(_OPTION_LIMITS))

/* The options that describe a job, common to run and compare. */
#define OPTIONS_JOB                                                                                \
        (OPTION_BIT(OPTION_FROM) | OPTION_BIT(OPTION_WORKERS) | OPTION_BIT(OPTION_LOOPS) |         \
         OPTION_BIT(OPTION_EXECUTOR) | OPTION_BIT(OPTION_EXECUTOR_WORKERS) |                       \
         OPTION_BIT(OPTION_GIL) | OPTION_BIT(OPTION_THREADED) | OPTION_BIT(OPTION_THREAD_WEIGHT) | \
         OPTION_BIT(OPTION_TIME_MAX) | OPTION_BIT(OPTION_TIMEOUT) |                                \
         OPTION_BIT(OPTION_CPU_TIME_MAX) | OPTION_BIT(OPTION_TASK_TIMEOUT) |                       \
         OPTION_BIT(OPTION_NICE) | OPTIONS_LIMITS | OPTION_BIT(OPTION_RETRIES) |                   \
         OPTION_BIT(OPTION_CA_FILE) | OPTION_BIT(OPTION_QUIET))

/* How their output is printed, of run only. */
#define OPTIONS_OUTPUT \
        (OPTION_BIT(OPTION_OUTPUT) | OPTION_BIT(OPTION_OUTPUT_MAX) | OPTION_BIT(OPTION_VERBOSE))

/* Those of a job of commands. */
#define OPTIONS_COMMAND                                                                        \
        (OPTION_BIT(OPTION_NULL) | OPTION_BIT(OPTION_SHELL) | OPTION_BIT(OPTION_STDIN) |       \
         OPTION_BIT(OPTION_CD) | OPTION_BIT(OPTION_ENV) | OPTION_BIT(OPTION_TASK_MEMORY_MAX) | \
         OPTION_BIT(OPTION_TASK_CPU_MAX) | OPTION_BIT(OPTION_TASK_PIDS_MAX) |                  \
         OPTION_BIT(OPTION_NO_TASK_CGROUP) | OPTION_BIT(OPTION_KILL_AFTER) | OPTIONS_OUTPUT |  \
         OPTION_BIT(OPTION_RETRY_MEMORY))

struct args {
        option_set given; /* OPTION_BIT of each option on the command line */
        const char *socket;
        enum progress_color color;
        const char *from;
        uint32_t workers, loops, executor_workers, retries;
        enum executor executor;
        uint64_t timeout_ns, task_timeout_ns, cpu_time_max_ns;
        int nice;
        uint32_t *thread_weights; /* owned */
        size_t n_thread_weights;
        struct limits limits, worker_limits, task_limits;
        const char *directory;
        const char **environment; /* owned; "NAME" or "NAME=VALUE" each */
        size_t n_environment;
        const char **reasons; /* owned; names, not checked */
        size_t n_reasons;
        uint64_t kill_after_ns, output_max, delay_ns;
        uint32_t retry_memory;
        struct halt halt;
        const char *format; /* of results; NULL: as lines */
        bool no_output;     /* what commands print is not printed */
        const char *ca_file;
        const char *levels;
        uint32_t runs;
        uint64_t limit;
        const char *verb; /* NULL: none was given */
        char **operands;  /* after the verb; NULL-terminated, strings of argv */
        size_t n_operands;
        size_t n_before; /* how many of them come before "--"; n_operands where there is none */
};

#define ARGS_NULL            \
        {                    \
                .verb = NULL \
        }

static inline bool args_has(const struct args *args, enum option option)
{
        return args->given & OPTION_BIT(option);
}

/* Returns 0, or prints the error and returns an exit status. */
int args_parse(int argc, char **argv, struct args *args);
void args_deinit(struct args *args);

/* Refuses given options that are not in @allowed. */
int args_check(const struct args *args, const char *verb, option_set allowed);

/* The values of --color, in the order of enum progress_color; NULL-terminated. */
extern const char *const color_names[];

/* Those of --format, in the order of enum rows_format, but json in the place of lines. */
extern const char *const format_names[];

/* Those of --output. */
extern const char *const output_names[];

/* An option as the help lists it: its names, the word for its value, and a line about it. */
struct option_info {
        const char *name;
        char letter;          /* 0: none */
        const char *argument; /* NULL: it takes none */
        const char *help;     /* NULL: help does not list it */
};
struct option_info option_info(enum option option);

/* The option by the @n bytes of its name, or by its letter; _OPTION_N where there is none. */
enum option option_by_name(const char *name, size_t n);
enum option option_by_letter(char letter);
