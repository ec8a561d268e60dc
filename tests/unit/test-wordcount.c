/*
 * Word counting: every path of this machine against Unicode's white space, a naive decoder, and
 * every way of cutting a text.
 */

#include <sys/mman.h>

#include "daemon/runner/workloads/wordcount.h"
#include "tests/unit/test.h"
#include "tests/unit/words-reference.h"

/* Runs @check with each path that this CPU has. */
static void on_each_path(void (*check)(void))
{
        static const char *const names[] = { "avx2", "scalar" };

        for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
                int r = wordcount_use(names[i]);

                if (r == -ENOENT || r == -ENOTSUP) {
                        test_true(!streq(names[i], "scalar"));
                        continue;
                }
                test_int(r, ==, 0);
                test_str(wordcount_path(), names[i]);
                check();
        }
}

/* Counts @data cut at @a and @b; from memory of its own, so that reading past its end is seen. */
static uint64_t count_cut(const void *data, size_t n, size_t a, size_t b)
{
        struct wordcount count = WORDCOUNT_NULL;
        size_t from[] = { 0, a, b }, to[] = { a, b, n };

        for (size_t i = 0; i < 3; ++i) {
                size_t size = to[i] - from[i];
                _cleanup_free_ uint8_t *piece = malloc(size ? size : 1);

                test_true(piece);
                memcpy(piece, (const uint8_t *)data + from[i], size);
                wordcount_feed(&count, piece, size);
        }
        return wordcount_finish(&count);
}

static uint64_t count_whole(const void *data, size_t n)
{
        struct wordcount count = WORDCOUNT_NULL;

        wordcount_feed(&count, data, n);
        return wordcount_finish(&count);
}

/* UTF-8 of @c, be it a surrogate (which no decoder takes). */
static size_t encode(uint32_t c, uint8_t *ret)
{
        static const uint8_t marks[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

        for (size_t i = n; i-- > 1; c >>= 6)
                ret[i] = 0x80 | (c & 0x3F);
        ret[0] = (uint8_t)(marks[n] | c);
        return n;
}

static void check_known(void)
{
        static const struct {
                const char *text;
                uint64_t words;
        } cases[] = {
                { "", 0 },
                { " ", 0 },
                { "\xC2\xA0\xE3\x80\x80\xE2\x80\x83\n", 0 },
                { "a", 1 },
                { "  one\ttwo\r\n\x1C"
                  "three ",
                  3 },
                { "na\xC3\xAFve caf\xC3\xA9", 2 },
                { "a\xC2\x85"
                  "b\xC2\xA0"
                  "c\xE1\x9A\x80"
                  "d\xE2\x80\xA8"
                  "e\xE2\x80\xAF"
                  "f",
                  6 },
                { "\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x80\xE4\xB8\x96\xE7\x95\x8C", 2 },
                { "no\xE2\x80\x8Bspace\xEF\xBB\xBF"
                  "at\xE1\xA0\x8E"
                  "all",
                  1 },
                { "\xC2", 1 },
                { " \xE2\x80", 1 },
                { "a\xE3\x80", 1 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
                test_int(count_whole(cases[i].text, strlen(cases[i].text)), ==, cases[i].words);
}

static void check_every_code_point(void)
{
        uint8_t text[160];
        uint64_t wrong = 0, spaces = 0;

        for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
                /* Not at the same place of a vector each time. */
                size_t before = 1 + c % 131, n;
                bool space = reference_is_space(c);

                memset(text, 'x', sizeof(text));
                n = encode(c, text + before);
                spaces += space;
                if (count_whole(text, before + n + 1) != 1U + space && wrong++ == 0)
                        fprintf(stderr, "\n    U+%04X is %s space\n", c, space ? "no" : "a");
        }
        test_int(spaces, ==, 29);
        test_int(wrong, ==, 0);
}

/* Each space at each place of three stripes, among ASCII and among three-byte characters. */
static void check_every_place(void)
{
        static const uint8_t kana[] = { 0xE3, 0x80, 0x81 };
        enum { SIZE = 399 };
        uint8_t text[SIZE];

        for (uint32_t c = 0; c <= 0x3000; ++c) {
                if (!reference_is_space(c))
                        continue;
                for (size_t at = 0; at + 3 <= SIZE; ++at) {
                        memset(text, 'x', SIZE);
                        encode(c, text + at);
                        test_int(count_whole(text, SIZE), ==, reference_count(text, SIZE));
                        for (size_t i = 0; i < SIZE; ++i)
                                text[i] = kana[i % 3];
                        encode(c, text + at);
                        test_int(count_whole(text, SIZE), ==, reference_count(text, SIZE));
                }
        }
}

static const char sample[] =
        "A\xC2\xA0"
        "b\xC2\x85 \xE1\x9A\x80"
        "c\xE2\x80\x80\xE2\x80\x8A\xE2\x80\xA8\xE2\x80\xA9"
        "\xE2\x80\xAF"
        "d\xE2\x81\x9F\xE3\x80\x80 \xE3\x81\x82\xE3\x80\x81\xE2\x80\x9D"
        "\xF0\x9F\x98\x80\n\xC2 \xE2 \xE2\x80 \xE1\x9A \xE3\x80 \xE2\x80\xC2\xA0\xE2\xE2\x80\x83"
        "\xE3\x80\xE3\x80\x80"
        "\xC2\xC2\x85\xE0\x80\xA0\xC0\xA0\xED\xA0\x80\xF4\x90\x80\x80\xFF\xE2\x81\xE2\x80";

static void check_splits_of(const char *text, size_t n)
{
        uint64_t words = reference_count(text, n);

        for (size_t a = 0; a <= n; ++a)
                for (size_t b = a; b <= n; ++b)
                        test_int(count_cut(text, n, a, b), ==, words);
}

static void check_splits(void)
{
        size_t n = sizeof(sample) - 1;
        char text[200 + sizeof(sample)];

        check_splits_of(sample, n);
        /* Long enough for whole vectors on both sides of a cut. */
        memset(text, 'w', sizeof(text));
        memcpy(text + 100, sample, n);
        check_splits_of(text, sizeof(text));
}

/* Texts of every length up against a page that must not be touched, on both sides. */
static void check_bounds(void)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        uint8_t *map = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        test_true(map != MAP_FAILED);
        test_int(mprotect(map + page, page, PROT_READ | PROT_WRITE), ==, 0);
        for (size_t i = 0; i < page; ++i)
                map[page + i] = (uint8_t)sample[i % (sizeof(sample) - 1)];
        /* Were the end the beginning of a space, it would be kept back and the rest end sooner. */
        map[2 * page - 1] = 'x';
        for (size_t n = 0; n < 600; ++n) {
                const uint8_t *last = map + 2 * page - n, *first = map + page;

                test_int(count_whole(last, n), ==, reference_count(last, n));
                test_int(count_whole(first, n), ==, reference_count(first, n));
        }
        test_int(munmap(map, 3 * page), ==, 0);
}

static void check_bytewise(void)
{
        struct wordcount count = WORDCOUNT_NULL;

        for (size_t i = 0; i < sizeof(sample) - 1; ++i) {
                wordcount_feed(&count, NULL, 0);
                wordcount_feed(&count, sample + i, 1);
        }
        test_int(wordcount_finish(&count), ==, reference_count(sample, sizeof(sample) - 1));
}

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
        random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (uint32_t)((random_state >> 33) * n >> 31);
}

