#pragma once

/* Lists of CPUs as the kernel writes them, "0-3,8": cpuset(7), "List format". */

#include "lib/util.h"

#define CPU_LIST_MAX 8192 /* CONFIG_NR_CPUS is at most that on x86-64 */

struct cpu_list {
        uint64_t bits[CPU_LIST_MAX / 64];
};

/*
 * The list may end in a newline. -EINVAL: it is no such list; -ERANGE: a number is CPU_LIST_MAX or
 * more.
 */
int cpu_list_parse(const char *text, struct cpu_list *ret);

static inline bool cpu_list_has(const struct cpu_list *list, unsigned cpu)
{
        return list->bits[cpu / 64] >> cpu % 64 & 1;
}

static inline bool cpu_list_equals(const struct cpu_list *a, const struct cpu_list *b)
{
        return memcmp(a, b, sizeof(*a)) == 0;
}

/* The first CPU of @list that @of lacks, or -1. */
int cpu_list_first_missing(const struct cpu_list *list, const struct cpu_list *of);
unsigned cpu_list_count(const struct cpu_list *list);
