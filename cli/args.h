#pragma once

/*
 * The command line: one table of all options, one parser for all verbs. Options may stand anywhere,
 * also before the verb; "--" ends them. "-" and what looks like a negative number are operands.
 */

#include "cli/progress.h"
#include "lib/util.h"

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
        OPTION_GIL,
        OPTION_TIMEOUT,
        OPTION_TASK_TIMEOUT,
        OPTION_RETRIES,
        OPTION_CA_FILE,
        OPTION_LEVELS,
        OPTION_RUNS,
        OPTION_DETACH,
        OPTION_ORDERED,
        OPTION_FAILED,
        OPTION_LIMIT,
        OPTION_JSON,
        OPTION_QUIET,
        OPTION_SUMMARY,
        OPTION_NO_SUMMARY,
        _OPTION_N,
};

#define OPTION_BIT(option) (UINT64_C(1) << (option))

/* What every verb takes. */
#define OPTIONS_COMMON                                                                             \
        (OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_SYSTEM) | OPTION_BIT(OPTION_USER) |         \
         OPTION_BIT(OPTION_COLOR) | OPTION_BIT(OPTION_HELP) | OPTION_BIT(OPTION_VERSION))

/* What describes a job, common to run and compare. */
#define OPTIONS_JOB                                                                                \
        (OPTION_BIT(OPTION_FROM) | OPTION_BIT(OPTION_WORKERS) | OPTION_BIT(OPTION_LOOPS) |         \
         OPTION_BIT(OPTION_GIL) | OPTION_BIT(OPTION_TIMEOUT) | OPTION_BIT(OPTION_TASK_TIMEOUT) |   \
         OPTION_BIT(OPTION_RETRIES) | OPTION_BIT(OPTION_CA_FILE) | OPTION_BIT(OPTION_QUIET))

struct args {
        uint64_t given;                 /* OPTION_BIT of each option that was */
        const char *socket;
        enum progress_color color;
        const char *from;
        uint32_t workers, loops, retries;
        uint64_t timeout_ns, task_timeout_ns;
        const char *ca_file;
        const char *levels;
        uint32_t runs;
        uint64_t limit;
        const char *verb;               /* NULL: none was given */
        char **operands;                /* after the verb; NULL-terminated, strings of argv */
        size_t n_operands;
};

#define ARGS_NULL { .verb = NULL }

static inline bool args_has(const struct args *args, enum option option)
{
        return args->given & OPTION_BIT(option);
}

/* Returns 0 or an exit status, with the error said. */
int args_parse(int argc, char **argv, struct args *args);
void args_deinit(struct args *args);

/* Refuses given options that are not in @allowed. */
int args_check(const struct args *args, const char *verb, uint64_t allowed);

/* "--workers N", "-q, --quiet" and a line about it. */
struct option_info {
        const char *name;
        char letter;                    /* 0: none */
        const char *argument;           /* NULL: it takes none */
        const char *help;
};
extern const struct option_info option_infos[_OPTION_N];
