#pragma once

/*
 * Fibers: straight-line code that can be suspended in the middle, on a stack of its own with a
 * guard page below it. One switch is a few instructions (fiber-x86_64.S, fiber-aarch64.S);
 * elsewhere ucontext(3) serves, at two system calls a switch. Fibers never move between threads.
 * Switches are announced to AddressSanitizer and ThreadSanitizer.
 */

#include "lib/util.h"

struct fiber;

typedef void fiber_fn(void *userdata);

/*
 * A fiber that will run @fn once resumed. @stack_size is rounded up to pages. The stack is mapped,
 * so only the pages that are touched cost memory. Returns -ENOMEM and the like.
 */
int fiber_new(fiber_fn *fn, void *userdata, size_t stack_size, struct fiber **ret);

/* Only a fiber that has not started or has returned may be freed. */
struct fiber *fiber_free(struct fiber *fiber);
DEFINE_CLEANUP(struct fiber *, fiber_free)

/* From the thread's own stack: runs the fiber until it suspends or returns. True while it lives. */
bool fiber_resume(struct fiber *fiber);

/* From within a fiber: switches back to the thread's stack, from which it was resumed. */
void fiber_suspend(void);

/* The running fiber, NULL on the thread's own stack. */
struct fiber *fiber_self(void);

bool fiber_finished(const struct fiber *fiber);

/* "x86-64", "aarch64", "ucontext" */
const char *fiber_switch_name(void);
