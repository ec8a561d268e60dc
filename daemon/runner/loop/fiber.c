/*
 * Fibers: their life and the switches between them. Their stacks are in fiber-stack.c, the switch
 * of each machine is behind fiber-switch.h, and fiber-sanitizer.h tells the sanitizers about
 * switches.
 */

#include "daemon/runner/loop/fiber.h"

#include "daemon/runner/loop/fiber-sanitizer.h"
#include "daemon/runner/loop/fiber-stack.h"
#include "daemon/runner/loop/fiber-switch.h"

enum fiber_state {
        FIBER_NEW,
        FIBER_RUNNING,
        FIBER_SUSPENDED,
        FIBER_FINISHED,
};

/* One of the two contexts is in use at a time: the one of the side that is not running. */
struct fiber {
        struct fiber_context context;
        struct fiber_context resumer;
        enum fiber_state state;
        fiber_fn *fn;
        void *userdata;
        struct fiber_stack stack;
        struct fiber_sanitizer sanitizer;
};

static _Thread_local struct fiber *current;

/* The bottom frame of every fiber. It does not return: there is nothing to return to. */
static _Noreturn void fiber_main(void)
{
        struct fiber *fiber = current;

        fiber_sanitizer_entered(&fiber->sanitizer);
        fiber->fn(fiber->userdata);
        fiber->state = FIBER_FINISHED;
        fiber_sanitizer_leave(&fiber->sanitizer, true);
        fiber_context_switch(&fiber->context, &fiber->resumer);
        __builtin_unreachable();
}

int fiber_new(fiber_fn *fn, void *userdata, size_t stack_size, struct fiber **ret)
{
        struct fiber *fiber;
        int r;

        if (stack_size > SIZE_MAX / 8)
                return -EINVAL;
        fiber = calloc(1, sizeof(*fiber));
        if (!fiber)
                return -ENOMEM;
        r = fiber_stack_map(stack_size * FIBER_STACK_FACTOR, &fiber->stack);
        if (r < 0) {
                free(fiber);
                return r;
        }
        fiber->fn = fn;
        fiber->userdata = userdata;
        fiber->state = FIBER_NEW;
        fiber_context_init(&fiber->context, fiber->stack.bottom, fiber->stack.size, fiber_main);
        fiber_sanitizer_init(&fiber->sanitizer);
        *ret = fiber;
        return 0;
}

struct fiber *fiber_free(struct fiber *fiber)
{
        if (!fiber)
                return NULL;
        assert(fiber->state == FIBER_NEW || fiber->state == FIBER_FINISHED);
        fiber_sanitizer_deinit(&fiber->sanitizer, &fiber->stack);
        fiber_stack_unmap(&fiber->stack);
        free(fiber);
        return NULL;
}

bool fiber_resume(struct fiber *fiber)
{
        assert(!current);
        assert(fiber->state == FIBER_NEW || fiber->state == FIBER_SUSPENDED);
        current = fiber;
        fiber->state = FIBER_RUNNING;
        fiber_sanitizer_enter(&fiber->sanitizer, &fiber->stack);
        fiber_context_switch(&fiber->resumer, &fiber->context);
        fiber_sanitizer_left(&fiber->sanitizer);
        current = NULL;
        return fiber->state != FIBER_FINISHED;
}

void fiber_suspend(void)
{
        struct fiber *fiber = current;

        assert(fiber);
        fiber->state = FIBER_SUSPENDED;
        fiber_sanitizer_leave(&fiber->sanitizer, false);
        fiber_context_switch(&fiber->context, &fiber->resumer);
        fiber_sanitizer_entered(&fiber->sanitizer);
}

struct fiber *fiber_self(void)
{
        return current;
}

bool fiber_finished(const struct fiber *fiber)
{
        return fiber->state == FIBER_FINISHED;
}

const char *fiber_switch_name(void)
{
        return fiber_context_name;
}
