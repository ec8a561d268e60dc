/*
 * The demo pages: exact word counts by an independent, naive counter that decodes UTF-8 and knows
 * the whole list of Unicode's white space, as Python's str.split() does.
 */

#include "daemon/web/pages.h"
#include "tests/unit/test.h"

static const struct {
        const char *path;
        unsigned n_words;
        size_t n_bytes; /* about */
} expected[] = {
        { "/2016", 3794, 36600 },
        { "/2017", 4123, 40400 },
        { "/2018", 4334, 42700 },
        { "/2019", 1953, 19000 },
};

static struct pages *pages;

/* One character of well-formed UTF-8; 0 for what is not. */
static uint32_t decode(const unsigned char *s, size_t n, size_t *ret_length)
{
        size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
        uint32_t c = length == 1 ? s[0] : s[0] & (0x7fu >> length);

        if (length == 0 || length > n)
                return 0;
        for (size_t i = 1; i < length; ++i) {
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (s[i] & 0x3f);
        }
        *ret_length = length;
        return c;
}

static bool is_space(uint32_t c)
{
        return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
               c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
               c == 0x202f || c == 0x205f || c == 0x3000;
}

static unsigned count_words(const struct page *page, bool ascii_only)
{
        const unsigned char *s = (const unsigned char *)page->html;
        unsigned n_words = 0;
        bool in_word = false;
        size_t length;

        for (size_t i = 0; i < page->n_html; i += length) {
                uint32_t c = decode(s + i, page->n_html - i, &length);
                bool space = is_space(c) && !(ascii_only && c > 0x7f);

                test_true(c != 0);
                n_words += !space && !in_word;
                in_word = !space;
        }
        return n_words;
}

static unsigned count_of(const struct page *page, const char *what)
{
        const char *at = page->html, *end = page->html + page->n_html;
        unsigned n = 0;

        while ((at = memmem(at, (size_t)(end - at), what, strlen(what)))) {
                at += strlen(what);
                ++n;
        }
        return n;
}

static void test_counts(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(expected); ++i) {
                const struct page *page = pages_find(pages, expected[i].path);

                test_true(page);
                test_int(count_words(page, false), ==, expected[i].n_words);
        }
}

static void test_sizes(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(expected); ++i) {
                const struct page *page = pages_find(pages, expected[i].path);

                test_int(page->n_html, >, expected[i].n_bytes * 97 / 100);
                test_int(page->n_html, <, expected[i].n_bytes * 103 / 100);
        }
}

/* Counting by bytes must go wrong, or the pages would prove nothing. */
static void test_unicode_spaces(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(expected); ++i) {
                const struct page *page = pages_find(pages, expected[i].path);

                test_int(count_of(page, "\xc2\xa0"), >, 10);
                test_int(count_of(page, "\xe2\x80\x83"), >, 5);
                test_int(count_of(page, "\xc3"), >, 10);
                test_int(count_words(page, true), <, expected[i].n_words);
        }
}

static void test_html(void)
{
        for (size_t i = 0; i < N_PAGES; ++i) {
                const struct page *page = &pages->pages[i];

                test_true(memcmp(page->html, "<!DOCTYPE html>\n", 16) == 0);
                test_true(memcmp(page->html + page->n_html - 8, "</html>\n", 8) == 0);
                test_int(count_of(page, "{"), ==, count_of(page, "}"));
                test_int(count_of(page, "<p>"), ==, count_of(page, "</p>"));
                test_int(count_of(page, "<a "), ==, count_of(page, "</a>"));
        }
}

static void test_different(void)
{
        for (size_t i = 0; i < N_PAGES; ++i)
                for (size_t k = i + 1; k < N_PAGES; ++k)
                        test_true(memcmp(pages->pages[i].html + 1024, pages->pages[k].html + 1024,
                                         64) != 0);
}

/* Each reference leads to a page and a section that are there. */
static void check_reference(const char *href, size_t n)
{
        char path[6] = { 0 }, id[128];
        const struct page *page;

        test_int(n, >, 6);
        memcpy(path, href, 5);
        page = pages_find(pages, path);
        test_true(page);
        snprintf(id, sizeof(id), "<h2 id=\"%.*s\">", (int)n - 6, href + 6);
        test_int(count_of(page, id), ==, 1);
}

static void test_references(void)
{
        static const char start[] = "<cite><a href=\"";

        for (size_t i = 0; i < ARRAY_SIZE(expected); ++i) {
                const struct page *page = pages_find(pages, expected[i].path);
                const char *at = page->html, *end = at + page->n_html;

                test_int(count_of(page, start), >, 50);
                while ((at = memmem(at, (size_t)(end - at), start, strlen(start)))) {
                        at += strlen(start);
                        check_reference(at, strcspn(at, "\""));
                }
        }
}

static void test_same_each_time(void)
{
        _cleanup_(pages_freep) struct pages *again = NULL;

        test_int(pages_new(&again), ==, 0);
        for (size_t i = 0; i < N_PAGES; ++i) {
                test_int(again->pages[i].n_html, ==, pages->pages[i].n_html);
                test_true(memcmp(again->pages[i].html, pages->pages[i].html,
                                 again->pages[i].n_html) == 0);
        }
}

static void test_find(void)
{
        test_true(pages_find(pages, "/") == &pages->pages[0]);
        test_true(!pages_find(pages, "/2020"));
        test_true(!pages_find(pages, "2016"));
        test_true(!pages_find(pages, "/2016/"));
        test_true(!pages_find(pages, ""));
}

static const struct test_case cases[] = {
        { "counts", test_counts },
        { "sizes", test_sizes },
        { "spaces that are not ASCII", test_unicode_spaces },
        { "HTML", test_html },
        { "different", test_different },
        { "references", test_references },
        { "same each time", test_same_each_time },
        { "find", test_find },
};

int main(void)
{
        int r;

        if (pages_new(&pages) < 0)
                return EXIT_FAILURE;
        r = test_main("pages", cases, ARRAY_SIZE(cases));
        pages_free(pages);
        return r;
}
