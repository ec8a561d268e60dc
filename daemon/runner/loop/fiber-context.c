/*
 * A new fiber's first frame for the two machines with a switch of their own: laid out as if the
 * fiber had suspended itself right before fiber_context_start(), with its entry function in a
 * register that the switch restores. The offsets are those of fiber-x86_64.S and fiber-aarch64.S.
 */

#include "daemon/runner/loop/fiber-switch.h"

#ifndef FIBER_UCONTEXT

#include "lib/util.h"

void fiber_context_start(void);

#if defined(__x86_64__)

struct frame {
        uint32_t mxcsr;
        uint32_t x87_control;
        uint64_t r15, r14, r13, r12, rbx, rbp;
        uint64_t start;  /* popped by ret; the stack is aligned to 16 after that */
        uint64_t end[2]; /* zero: a return address that ends every walk */
};

const char fiber_context_name[] = "x86-64";

/* A fiber starts with the floating-point modes of whoever made it, as a thread does. */
static void frame_init(struct frame *frame, fiber_entry *entry)
{
        uint16_t x87_control;

        __asm__ volatile("stmxcsr %0" : "=m"(frame->mxcsr));
        __asm__ volatile("fnstcw %0" : "=m"(x87_control));
        frame->x87_control = x87_control;
        frame->rbx = (uintptr_t)entry;
        frame->start = (uintptr_t)fiber_context_start;
}

#else

struct frame {
        uint64_t x19_to_x28[10];
        uint64_t x29, x30;
        uint64_t d8_to_d15[8];
        uint64_t fpcr;
        uint64_t padding;
};

_Static_assert(sizeof(struct frame) == 176, "FRAME of fiber-aarch64.S");

const char fiber_context_name[] = "aarch64";

static void frame_init(struct frame *frame, fiber_entry *entry)
{
        __asm__ volatile("mrs %0, fpcr" : "=r"(frame->fpcr));
        frame->x19_to_x28[0] = (uintptr_t)entry;
        frame->x30 = (uintptr_t)fiber_context_start;
}

#endif

_Static_assert(sizeof(struct frame) % 16 == 0, "keeps the stack aligned");

void fiber_context_init(struct fiber_context *context, void *stack, size_t size, fiber_entry *entry)
{
        uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
        struct frame *frame = (struct frame *)(top - sizeof(*frame));

        *frame = (struct frame){ 0 };
        frame_init(frame, entry);
        context->sp = frame;
}

#endif
