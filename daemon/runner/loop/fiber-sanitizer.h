#pragma once

/*
 * Announces switches to AddressSanitizer (which must know the stack it looks at, and keeps a fake
 * one beside it) and to ThreadSanitizer (which keeps a shadow of the call stack). Nothing in other
 * builds. The order of one round trip:
 *
 *   resumer: fiber_sanitizer_enter()    -- switch -->   fiber: fiber_sanitizer_entered()
 *   resumer: fiber_sanitizer_left()    <-- switch --    fiber: fiber_sanitizer_leave()
 */

#include "daemon/runner/loop/fiber-stack.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define FIBER_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define FIBER_TSAN 1
#endif

#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Instrumented frames are several times larger. */
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
#define FIBER_STACK_FACTOR 4
#else
#define FIBER_STACK_FACTOR 1
#endif

struct fiber_sanitizer {
        void *fake_stack, *resumer_fake_stack; /* ASan's, of the side that is suspended */
        const void *resumer_bottom;
        size_t resumer_size;
        void *tsan, *resumer_tsan;
};

static inline void fiber_sanitizer_init(struct fiber_sanitizer *s)
{
#ifdef FIBER_TSAN
        s->tsan = __tsan_create_fiber(0);
#endif
}

/* Frames that were never returned from leave the shadow of their stack poisoned. */
static inline void fiber_sanitizer_deinit(struct fiber_sanitizer *s, struct fiber_stack *stack)
{
#ifdef FIBER_ASAN
        __asan_unpoison_memory_region(stack->bottom, stack->size);
#endif
#ifdef FIBER_TSAN
        __tsan_destroy_fiber(s->tsan);
#endif
}

static inline void fiber_sanitizer_enter(struct fiber_sanitizer *s, struct fiber_stack *stack)
{
#ifdef FIBER_ASAN
        __sanitizer_start_switch_fiber(&s->resumer_fake_stack, stack->bottom, stack->size);
#endif
#ifdef FIBER_TSAN
        s->resumer_tsan = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(s->tsan, 0);
#endif
}

static inline void fiber_sanitizer_entered(struct fiber_sanitizer *s)
{
#ifdef FIBER_ASAN
        __sanitizer_finish_switch_fiber(s->fake_stack, &s->resumer_bottom, &s->resumer_size);
#endif
}

static inline void fiber_sanitizer_leave(struct fiber_sanitizer *s, bool for_ever)
{
#ifdef FIBER_ASAN
        __sanitizer_start_switch_fiber(for_ever ? NULL : &s->fake_stack, s->resumer_bottom,
                                       s->resumer_size);
#endif
#ifdef FIBER_TSAN
        __tsan_switch_to_fiber(s->resumer_tsan, 0);
#endif
}

static inline void fiber_sanitizer_left(struct fiber_sanitizer *s)
{
#ifdef FIBER_ASAN
        __sanitizer_finish_switch_fiber(s->resumer_fake_stack, NULL, NULL);
#endif
}
