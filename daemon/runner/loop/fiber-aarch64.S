/*
 * The context switch for aarch64, AAPCS64: x19..x30, the low halves of v8..v15 and the stack
 * pointer are what a called function must preserve; fpcr (rounding mode) is added, written only
 * when the two differ since that write is slow. All of it lies on the suspended stack. No system
 * call.
 *
 * BTI is kept (the switch starts with a landing pad, a return needs none) and claimed below.
 * Neither pointer authentication nor the guarded control stack is: the return address is stored
 * unsigned, and a guarded control stack would have to be switched too. The linker ANDs the notes,
 * hence the program runs without GCS.
 */

#include "daemon/runner/loop/fiber-switch.h"

#if defined(__aarch64__) && !defined(FIBER_UCONTEXT)

#define FRAME 176       /* 12 registers of 8 bytes, 8 of 8, fpcr, padding to 16 */

        .text

/* void fiber_context_switch(struct fiber_context *from, const struct fiber_context *to) */
        .globl  fiber_context_switch
        .hidden fiber_context_switch
        .type   fiber_context_switch, %function
        .p2align 4
fiber_context_switch:
        .cfi_startproc
        hint    #34                     /* bti c */
        sub     sp, sp, #FRAME
        .cfi_def_cfa_offset FRAME
        stp     x19, x20, [sp, #0]
        .cfi_offset x19, -FRAME
        .cfi_offset x20, -FRAME + 8
        stp     x21, x22, [sp, #16]
        .cfi_offset x21, -FRAME + 16
        .cfi_offset x22, -FRAME + 24
        stp     x23, x24, [sp, #32]
        .cfi_offset x23, -FRAME + 32
        .cfi_offset x24, -FRAME + 40
        stp     x25, x26, [sp, #48]
        .cfi_offset x25, -FRAME + 48
        .cfi_offset x26, -FRAME + 56
        stp     x27, x28, [sp, #64]
        .cfi_offset x27, -FRAME + 64
        .cfi_offset x28, -FRAME + 72
        stp     x29, x30, [sp, #80]
        .cfi_offset x29, -FRAME + 80
        .cfi_offset x30, -FRAME + 88
        stp     d8, d9, [sp, #96]
        .cfi_offset d8, -FRAME + 96
        .cfi_offset d9, -FRAME + 104
        stp     d10, d11, [sp, #112]
        .cfi_offset d10, -FRAME + 112
        .cfi_offset d11, -FRAME + 120
        stp     d12, d13, [sp, #128]
        .cfi_offset d12, -FRAME + 128
        .cfi_offset d13, -FRAME + 136
        stp     d14, d15, [sp, #144]
        .cfi_offset d14, -FRAME + 144
        .cfi_offset d15, -FRAME + 152
        mrs     x9, fpcr
        str     x9, [sp, #160]

        /* Both stacks look the same from here up, so the unwind rules hold on either. */
        mov     x10, sp
        str     x10, [x0]
        ldr     x10, [x1]
        mov     sp, x10

        ldr     x10, [sp, #160]
        cmp     x9, x10
        b.eq    1f
        msr     fpcr, x10
1:
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        add     sp, sp, #FRAME
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size   fiber_context_switch, . - fiber_context_switch

/*
 * Where the first switch to a fiber returns to; x19 holds its entry function. Nobody called this,
 * so unwinders and debuggers end here: by the undefined return address, or by the zero x29. The
 * nop: unwinders look up the address before the one returned to.
 */
        .globl  fiber_context_start
        .hidden fiber_context_start
        .type   fiber_context_start, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        nop
fiber_context_start:
        blr     x19
        brk     #1
        .cfi_endproc
        .size   fiber_context_start, . - fiber_context_start

        .section .note.gnu.property, "a", %note
        .p2align 3
        .long   4                       /* size of the name */
        .long   16                      /* size of the property */
        .long   5                       /* NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000000              /* GNU_PROPERTY_AARCH64_FEATURE_1_AND */
        .long   4
        .long   1                       /* BTI, neither PAC nor GCS */
        .long   0
#endif

        .section .note.GNU-stack, "", %progbits
