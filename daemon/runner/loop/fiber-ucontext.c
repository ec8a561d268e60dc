/*
 * The context switch where we have none of our own: ucontext(3). It saves and restores the signal
 * mask too, so a switch costs two system calls.
 */

#include "daemon/runner/loop/fiber-switch.h"

#ifdef FIBER_UCONTEXT

#include "lib/util.h"

const char fiber_context_name[] = "ucontext";

void fiber_context_init(struct fiber_context *context, void *stack, size_t size, fiber_entry *entry)
{
        int r = getcontext(&context->ucontext);

        assert(r == 0);
        (void)r;
        context->ucontext.uc_stack.ss_sp = stack;
        context->ucontext.uc_stack.ss_size = size;
        context->ucontext.uc_link = NULL;
        makecontext(&context->ucontext, entry, 0);
}

void fiber_context_switch(struct fiber_context *from, const struct fiber_context *to)
{
        int r = swapcontext(&from->ucontext, &to->ucontext);

        assert(r == 0);
        (void)r;
}

#else

/* ISO C wants a translation unit to hold something. */
typedef int fiber_ucontext_is_not_needed_here;

#endif
