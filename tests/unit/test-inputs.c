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

/* What inputs_check() is to say, byte by byte: 0 and the lines, or the first bad one. */
static bool is_good(const char *text, size_t n, uint64_t *ret_line)
{
        size_t begin = 0;

        *ret_line = 0;
        for (size_t i = 0; i <= n; ++i) {
                if (i < n && text[i] != '\n')
                        continue;
                if (i == n && begin == n)
                        return true;
                ++*ret_line;
                if (i == begin || i - begin > INPUT_MAX || memchr(text + begin, 0, i - begin) ||
                    i == n)
                        return false;
                begin = i + 1;
        }
        return true;
}

/* The check of a list in pieces of @step bytes. */
static int check_in_pieces(const char *text, size_t n, size_t step, uint64_t *ret_n,
                           struct input_error *error)
{
        struct inputs_scan scan = { .size = 0 };
        int r = 0;

        for (size_t at = 0; at < n && r >= 0; at += step)
                r = inputs_scan_feed(&scan, text + at, MIN(step, n - at), error);
        return r < 0 ? r : inputs_scan_end(&scan, ret_n, error);
}

/*
 * The check looks at eight bytes at a time: lists of all shapes, with the bad byte in each place.
 */
static void test_shapes(void)
{
        static const char letters[] = "ab\nabcdefg\nh";
        struct input_error error;
        unsigned seed = 1;

        for (unsigned round = 0; round < 200000; ++round) {
                _cleanup_free_ char *text = malloc(64);
                size_t n = 1 + (size_t)rand_r(&seed) % 63;
                uint64_t expected, count = 0;
                int r;

                for (size_t i = 0; i < n; ++i)
                        text[i] = letters[(unsigned)rand_r(&seed) % (sizeof(letters) - 1)];
                for (size_t i = 1; i < n; ++i)
                        if (text[i] == '\n' && text[i - 1] == '\n' && rand_r(&seed) % 8)
                                text[i] = 'x';
                if (rand_r(&seed) % 4)
                        text[n - 1] = '\n';
                if (rand_r(&seed) % 4 == 0)
                        text[(size_t)rand_r(&seed) % n] = 0;
                if (round % 2)
                        r = inputs_check(text, n, &count, &error);
                else
                        r = check_in_pieces(text, n, 1 + round % 20, &count, &error);
                if (is_good(text, n, &expected)) {
                        test_int(r, ==, 0);
                        test_int(count, ==, expected);
                } else {
                        test_int(r, ==, -EBADMSG);
                        test_int(error.line, ==, expected);
                }
        }
}

/* Also where it ends within a word, after lines that were good. */
static void test_too_long_after_others(void)
{
        _cleanup_free_ char *text = malloc(INPUT_MAX + 64);
        struct input_error error;
        uint64_t n;

        for (size_t before = 1; before < 20; ++before) {
                for (size_t i = 0; i < before; ++i)
                        memcpy(text + 2 * i, "x\n", 2);
                memset(text + 2 * before, 'y', INPUT_MAX + 1);
                memcpy(text + 2 * before + INPUT_MAX, "\nz\n", 3);
                test_int(inputs_check(text, 2 * before + INPUT_MAX + 3, &n, &error), ==, 0);
                test_int(n, ==, before + 2);
                memcpy(text + 2 * before + INPUT_MAX, "y\nz\n", 4);
                refused(text, 2 * before + INPUT_MAX + 4, before + 1, "longer");
        }
}

/* Where nothing ends a line, no more is looked at than one may have. */
static void test_no_end(void)
{
        size_t page = (size_t)getpagesize(), n = (INPUT_MAX / page + 1) * page;
        struct input_error error;
        uint64_t count;
        char *text;

        text = mmap(NULL, n + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        test_true(text != MAP_FAILED);
        memset(text, 'x', n);
        test_int(mprotect(text + n, page, PROT_NONE), ==, 0);
        test_int(inputs_check(text, n + page, &count, &error), ==, -EBADMSG);
        test_contains(error.why, "longer");
        text[17] = 0;
        test_int(inputs_check(text, n + page, &count, &error), ==, -EBADMSG);
        test_contains(error.why, "NUL");
        munmap(text, n + page);
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

#define LINE_SIZE 64

/* A number, or a longer one: lines of one to some twenty bytes. */
static int line_of(char ret[static LINE_SIZE], int i, int width)
{
        return i % 7 == 0 ? snprintf(ret, LINE_SIZE, "%0*d\n", width, i * i)
                          : snprintf(ret, LINE_SIZE, "%d\n", i % 1000);
}

static void find_all(int width)
{
        enum { N = 1000 };
        _cleanup_close_ int fd = memfd_create("inputs", MFD_CLOEXEC);
        struct inputs inputs = INPUTS_NULL;
        struct input_error error;
        char expected[LINE_SIZE];
        const char *at;

        for (int i = 0; i < N; ++i) {
                int n = line_of(expected, i, width);

                test_int(write(fd, expected, (size_t)n), ==, n);
        }
        test_int(inputs_map(fd, true, &inputs, &error), ==, 0);
        test_int(inputs.n, ==, N);
        at = inputs.text;
        for (int i = 0; i < N; ++i) {
                size_t n;
                const char *found = inputs_get(&inputs, (uint64_t)i, &n);

                test_int(n, ==, line_of(expected, i, width) - 1);
                test_int(memcmp(found, expected, n), ==, 0);
                test_true(found == at);
                at = inputs_next(at, inputs_length(&inputs, at));
        }
        test_true(at == inputs.text + inputs.size);
        inputs_unmap(&inputs);
}

static void test_find(void)
{
        for (int width = 1; width <= 24; ++width)
                find_all(width);
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

TEST_MAIN("inputs", { "bad lists are refused, the line named", test_refused },
          { "lists of all shapes", test_shapes },
          { "the longest line that is taken", test_longest },
          { "a line without an end", test_no_end },
          { "a line that is too long behind good ones", test_too_long_after_others },
          { "every line is found", test_find }, { "bad files are refused", test_map_refused })
