#pragma once

/*
 * The workloads by name, one row of workload_infos each: the facts that all programs share. Their
 * code is in daemon/runner/workloads/.
 */

#include "lib/util.h"

/* Each workload: its number, and the NAME of the runner's object workload_NAME. */
#define WORKLOADS(X)                     \
        X(WORKLOAD_WORDS, words)         \
        X(WORKLOAD_SUM, sum)             \
        X(WORKLOAD_SUM_ARRAY, sum_array) \
        X(WORKLOAD_SLEEP, sleep)         \
        X(WORKLOAD_MIX, mix)             \
        X(WORKLOAD_EXEC, exec)

#define WORKLOAD_NUMBER(number, name) number,
enum workload_id { WORKLOADS(WORKLOAD_NUMBER) _WORKLOAD_N };
#undef WORKLOAD_NUMBER

#define WORKLOAD_BIT(workload) (1U << (workload))
#define WORKLOADS_ALL          (WORKLOAD_BIT(_WORKLOAD_N) - 1)
#define WORKLOAD_LIST_SIZE     64 /* bytes of the names of all workloads with ", " between them */

struct workload_info {
        const char *name;
        const char *what;           /* for people: what it does with an input; lines of text */
        const char *unit;           /* of a value: "word"; NULL: a number without one */
        bool takes_urls;            /* its inputs are URLs, paths, and pages of the demo server */
        bool value_is_time;         /* its values are nanoseconds */
        bool runs_commands;         /* those of its users, in processes of their own */
        bool waits, computes;       /* what its tasks spend their time on */
        const char *default_inputs; /* lines: what pppctl takes where no inputs were given */
};
extern const struct workload_info workload_infos[_WORKLOAD_N];

static inline const struct workload_info *workload_info(enum workload_id workload)
{
        assert((unsigned)workload < _WORKLOAD_N);
        return &workload_infos[workload];
}

static inline const char *workload_name(enum workload_id workload)
{
        return workload_info(workload)->name;
}

int workload_from_name(const char *name, enum workload_id *ret); /* -EINVAL */

/* "words, sum": those of @set, WORKLOAD_BIT of each. Returns @text. */
const char *workload_list(unsigned set, char text[static WORKLOAD_LIST_SIZE]);

/* WORKLOAD_BIT of each workload whose inputs may be URLs, and of each that nodes may run. */
unsigned workloads_that_take_urls(void);
unsigned workloads_of_nodes(void);
