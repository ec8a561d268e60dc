#pragma once

/*
 * What every context switch must stand, for the host's unit test (test-fiber.c) and for the program
 * that runs under an emulator (fiber-standalone.c). Each check returns NULL, or what went wrong.
 */

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "daemon/runner/loop/fiber-sanitizer.h"
#include "daemon/runner/loop/fiber.h"

#define ASKED_STACK_SIZE (64 * 1024)
#define CHECK_STACK_SIZE (ASKED_STACK_SIZE * FIBER_STACK_FACTOR)

struct check_fiber {
        struct fiber *fiber;
        uint64_t seed;
        unsigned n_turns;
        const char *wrong;
        void *top; /* some address in the fiber's first frame */
};

static inline const char *check_spawn(fiber_fn *fn, struct check_fiber *fibers, size_t n)
{
        for (size_t i = 0; i < n; ++i) {
                fibers[i] = (struct check_fiber){ .seed = i * UINT64_C(0x9e3779b97f4a7c15) + 1 };
                if (fiber_new(fn, &fibers[i], ASKED_STACK_SIZE, &fibers[i].fiber) < 0)
                        return "fiber_new() failed";
        }
        return NULL;
}

/* Resumes all in turn until each has returned; the first complaint, if there is one. */
static inline const char *check_run(struct check_fiber *fibers, size_t n)
{
        const char *wrong = NULL;
        bool alive = true;

        while (alive) {
                alive = false;
                for (size_t i = 0; i < n; ++i)
                        if (!fiber_finished(fibers[i].fiber) && fiber_resume(fibers[i].fiber))
                                alive = true;
        }
        for (size_t i = 0; i < n; ++i) {
                if (!wrong)
                        wrong = fibers[i].wrong;
                fiber_free(fibers[i].fiber);
        }
        return wrong;
}

static inline const char *check_all(fiber_fn *fn, struct check_fiber *fibers, size_t n)
{
        const char *wrong = check_spawn(fn, fibers, n);

        return wrong ? wrong : check_run(fibers, n);
}

/* Each fiber takes turns of its own number and knows itself. */
static inline void many_fn(void *userdata)
{
        struct check_fiber *f = userdata;
        unsigned turns = f->seed % 7;

        for (unsigned i = 0; i < turns; ++i) {
                if (fiber_self() != f->fiber)
                        f->wrong = "fiber_self() is not the running fiber";
                f->n_turns++;
                fiber_suspend();
        }
}

static inline const char *check_many(void)
{
        static struct check_fiber fibers[2000];
        const char *wrong;

        if (fiber_self())
                return "fiber_self() is set on the thread's own stack";
        wrong = check_all(many_fn, fibers, ARRAY_SIZE(fibers));
        for (size_t i = 0; !wrong && i < ARRAY_SIZE(fibers); ++i)
                if (fibers[i].n_turns != fibers[i].seed % 7)
                        wrong = "a fiber did not get the turns it asked for";
        return wrong;
}

/*
 * More values alive across a suspension than there are callee-saved registers, so that all of those
 * are in use. The empty asm keeps the compiler from working the values out again.
 */
static inline void registers_fn(void *userdata)
{
        struct check_fiber *f = userdata;
        uint64_t s = f->seed, a = s, b = s + 1, c = s + 2, d = s + 3, e = s + 4, g = s + 5,
                 h = s + 6, i = s + 7, j = s + 8, k = s + 9, l = s + 10;

        for (unsigned n = 1; n <= 100; ++n) {
                __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(g));
                __asm__ volatile("" : "+r"(h), "+r"(i), "+r"(j), "+r"(k), "+r"(l));
                fiber_suspend();
                a++, b++, c++, d++, e++, g++, h++, i++, j++, k++, l++;
                if (a != f->seed + n || b != a + 1 || c != a + 2 || d != a + 3 || e != a + 4 ||
                    g != a + 5 || h != a + 6 || i != a + 7 || j != a + 8 || k != a + 9 ||
                    l != a + 10)
                        f->wrong = "an integer register did not survive";
        }
}

#if defined(__x86_64__)
#define FP_REGISTER "+x"
#elif defined(__aarch64__)
#define FP_REGISTER "+w"
#else
#define FP_REGISTER "+m"
#endif

static inline void fp_registers_fn(void *userdata)
{
        struct check_fiber *f = userdata;
        double s = (double)(f->seed % 1000), a = s, b = s + 1, c = s + 2, d = s + 3, e = s + 4,
               g = s + 5, h = s + 6, i = s + 7, j = s + 8, k = s + 9;

        for (unsigned n = 1; n <= 100; ++n) {
                __asm__ volatile("" : FP_REGISTER(a), FP_REGISTER(b), FP_REGISTER(c));
                __asm__ volatile("" : FP_REGISTER(d), FP_REGISTER(e), FP_REGISTER(g));
                __asm__ volatile("" : FP_REGISTER(h), FP_REGISTER(i), FP_REGISTER(j));
                __asm__ volatile("" : FP_REGISTER(k));
                fiber_suspend();
                a += 1, b += 1, c += 1, d += 1, e += 1, g += 1, h += 1, i += 1, j += 1, k += 1;
                if (a != (double)(f->seed % 1000) + n || b != a + 1 || c != a + 2 || d != a + 3 ||
                    e != a + 4 || g != a + 5 || h != a + 6 || i != a + 7 || j != a + 8 ||
                    k != a + 9)
                        f->wrong = "a floating-point register did not survive";
        }
}

