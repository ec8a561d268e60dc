/* Decoding: labels as servers write them, texts cut anywhere, and bytes that are no characters. */

#include "daemon/runner/workloads/charset.h"
#include "tests/unit/test.h"

struct text {
        char bytes[256 * 1024];
        size_t n;
};

static struct text decoded;

static void collect(void *userdata, const void *text, size_t n)
{
        struct text *to = userdata;

        test_int(n, <=, sizeof(to->bytes) - 1 - to->n);
        memcpy(to->bytes + to->n, text, n);
        to->n += n;
        to->bytes[to->n] = 0;
}

/* Decodes @data cut at @a and @b; the pieces are in memory of their own. */
static const char *decode_cut(const char *label, const char *data, size_t n, size_t a, size_t b)
{
        _cleanup_(charset_freep) struct charset *charset = NULL;
        size_t from[] = { 0, a, b }, to[] = { a, b, n };

        test_int(charset_new(label, &charset), ==, 0);
        decoded.n = 0;
        decoded.bytes[0] = 0;
        for (size_t i = 0; i < 3; ++i) {
                size_t size = to[i] - from[i];
                _cleanup_free_ char *piece = malloc(size ? size : 1);

                test_true(piece);
                memcpy(piece, data + from[i], size);
                charset_feed(charset, piece, size, collect, &decoded);
        }
        charset_finish(charset, collect, &decoded);
        return decoded.bytes;
}

static void test_utf8_labels(void)
{
        static const char *const yes[] = { "utf-8", "UTF-8", "\"utf-8\"", "'Utf8'", " utf_8 ", "" };
        static const char *const no[] = { "utf-16", "us-ascii", "utf-8//IGNORE", "utf-88", "u 8" };

        test_true(charset_is_utf8(NULL));
        for (size_t i = 0; i < ARRAY_SIZE(yes); ++i)
                test_true(charset_is_utf8(yes[i]));
        for (size_t i = 0; i < ARRAY_SIZE(no); ++i)
                test_true(!charset_is_utf8(no[i]));
}

static void test_labels(void)
{
        static const char *const labels[] = {
                "iso-8859-1", "ISO-8859-1", "Latin1", "\"iso-8859-1\"", "'ISO_8859-1'",
                "\t iso-8859-1 ", "iso_8859_1", "x-iso-8859-1",
        };

        for (size_t i = 0; i < ARRAY_SIZE(labels); ++i)
                test_str(decode_cut(labels[i], "caf\xE9", 4, 0, 0), "caf\xC3\xA9");
}

static void test_unknown(void)
{
        struct charset *charset = NULL;
        char endless[1000];
        static const char *const labels[] = {
                "klingon-8", "utf-8//IGNORE", "iso-8859-1//TRANSLIT", "iso-8859-1,utf-8", "x-",
                "a b", "\xFF", "x-x-x-",
        };

        for (size_t i = 0; i < ARRAY_SIZE(labels); ++i)
                test_int(charset_new(labels[i], &charset), ==, -ENOENT);
        memset(endless, 'a', sizeof(endless) - 1);
        endless[sizeof(endless) - 1] = 0;
        test_int(charset_new(endless, &charset), ==, -ENOENT);
        test_true(!charset);
}

#define BAD "\xEF\xBF\xBD"

