/* When a job is halted: how that is written, and when it has come to that. */

#include "lib/halt.h"
#include "tests/unit/test.h"

static void test_text(void)
{
        static const char *const right[] = { "soon,fail=1", "now,fail=10%", "now,done=3",
                                             "soon,fail=4294967295", "now,fail=100%" };
        static const char *const wrong[] = { "",
                                             "soon",
                                             "now,",
                                             "soon,fail",
                                             "soon,fail=",
                                             "soon,fail=0",
                                             "now,fail=101%",
                                             "soon,done=10%",
                                             "soon,fail=4294967296",
                                             "soon,fail=1 ",
                                             "soon,fail=-1",
                                             "later,fail=1",
                                             "now,fai" };
        char text[HALT_TEXT_SIZE];
        struct halt halt;

        for (size_t i = 0; i < ARRAY_SIZE(right); ++i) {
                test_int(halt_from_text(right[i], &halt), ==, 0);
                test_str(halt_to_text(&halt, text), right[i]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(wrong); ++i)
                test_int(halt_from_text(wrong[i], &halt), ==, -EINVAL);
}

static bool is_reached(const char *text, uint64_t n_done, uint64_t n_failed, uint64_t n_tasks)
{
        struct halt halt;

        test_int(halt_from_text(text, &halt), ==, 0);
        return halt_is_reached(&halt, n_done, n_failed, n_tasks);
}

static void test_reached(void)
{
        const struct halt never = { .of = HALT_NEVER };

        test_true(!halt_is_reached(&never, 10, 10, 10));
        test_true(!is_reached("soon,fail=2", 5, 1, 10));
        test_true(is_reached("soon,fail=2", 5, 2, 10));
        test_true(!is_reached("now,fail=25%", 0, 2, 9));
        test_true(is_reached("now,fail=25%", 0, 3, 12));
        test_true(!is_reached("now,fail=1%", 100000000, 999999, 100000000));
        test_true(is_reached("now,fail=1%", 0, 1000000, 100000000));
        test_true(!is_reached("now,done=3", 2, 7, 10));
        test_true(is_reached("now,done=3", 3, 0, 10));
}

TEST_MAIN("halt", { "how it is written", test_text }, { "when it has come to that", test_reached })
