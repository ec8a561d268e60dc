#pragma once

/* A program that includes this runs its cases on each rung of a ring's set-up. */

#include <dlfcn.h>

#include "daemon/runner/loop/ring.h"
#include "tests/unit/test.h"

/* The first so many attempts to set a ring up fail as on a kernel that does not know the flags. */
static unsigned n_rungs_refused;
static unsigned n_attempts;

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
        static int (*real)(unsigned entries, struct io_uring *ring, struct io_uring_params *p);

        if (n_attempts++ < n_rungs_refused)
                return -EINVAL;
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "io_uring_queue_init_params");
        return real(entries, ring, p);
}

/* Runs @cases on each rung that this kernel has. */
static inline int run_on_each_rung(const struct test_case *cases, size_t n)
{
        static const char *const rungs[] = { "single-issuer+defer-taskrun", "coop-taskrun",
                                             "plain" };
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct ring ring;
        int r;

        for (n_rungs_refused = 0; n_rungs_refused < ARRAY_SIZE(rungs); ++n_rungs_refused) {
                n_attempts = 0;
                r = ring_init(&ring, 8, &fault);
                if (r < 0) {
                        printf("skipped: %s: %s\n", fault.why, fault.advice ?: "");
                        return TEST_SKIP;
                }
                r = streq(ring.setup, rungs[n_rungs_refused]) || n_attempts > n_rungs_refused + 1
                            ? test_main(ring.setup, cases, n)
                            : EXIT_FAILURE;
                ring_deinit(&ring);
                if (r != EXIT_SUCCESS)
                        return r;
        }
        return EXIT_SUCCESS;
}