static inline const char *check_registers(void)
{
        struct check_fiber fibers[10];
        const char *wrong = check_all(registers_fn, fibers, ARRAY_SIZE(fibers));

        return wrong ? wrong : check_all(fp_registers_fn, fibers, ARRAY_SIZE(fibers));
}

/* The thread's rounding, told from what a division gives. */
static inline bool rounds_up(void)
{
        volatile double one = 1, three = 3, up, down;

        up = one / three;
        down = -one / three;
        return up > -down;
}

static inline bool set_rounding(bool up)
{
#if defined(__x86_64__)
        uint32_t mxcsr = up ? 0x5f80 : 0x1f80;
        uint16_t x87 = up ? 0x0b7f : 0x037f;

        __asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(x87));
        return true;
#elif defined(__aarch64__)
        uint64_t fpcr = up ? UINT64_C(1) << 22 : 0;

        __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
        return true;
#else
        return false;
#endif
}

static inline bool x87_rounds_up(bool otherwise)
{
#if defined(__x86_64__)
        uint16_t x87;

        __asm__ volatile("fnstcw %0" : "=m"(x87));
        return (x87 & 0x0c00) == 0x0800;
#else
        return otherwise;
#endif
}

static inline void rounding_fn(void *userdata)
{
        struct check_fiber *f = userdata;

        for (unsigned n = 0; n < 10; ++n) {
                if (rounds_up() || x87_rounds_up(false))
                        f->wrong = "a fiber got another's rounding mode";
                if (!set_rounding(true))
                        return;
                fiber_suspend();
                if (!rounds_up() || !x87_rounds_up(true))
                        f->wrong = "a fiber lost its rounding mode";
                set_rounding(false);
                fiber_suspend();
        }
}

static inline const char *check_rounding(void)
{
        struct check_fiber fibers[3];
        const char *wrong = check_spawn(rounding_fn, fibers, ARRAY_SIZE(fibers));

        if (wrong)
                return wrong;
        fiber_resume(fibers[0].fiber);
        if (rounds_up() || x87_rounds_up(false))
                wrong = "a fiber's rounding mode leaked to its resumer";
        set_rounding(false);
        return wrong ? wrong : check_run(fibers, ARRAY_SIZE(fibers));
}

/* Recursion that writes each frame, and finds it as it was on the way back. */
__attribute__((noinline)) static uint64_t recurse(char *stop, uint64_t seed)
{
        volatile uint64_t frame[32];
        uint64_t sum = 0;

        for (unsigned i = 0; i < ARRAY_SIZE(frame); ++i)
                frame[i] = seed + i;
        if ((char *)__builtin_frame_address(0) > stop)
                sum = recurse(stop, seed + 1);
        else
                fiber_suspend();
        for (unsigned i = 0; i < ARRAY_SIZE(frame); ++i)
                sum += frame[i] != seed + i;
        return sum;
}

static inline void deep_fn(void *userdata)
{
        struct check_fiber *f = userdata;
        char *stop = (char *)__builtin_frame_address(0) - CHECK_STACK_SIZE + 16 * 1024;

        if (recurse(stop, f->seed) != 0)
                f->wrong = "a deep stack was not found as it was left";
}

static inline const char *check_deep(void)
{
        struct check_fiber fibers[8];

        return check_all(deep_fn, fibers, ARRAY_SIZE(fibers));
}

/* In the child: the fault must lie right below the stack, where only the guard page faults. */
static struct check_fiber *overflowing;

static inline _Noreturn void on_fault(int signal, siginfo_t *info, void *ucontext)
{
        char *top = overflowing->top, *at = info->si_addr;
        size_t below = (size_t)(top - at), page = (size_t)sysconf(_SC_PAGESIZE);

        _exit(at < top && below <= CHECK_STACK_SIZE + page && below + 4 * page > CHECK_STACK_SIZE
                      ? 0
                      : 2);
}

static inline void overflow_fn(void *userdata)
{
        struct check_fiber *f = userdata;

        f->top = __builtin_frame_address(0);
        overflowing = f;
        (void)recurse(NULL, 0);
}

static inline _Noreturn void overflow_in_child(void)
{
        static char alternate[64 * 1024];
        stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
        struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
        struct check_fiber f;

        sigaltstack(&stack, NULL);
        sigaction(SIGSEGV, &action, NULL);
        sigaction(SIGBUS, &action, NULL);
        if (check_spawn(overflow_fn, &f, 1))
                _exit(3);
        fiber_resume(f.fiber);
        _exit(1);
}

static inline const char *check_guard(void)
{
        int status;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        if (pid < 0)
                return "cannot fork";
        if (pid == 0)
                overflow_in_child();
        if (waitpid(pid, &status, 0) != pid)
                return "cannot wait for the child";
        if (WIFSIGNALED(status))
                return "the overflow killed the child, but not in its guard page's handler";
        if (WEXITSTATUS(status) == 1)
                return "the overflow went unnoticed";
        return WEXITSTATUS(status) == 0 ? NULL : "the overflow was noticed elsewhere";
}
