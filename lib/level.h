#pragma once

/*
 * The levels of concurrency, one row of level_infos each. Each difference between levels is a fact
 * in that row; code that needs to know asks for the fact, not which level it is.
 */

#include "lib/util.h"

/* Each level: its number, and the NAME of the runner's level_NAME_run(). */
#define LEVELS(X)                     \
        X(LEVEL_SERIAL, serial)       \
        X(LEVEL_THREADS, threads)     \
        X(LEVEL_PROCESSES, processes) \
        X(LEVEL_ASYNC, async)         \
        X(LEVEL_MACHINES, machines)

#define LEVEL_NUMBER(number, name) number,
enum level { LEVELS(LEVEL_NUMBER) _LEVEL_N };
#undef LEVEL_NUMBER

#define LEVEL_BIT(level) (1U << (level))
#define LEVELS_ALL       (LEVEL_BIT(_LEVEL_N) - 1)
#define LEVEL_LIST_SIZE  64 /* bytes of the names of all levels with ", " between them */

enum level_feature {
        LEVEL_LOCAL = 1 << 0, /* its workers are on this machine, in the job's cgroup; else they are
                                 nodes */
        LEVEL_IN_NODES = 1 << 1, /* a node may run what it was sent at this level */
        LEVEL_ONE_PROCESS =
                1 << 2, /* its workers are threads that share memory, and can share a lock */
        LEVEL_WORKER_GROUPS = 1 << 3, /* each worker is a process in a cgroup of its own */
        LEVEL_LOOPS = 1 << 4, /* its workers are tasks in flight on io_uring loops, one a thread */
};

struct level_info {
        const char *name;
        const char *what;         /* for people: where tasks run; lines of text */
        const char *worker;       /* for people: what a worker is, "thread" */
        const char *workers;      /* several of them, "threads" */
        unsigned features;        /* set of enum level_feature */
        uint32_t workers_max;     /* 0: a job does not choose them */
        uint32_t workers_default; /* 0: one a CPU, and workers_more, but at most workers_most */
        uint32_t workers_more;
        uint32_t workers_most;
        uint32_t pids_min; /* smallest limit on processes and threads with which a loop works; 0:
                              any */
        const char *pids_why;
};
extern const struct level_info level_infos[_LEVEL_N];

static inline const struct level_info *level_info(enum level level)
{
        assert((unsigned)level < _LEVEL_N);
        return &level_infos[level];
}

static inline const char *level_name(enum level level)
{
        return level_info(level)->name;
}

static inline bool level_has(enum level level, enum level_feature feature)
{
        return level_info(level)->features & feature;
}

int level_from_name(const char *name, enum level *ret); /* -EINVAL */

/* The same of a level by its name; false where there is none of that name. */
static inline bool level_named_has(const char *name, enum level_feature feature)
{
        enum level level;

        return level_from_name(name, &level) >= 0 && level_has(level, feature);
}

/* LEVEL_BIT of each level that has @feature. */
unsigned levels_with(enum level_feature feature);

/* "threads, processes, async": those of @set. Returns @text. */
const char *level_list(unsigned set, char text[static LEVEL_LIST_SIZE]);

/* How many workers a job has by default, on a machine with @n_cpus. */
uint32_t level_default_workers(enum level level, unsigned n_cpus);
