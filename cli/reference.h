#pragma once

/*
 * The first value of each task, at whichever level that was. The values at other levels are
 * compared with it; a level at which the task failed or did not run has no value.
 */

#include "lib/util.h"

struct first_value {
        uint64_t value;
        const char *level; /* borrowed */
        bool known;
};

struct reference {
        struct first_value *values; /* by task */
};

#define REFERENCE_NULL         \
        {                      \
                .values = NULL \
        }

/* Returns -ENOMEM where there is no memory for @n_tasks. */
int reference_init(struct reference *reference, uint64_t n_tasks);
void reference_deinit(struct reference *reference);

/*
 * Task @i is done at @level, with @value. Returns NULL where that is its first value, or the same
 * as its first; otherwise the first, which stays the reference's.
 */
const struct first_value *reference_check(struct reference *reference, uint64_t i,
                                          const char *level, uint64_t value);
