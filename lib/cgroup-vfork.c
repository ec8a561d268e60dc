/*
 * clone3(2) with CLONE_VM and CLONE_VFORK. The C library has no wrapper for it, and the child
 * cannot return through one: so each machine has its few instructions here. The child begins with
 * an empty stack, and the registers of its parent.
 *
 * The kernel knows of such children: a parent that waits for one counts as frozen, and the
 * out-of-memory killer does not take a child that still has its parent's memory.
 *
 * Sanitizers keep their own books of each thread's stack, which the child would spoil.
 */

#include "lib/cgroup-vfork.h"

#include <linux/sched.h>
#include <sys/syscall.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_VFORK 0
#elif defined(__x86_64__) && defined(__LP64__)
#define CAN_VFORK 1
#elif defined(__aarch64__)
#define CAN_VFORK 1
#else
#define CAN_VFORK 0
#endif

#if CAN_VFORK

#define STACK_SIZE (32 * 1024) /* execve(2) wants little, and a path is 4 KiB */

static long clone3_vfork(struct clone_args *args, void (*child)(void *), void *userdata)
{
#if defined(__x86_64__)
        register void (*function)(void *) __asm__("r12") = child;
        register void *argument __asm__("r13") = userdata;
        long r;

        __asm__ volatile("syscall\n\t"
                         "test %%rax, %%rax\n\t"
                         "jnz 1f\n\t"
                         "xor %%ebp, %%ebp\n\t"
                         "mov %[argument], %%rdi\n\t"
                         "call *%[function]\n\t"
                         "hlt\n"
                         "1:"
                         : "=a"(r)
                         : "0"((long)SYS_clone3), "D"(args),
                           "S"(sizeof(*args)), [function] "r"(function), [argument] "r"(argument)
                         : "rcx", "r11", "memory");
        return r;
#else
        register long number __asm__("x8") = SYS_clone3;
        register long r __asm__("x0") = (long)args;
        register long size __asm__("x1") = sizeof(*args);

        __asm__ volatile("svc #0\n\t"
                         "cbnz x0, 1f\n\t"
                         "mov x29, #0\n\t"
                         "mov x30, #0\n\t"
                         "mov x0, %[argument]\n\t"
                         "blr %[function]\n\t"
                         "brk #1\n"
                         "1:"
                         : "+r"(r)
                         : "r"(number), "r"(size), [function] "r"(child), [argument] "r"(userdata)
                         : "memory", "cc");
        return r;
#endif
}

pid_t cgroup_vfork(int cgroup_fd, int *ret_pidfd, void (*child)(void *), void *userdata)
{
        /* One for each thread, since that waits until the child does not need it any more. */
        static _Thread_local char stack[STACK_SIZE] __attribute__((aligned(16)));
        int pidfd = -EBADF;
        struct clone_args args = {
                .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
                .pidfd = (uint64_t)(uintptr_t)&pidfd,
                .exit_signal = SIGCHLD,
                .stack = (uint64_t)(uintptr_t)stack,
                .stack_size = sizeof(stack),
        };
        long pid;

        if (cgroup_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t)cgroup_fd;
        }
        pid = clone3_vfork(&args, child, userdata);
        /* A kernel that does not know one of the flags (before 5.7) does not know them all. */
        if (pid == -EINVAL)
                return -ENOSYS;
        if (pid > 0)
                *ret_pidfd = pidfd;
        return (pid_t)pid;
}

#else

pid_t cgroup_vfork(int cgroup_fd, int *ret_pidfd, void (*child)(void *), void *userdata)
{
        return -ENOSYS;
}

#endif
