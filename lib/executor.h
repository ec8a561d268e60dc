#pragma once

/* What computes for the loops of the level async (--executor), one row of executor_infos each. */

#include "lib/util.h"

enum executor {
        EXECUTOR_NONE, /* the loops themselves */
        EXECUTOR_THREADS,
        EXECUTOR_PROCESSES,
        _EXECUTOR_N,
};

struct executor_info {
        const char *name;  /* NULL: of EXECUTOR_NONE */
        const char *level; /* the level with this executor, as pppctl compare names it */
        const char *what;  /* for people */
};
extern const struct executor_info executor_infos[_EXECUTOR_N];

#define EXECUTOR_LIST_SIZE 32

/* "threads, processes": all of them. Returns @text. */
const char *executor_list(char text[static EXECUTOR_LIST_SIZE]);

/* -EINVAL: there is none of that name. */
int executor_from_name(const char *name, enum executor *ret);
