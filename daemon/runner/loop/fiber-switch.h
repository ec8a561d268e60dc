#pragma once

/*
 * The part of a fiber that depends on the machine: a suspended flow of control, and the switch from
 * one to another. fiber-x86_64.S and fiber-aarch64.S keep all of it on the suspended stack itself,
 * so that a context is one pointer; fiber-ucontext.c wraps ucontext(3) for every other machine (and
 * for these two when built with -DFIBER_UCONTEXT, which is how the tests reach it).
 */

#if !defined(FIBER_UCONTEXT) && !(defined(__x86_64__) && !defined(__ILP32__)) && \
        !defined(__aarch64__)
#define FIBER_UCONTEXT 1
#endif

#ifndef __ASSEMBLER__

#include <stddef.h>

#ifdef FIBER_UCONTEXT

#include <ucontext.h>

struct fiber_context {
        ucontext_t ucontext;
};

#else

struct fiber_context {
        void *sp;
};

#endif

/* Runs on a new fiber's stack; never returns. */
typedef void fiber_entry(void);

/* Lays out @context such that the first switch to it calls @entry on the given stack. */
void fiber_context_init(struct fiber_context *context, void *stack, size_t size,
                        fiber_entry *entry);

/*
 * Saves the caller's callee-saved registers and floating-point modes in @from and continues in @to;
 * returns when somebody switches back to @from.
 */
void fiber_context_switch(struct fiber_context *from, const struct fiber_context *to);

extern const char fiber_context_name[];

#endif
