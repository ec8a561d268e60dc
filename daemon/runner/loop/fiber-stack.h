#pragma once

/*
 * A stack: a mapping whose lowest page faults when touched, so that an overflow is a SIGSEGV here
 * and not a silent write into the next fiber's stack. Pages cost memory once they are touched.
 */

#include "lib/util.h"

struct fiber_stack {
        void *mapping; /* NULL: none */
        size_t mapping_size;
        void *bottom; /* lowest usable byte, right above the guard page */
        size_t size;  /* usable bytes */
};

#define FIBER_STACK_NULL         \
        {                        \
                NULL, 0, NULL, 0 \
        }

/* @size is rounded up to pages. Returns -ENOMEM also when vm.max_map_count is reached. */
int fiber_stack_map(size_t size, struct fiber_stack *ret);
void fiber_stack_unmap(struct fiber_stack *stack);
