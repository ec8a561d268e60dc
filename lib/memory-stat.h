#pragma once

/*
 * A group's memory by kind, from memory.stat. Most of it is freed when the processes end, so it is
 * read while they exist; the numbers are plain, so that they can be kept in memory that processes
 * share.
 */

#include <jansson.h>

#include "lib/util.h"

#define MEMORY_STAT_N 8

struct memory_stat {
        uint64_t values[MEMORY_STAT_N]; /* UINT64_MAX: this kernel does not have it */
};

/* -ENOENT without the memory controller, or with none of the keys. */
int memory_stat_read(int group_fd, struct memory_stat *ret);

/* The summary's memory_stat: a new reference, NULL when out of memory. */
json_t *memory_stat_to_json(const struct memory_stat *stat);