static const struct sample {
        const char *label, *text;
        size_t n;
        const char *expected;
} samples[] = {
#define SAMPLE(label, text, expected) { label, text, sizeof(text) - 1, expected }
        SAMPLE("iso-8859-1", "a\xA0" "b\x85\xE9", "a\xC2\xA0" "b\xC2\x85\xC3\xA9"),
        SAMPLE("us-ascii", "a\xC2\xA0" "b\xFF", "a" BAD BAD "b" BAD),
        SAMPLE("windows-1252", "\x93x\x94\x81\x80", "\xE2\x80\x9Cx\xE2\x80\x9D" BAD "\xE2\x82\xAC"),
        SAMPLE("koi8-r", "\xC4\xC1\x9A\xCE", "\xD0\xB4\xD0\xB0\xC2\xA0\xD0\xBD"),
        SAMPLE("shift_jis", "\x93\xFA\x81\x40\x96\x7B", "\xE6\x97\xA5\xE3\x80\x80\xE6\x9C\xAC"),
        SAMPLE("x-sjis", "\x93\xFA\x93", "\xE6\x97\xA5" BAD),
        SAMPLE("euc-jp", "\xC6\xFC\xA1\xA1\xCB\xDC", "\xE6\x97\xA5\xE3\x80\x80\xE6\x9C\xAC"),
        SAMPLE("iso-2022-jp", "\x1B$B\x46\x7C\x21\x21\x1B(B!", "\xE6\x97\xA5\xE3\x80\x80!"),
        SAMPLE("gb18030", "\xD6\xD0\xA1\xA1\x81\x30\x84\x36 \xD6",
               "\xE4\xB8\xAD\xE3\x80\x80\xC2\xA5 " BAD),
        SAMPLE("utf-16", "\xFF\xFE" "a\0\x03\x20" "b\0", "a\xE2\x80\x83" "b"),
        SAMPLE("utf-16", "\xFE\xFF\0a\x20\x03\0b", "a\xE2\x80\x83" "b"),
        SAMPLE("utf-16le", "\x3D\xD8\x00\xDE \0", "\xF0\x9F\x98\x80 "),
        /* A lone surrogate: what follows stays aligned. */
        SAMPLE("utf-16le", "\x00\xDE" "a\0 \0b\0", BAD "a b"),
        SAMPLE("utf-16be", "\0a\0", "a" BAD),
        SAMPLE("utf-32be", "\0\0\0a\xFF\xFF\xFF\xFF\0\0\x20\x03\0\0", "a" BAD "\xE2\x80\x83" BAD),
        /* The last character is kept back in case it combines: the end brings it out. */
        SAMPLE("windows-1258", "b\xF2" "a", "\xE1\xB8\x85" "a"),
        SAMPLE("big5-hkscs", "\x88\x62", "\xC3\x8A\xCC\x84"),
};

static void test_samples(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(samples); ++i) {
                const struct sample *s = &samples[i];

                test_str(decode_cut(s->label, s->text, s->n, s->n, s->n), s->expected);
        }
}

static void test_splits(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(samples); ++i) {
                const struct sample *s = &samples[i];

                for (size_t a = 0; a <= s->n; ++a)
                        for (size_t b = a; b <= s->n; ++b)
                                test_str(decode_cut(s->label, s->text, s->n, a, b), s->expected);
        }
}

/* Many times the decoder's own buffer, valid and not, cut at odd places. */
static void test_long(void)
{
        enum { N = 60000 };
        _cleanup_free_ char *latin = malloc(N);

        test_true(latin);
        memset(latin, 0xE9, N);
        decode_cut("iso-8859-1", latin, N, 16383, 49999);
        test_int(decoded.n, ==, 2 * N);
        for (size_t i = 0; i < 2 * N; i += 2)
                test_true(memcmp(decoded.bytes + i, "\xC3\xA9", 2) == 0);

        decode_cut("us-ascii", latin, N, 1, 16385);
        test_int(decoded.n, ==, 3 * N);
        for (size_t i = 0; i < 3 * N; i += 3)
                test_true(memcmp(decoded.bytes + i, BAD, 3) == 0);
}

static void test_empty(void)
{
        test_str(decode_cut("utf-16", "", 0, 0, 0), "");
        test_true(!charset_free(NULL));
}

TEST_MAIN("charset",
          { "labels of UTF-8", test_utf8_labels },
          { "labels in all their spellings", test_labels },
          { "unknown charsets", test_unknown },
          { "texts", test_samples },
          { "texts cut into three at every two places", test_splits },
          { "long texts", test_long },
          { "no text", test_empty })