/* Text that is nearly all spaces, beginnings of spaces, and things that look like one. */
static size_t random_text(uint8_t *text, size_t size)
{
        static const uint8_t bytes[] = {
                0xC2, 0x85, 0xA0, 0xE1, 0x9A, 0x80, 0xE2, 0x80, 0x81, 0x83, 0x8A, 0x8B,
                0xA7, 0xA8, 0xA9, 0xAA, 0xAE, 0xAF, 0x9F, 0x9E, 0xE3, 0x80, 0xF0, 0xED,
                0xC1, ' ',  '\n', 'a',  'b',  0x1B, 0x1C, 0x08, 0x0E, 0x21, 0x00, 0x7F,
        };
        size_t n = random_below((uint32_t)size);
        uint32_t shape = random_below(4);

        for (size_t i = 0; i < n; ++i) {
                bool any = shape == 0 || (shape == 1 && random_below(8) == 0);
                bool plain = shape == 2 && random_below(100) != 0;

                text[i] = any     ? (uint8_t)random_below(256)
                          : plain ? 'a'
                                  : bytes[random_below(sizeof(bytes))];
        }
        return n;
}

static void check_random(void)
{
        uint8_t text[700];

        random_state = 1;
        for (size_t i = 0; i < 20000; ++i) {
                size_t n = random_text(text, sizeof(text));
                size_t a = random_below((uint32_t)n + 1), b = random_below((uint32_t)n + 1);

                test_int(count_cut(text, n, MIN(a, b), MAX(a, b)), ==, reference_count(text, n));
        }
}

static void test_known(void)
{
        on_each_path(check_known);
}

static void test_every_code_point(void)
{
        on_each_path(check_every_code_point);
}

static void test_every_place(void)
{
        on_each_path(check_every_place);
}

static void test_splits(void)
{
        on_each_path(check_splits);
}

static void test_bounds(void)
{
        on_each_path(check_bounds);
}

static void test_bytewise(void)
{
        on_each_path(check_bytewise);
}

static void test_random(void)
{
        on_each_path(check_random);
}

static void test_paths(void)
{
        test_int(wordcount_use("sse9"), ==, -ENOENT);
        test_int(wordcount_use(""), ==, -ENOENT);
}

TEST_MAIN("wordcount", { "known texts", test_known },
          { "every code point is space or not as in Python", test_every_code_point },
          { "each space at each place of a vector", test_every_place },
          { "cut into three at every two places", test_splits },
          { "nothing outside the text is read", test_bounds }, { "byte by byte", test_bytewise },
          { "random bytes, randomly cut, against a plain decoder", test_random },
          { "paths by name", test_paths })
