/*
 * The context switch for x86-64, System V ABI: what a called function must preserve is pushed on
 * the stack that is left (rbp, rbx, r12..r15, and of the floating-point state the control bits:
 * mxcsr and the x87 control word), and popped from the one that is entered. All other registers are
 * the caller's to save, and the compiler does so since it sees a plain call. No system call.
 *
 * Shadow stacks (CET): a switch would also have to switch the shadow stack, else the first return
 * on the other stack faults. It doesn't, so this object must not claim SHSTK: its property note
 * below says IBT only. The linker ANDs the notes of all objects, hence the whole program runs
 * without shadow stacks and glibc never turns them on. IBT is kept: what may be called through a
 * pointer starts with endbr64, and the jump that stands for a return is marked notrack.
 */

#include "daemon/runner/loop/fiber-switch.h"

#if defined(__x86_64__) && !defined(FIBER_UCONTEXT)

        .text

/* What a suspended stack holds, from its rsp up; fiber-context.c lays out the same. */
/* 0 mxcsr, 4 x87 control word, 8 r15, 16 r14, 24 r13, 32 r12, 40 rbx, 48 rbp, 56 where to go on */

/* void fiber_context_switch(struct fiber_context *from, const struct fiber_context *to) */
        .globl  fiber_context_switch
        .hidden fiber_context_switch
        .type   fiber_context_switch, @function
        .p2align 4
fiber_context_switch:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)

        /* Both stacks look the same from here up, so the unwind rules hold on either. */
        movl    (%rsp), %eax
        movzwl  4(%rsp), %ecx
        movq    %rsp, (%rdi)
        movq    (%rsi), %rsp

        /* Writing the modes is slow and they hardly ever differ. mxcsr's low six are status. */
        xorl    (%rsp), %eax
        testl   $0xffc0, %eax
        jnz     .Lload_mxcsr
.Lmxcsr_is_right:
        cmpw    4(%rsp), %cx
        jne     .Lload_x87
.Lx87_is_right:
        .cfi_remember_state
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        /* Not ret: the CPU would predict a return to the caller on the stack that was left. */
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rdx
        notrack jmp *%rdx

        .cfi_restore_state
.Lload_mxcsr:
        ldmxcsr (%rsp)
        jmp     .Lmxcsr_is_right
.Lload_x87:
        fldcw   4(%rsp)
        jmp     .Lx87_is_right
        .cfi_endproc
        .size   fiber_context_switch, . - fiber_context_switch

/*
 * Where the first switch to a fiber goes to; rbx holds its entry function. Nobody called this, so
 * unwinders and debuggers end here: by the undefined return address, by the zero rbp, or by the
 * zero above. The nop: unwinders look up the address before the one returned to.
 */
        .globl  fiber_context_start
        .hidden fiber_context_start
        .type   fiber_context_start, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        nop
fiber_context_start:
        call    *%rbx
        ud2
        .cfi_endproc
        .size   fiber_context_start, . - fiber_context_start

        .section .note.gnu.property, "a", @note
        .p2align 3
        .long   4                       /* size of the name */
        .long   16                      /* size of the property */
        .long   5                       /* NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002              /* GNU_PROPERTY_X86_FEATURE_1_AND */
        .long   4
        .long   1                       /* IBT, not SHSTK */
        .long   0
#endif

        .section .note.GNU-stack, "", @progbits
