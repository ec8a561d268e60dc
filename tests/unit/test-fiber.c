/* Fibers: the switch (fiber-checks.h), and what is ours around it. */

#include <pthread.h>

#include "tests/unit/fiber-checks.h"
#include "tests/unit/test.h"

static void test_check(const char *wrong)
{
        if (wrong)
                test_fail_at("%s (%s)", wrong, fiber_switch_name());
        CU_PASS("checked");
}

static void test_many(void)
{
        test_check(check_many());
}

static void test_registers(void)
{
        test_check(check_registers());
}

static void test_rounding(void)
{
        test_check(check_rounding());
}

static void test_deep(void)
{
        test_check(check_deep());
}

static void test_guard(void)
{
        test_check(check_guard());
}

static void nothing_fn(void *userdata)
{
}

static void test_life(void)
{
        struct fiber *fiber = NULL;

        test_int(fiber_new(nothing_fn, NULL, SIZE_MAX, &fiber), ==, -EINVAL);
        test_true(!fiber);
        fiber_free(NULL);

        /* Never started. */
        test_int(fiber_new(nothing_fn, NULL, 1, &fiber), ==, 0);
        test_true(!fiber_finished(fiber));
        fiber_free(fiber);

        test_int(fiber_new(nothing_fn, NULL, 64 * 1024, &fiber), ==, 0);
        test_true(!fiber_resume(fiber));
        test_true(fiber_finished(fiber));
        fiber_free(fiber);
}

/* A sanitizer that was told wrongly of a switch complains about one of these frames. */
static void frames_fn(void *userdata)
{
        char *volatile heap = malloc(100);
        char local[200];

        for (unsigned i = 0; i < 50; ++i) {
                memset(local, (int)i, sizeof(local));
                memset(heap, local[i], 100);
                fiber_suspend();
                if (heap[99] != (char)i || local[199] != (char)i)
                        ((struct check_fiber *)userdata)->wrong = "memory changed over a switch";
        }
        free(heap);
}

static void *frames_thread(void *ret_wrong)
{
        struct check_fiber fibers[20];

        *(const char **)ret_wrong = check_all(frames_fn, fibers, ARRAY_SIZE(fibers));
        return NULL;
}

/* Every thread has fibers of its own, at the same time. */
static void test_threads(void)
{
        const char *wrong[4] = { NULL };
        pthread_t threads[4];

        for (size_t i = 0; i < ARRAY_SIZE(threads); ++i)
                test_int(pthread_create(&threads[i], NULL, frames_thread, &wrong[i]), ==, 0);
        for (size_t i = 0; i < ARRAY_SIZE(threads); ++i)
                test_int(pthread_join(threads[i], NULL), ==, 0);
        for (size_t i = 0; i < ARRAY_SIZE(threads); ++i)
                test_check(wrong[i]);
}

/* More fibers than a process may have mappings, where the kernel makes that possible. */
#ifdef FIBER_TSAN
#define N_WINDOW 4000 /* TSan takes 8128 in a process */
#else
#define N_WINDOW 65535
#endif

static void test_full_window(void)
{
        static struct fiber *fibers[N_WINDOW];
        size_t n = 0;
        int r = 0;

        while (n < ARRAY_SIZE(fibers) && r == 0) {
                r = fiber_new(nothing_fn, NULL, 80 * 1024, &fibers[n]);
                if (r == 0)
                        ++n;
        }
        for (size_t i = 0; i < n; ++i)
                fiber_free(fibers[i]);
        test_true(r == 0 || r == -ENOMEM);
        test_int(n, >=, MIN(N_WINDOW, 30000));
}

#if defined(__x86_64__) && !defined(FIBER_UCONTEXT)
static void test_name(void)
{
        test_str(fiber_switch_name(), "x86-64");
}
#elif defined(__aarch64__) && !defined(FIBER_UCONTEXT)
static void test_name(void)
{
        test_str(fiber_switch_name(), "aarch64");
}
#else
static void test_name(void)
{
        test_str(fiber_switch_name(), "ucontext");
}
#endif

TEST_MAIN("fiber", { "many fibers take turns", test_many },
          { "callee-saved registers survive", test_registers },
          { "rounding mode is each fiber's own", test_rounding },
          { "recursion near the stack's end", test_deep },
          { "overflow meets the guard page", test_guard }, { "life of a fiber", test_life },
          { "fibers in several threads", test_threads },
          { "a full window of fibers", test_full_window }, { "name of the switch", test_name })
