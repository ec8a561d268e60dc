#pragma once

/*
 * CUnit behind one small header: assertions that print both values, a main from a list of cases.
 * A test program exits 0 when all cases passed, 1 when one failed, 77 when it must be skipped
 * (after saying why).
 */

#include <CUnit/Basic.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/util.h"

#define TEST_SKIP 77

#define test_fail_at(...)                                                                  \
        do {                                                                               \
                char _text[1024];                                                          \
                                                                                           \
                snprintf(_text, sizeof(_text), __VA_ARGS__);                               \
                fprintf(stderr, "\n    %s:%d: %s\n", __FILE__, __LINE__, _text);           \
                CU_assertImplementation(CU_FALSE, __LINE__, _text, __FILE__, "", CU_TRUE); \
        } while (0)

/* Each stops its case when it fails: what follows usually rests on it. */
#define test_true(x)                                     \
        do {                                             \
                if (!(x))                                \
                        test_fail_at("%s is false", #x); \
                CU_PASS(#x);                             \
        } while (0)

#define test_int(a, op, b)                                                                        \
        do {                                                                                      \
                intmax_t _a = (intmax_t)(a), _b = (intmax_t)(b);                                  \
                                                                                                  \
                if (!(_a op _b))                                                                  \
                        test_fail_at("%s %s %s, but %" PRIdMAX " against %" PRIdMAX, #a, #op, #b, \
                                     _a, _b);                                                     \
                CU_PASS(#a);                                                                      \
        } while (0)

#define test_str(a, b)                                                                   \
        do {                                                                             \
                const char *_a = (a), *_b = (b);                                         \
                                                                                         \
                if (!_a || !_b || strcmp(_a, _b) != 0)                                   \
                        test_fail_at("%s is \"%s\", not \"%s\"", #a, _a ? _a : "(null)", \
                                     _b ? _b : "(null)");                                \
                CU_PASS(#a);                                                             \
        } while (0)

#define test_contains(a, b)                                                                      \
        do {                                                                                     \
                const char *_a = (a), *_b = (b);                                                 \
                                                                                                 \
                if (!_a || !strstr(_a, _b))                                                      \
                        test_fail_at("%s is \"%s\", which lacks \"%s\"", #a, _a ? _a : "(null)", \
                                     _b);                                                        \
                CU_PASS(#a);                                                                     \
        } while (0)

struct test_case {
        const char *name;
        void (*run)(void);
};

static inline int test_main(const char *suite_name, const struct test_case *cases, size_t n)
{
        CU_pSuite suite;
        unsigned failed;

        if (CU_initialize_registry() != CUE_SUCCESS)
                return EXIT_FAILURE;
        suite = CU_add_suite(suite_name, NULL, NULL);
        for (size_t i = 0; suite && i < n; ++i)
                if (!CU_add_test(suite, cases[i].name, cases[i].run))
                        suite = NULL;
        if (!suite) {
                fprintf(stderr, "%s: cannot set up CUnit: %s\n", suite_name, CU_get_error_msg());
                CU_cleanup_registry();
                return EXIT_FAILURE;
        }
        CU_basic_set_mode(CU_BRM_VERBOSE);
        CU_basic_run_tests();
        failed = CU_get_number_of_tests_failed() + (CU_get_number_of_tests_run() != n);
        CU_cleanup_registry();
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define TEST_MAIN(suite, ...)                                            \
        int main(void)                                                   \
        {                                                                \
                static const struct test_case cases[] = { __VA_ARGS__ }; \
                                                                         \
                return test_main(suite, cases, ARRAY_SIZE(cases));       \
        }
