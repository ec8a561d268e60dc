/* Lists of inputs: what is refused, and finding line i. */

#include <sys/mman.h>

#include "lib/inputs.h"
#include "lib/results.h"
#include "tests/unit/test.h"

static void refused(const char *text, size_t n, uint64_t line, const char *why)
{
        struct input_error error = {};
        uint64_t count = 0;

        test_int(inputs_check(text, n, &count, &error), ==, -EBADMSG);
        test_int(error.line, ==, line);
        test_contains(error.why, why);
        test_int(count, ==, 0);
}

static void test_refused(void)
{
        _cleanup_free_ char *large = malloc(INPUT_MAX + 2);

        refused("", 0, 0, "empty");
        refused("\n", 1, 1, "empty");
        refused("a\n\nb\n", 5, 2, "empty");
        refused("a\nb", 3, 2, "newline");
        refused("a\nb\0c\n", 6, 2, "NUL");
        test_true(large);
        memset(large, 'x', INPUT_MAX + 1);
        large[INPUT_MAX + 1] = '\n';
        refused(large, INPUT_MAX + 2, 1, "longer");
}

static void test_longest(void)
{
        _cleanup_free_ char *large = malloc(INPUT_MAX + 1);
        struct input_error error;
        uint64_t n = 0;

        test_true(large);
        memset(large, 'x', INPUT_MAX);
        large[INPUT_MAX] = '\n';
        test_int(inputs_check(large, INPUT_MAX + 1, &n, &error), ==, 0);
        test_int(n, ==, 1);
}

static void test_find(void)
{
        enum { N = 1000 };
        _cleanup_close_ int fd = memfd_create("inputs", MFD_CLOEXEC);
        struct inputs inputs = INPUTS_NULL;
        struct input_error error;
        const char *at;

        for (int i = 0; i < N; ++i)
                test_int(dprintf(fd, "%d\n", i * i), >, 0);
        test_int(inputs_map(fd, true, &inputs, &error), ==, 0);
        test_int(inputs.n, ==, N);
        at = inputs.text;
        for (int i = 0; i < N; ++i) {
                char expected[16];
                size_t n;
                const char *found = inputs_get(&inputs, (uint64_t)i, &n);

                snprintf(expected, sizeof(expected), "%d", i * i);
                test_int(n, ==, strlen(expected));
                test_int(memcmp(found, expected, n), ==, 0);
                test_true(found == at);
                at = inputs_next(at, inputs_length(&inputs, at));
        }
        test_true(at == inputs.text + inputs.size);
        inputs_unmap(&inputs);
}

static void test_map_refused(void)
{
        _cleanup_close_ int fd = memfd_create("inputs", MFD_CLOEXEC);
        struct inputs inputs = INPUTS_NULL;
        struct input_error error;

        test_int(inputs_map(fd, true, &inputs, &error), ==, -EBADMSG);
        test_int(error.line, ==, 0);
        test_int(write(fd, "a\n\n", 3), ==, 3);
        test_int(inputs_map(fd, true, &inputs, &error), ==, -EBADMSG);
        test_int(error.line, ==, 2);
        test_true(!inputs.text);
}

TEST_MAIN("inputs",
          { "bad lists are refused, the line named", test_refused },
          { "the longest line that is taken", test_longest },
          { "every line is found", test_find },
          { "bad files are refused", test_map_refused })
