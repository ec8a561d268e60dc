/* Decoding: labels as servers write them, texts cut anywhere, and bytes that are no characters. */

#include "daemon/runner/workloads/charset-label.h"
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
        static const char *const yes[] = {
                "utf-8", "UTF-8",   "\"utf-8\"",         "'Utf8'",          " utf_8 ",
                "",      "x-utf-8", "unicode-1-1-utf-8", "x-unicode20utf8", "cp65001",
        };
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
                "iso-8859-1",   "ISO-8859-1",     "Latin1",     "\"iso-8859-1\"",
                "'ISO_8859-1'", "\t iso-8859-1 ", "iso_8859_1", "x-iso-8859-1",
        };

        for (size_t i = 0; i < ARRAY_SIZE(labels); ++i)
                test_str(decode_cut(labels[i], "caf\xE9", 4, 0, 0), "caf\xC3\xA9");
}

/* The labels of the WHATWG's Encoding Standard, but for those of which glibc has no charset. */
static const char *const standard[] = {
        "866",
        "cp866",
        "csibm866",
        "ibm866",
        "csisolatin2",
        "iso-8859-2",
        "iso-ir-101",
        "iso8859-2",
        "iso88592",
        "iso_8859-2",
        "iso_8859-2:1987",
        "l2",
        "latin2",
        "csisolatin3",
        "iso-8859-3",
        "iso-ir-109",
        "iso8859-3",
        "iso88593",
        "iso_8859-3",
        "iso_8859-3:1988",
        "l3",
        "latin3",
        "csisolatin4",
        "iso-8859-4",
        "iso-ir-110",
        "iso8859-4",
        "iso88594",
        "iso_8859-4",
        "iso_8859-4:1988",
        "l4",
        "latin4",
        "csisolatincyrillic",
        "cyrillic",
        "iso-8859-5",
        "iso-ir-144",
        "iso8859-5",
        "iso88595",
        "iso_8859-5",
        "iso_8859-5:1988",
        "arabic",
        "asmo-708",
        "csiso88596e",
        "csiso88596i",
        "csisolatinarabic",
        "ecma-114",
        "iso-8859-6",
        "iso-8859-6-e",
        "iso-8859-6-i",
        "iso-ir-127",
        "iso8859-6",
        "iso88596",
        "iso_8859-6",
        "iso_8859-6:1987",
        "csisolatingreek",
        "ecma-118",
        "elot_928",
        "greek",
        "greek8",
        "iso-8859-7",
        "iso-ir-126",
        "iso8859-7",
        "iso88597",
        "iso_8859-7",
        "iso_8859-7:1987",
        "sun_eu_greek",
        "csiso88598e",
        "csisolatinhebrew",
        "hebrew",
        "iso-8859-8",
        "iso-8859-8-e",
        "iso-ir-138",
        "iso8859-8",
        "iso88598",
        "iso_8859-8",
        "iso_8859-8:1988",
        "visual",
        "csiso88598i",
        "iso-8859-8-i",
        "logical",
        "csisolatin6",
        "iso-8859-10",
        "iso-ir-157",
        "iso8859-10",
        "iso885910",
        "l6",
        "latin6",
        "iso-8859-13",
        "iso8859-13",
        "iso885913",
        "iso-8859-14",
        "iso8859-14",
        "iso885914",
        "csisolatin9",
        "iso-8859-15",
        "iso8859-15",
        "iso885915",
        "iso_8859-15",
        "l9",
        "iso-8859-16",
        "cskoi8r",
        "koi",
        "koi8",
        "koi8-r",
        "koi8_r",
        "koi8-ru",
        "koi8-u",
        "csmacintosh",
        "mac",
        "macintosh",
        "x-mac-roman",
        "dos-874",
        "iso-8859-11",
        "iso8859-11",
        "iso885911",
        "tis-620",
        "windows-874",
        "cp1250",
        "windows-1250",
        "x-cp1250",
        "cp1251",
        "windows-1251",
        "x-cp1251",
        "ansi_x3.4-1968",
        "ascii",
        "cp1252",
        "cp819",
        "csisolatin1",
        "ibm819",
        "iso-8859-1",
        "iso-ir-100",
        "iso8859-1",
        "iso88591",
        "iso_8859-1",
        "iso_8859-1:1987",
        "l1",
        "latin1",
        "us-ascii",
        "windows-1252",
        "x-cp1252",
        "cp1253",
        "windows-1253",
        "x-cp1253",
        "cp1254",
        "csisolatin5",
        "iso-8859-9",
        "iso-ir-148",
        "iso8859-9",
        "iso88599",
        "iso_8859-9",
        "iso_8859-9:1989",
        "l5",
        "latin5",
        "windows-1254",
        "x-cp1254",
        "cp1255",
        "windows-1255",
        "x-cp1255",
        "cp1256",
        "windows-1256",
        "x-cp1256",
        "cp1257",
        "windows-1257",
        "x-cp1257",
        "cp1258",
        "windows-1258",
        "x-cp1258",
        "x-mac-cyrillic",
        "x-mac-ukrainian",
        "chinese",
        "csgb2312",
        "csiso58gb231280",
        "gb2312",
        "gb_2312",
        "gb_2312-80",
        "gbk",
        "iso-ir-58",
        "x-gbk",
        "gb18030",
        "big5",
        "big5-hkscs",
        "cn-big5",
        "csbig5",
        "x-x-big5",
        "cseucpkdfmtjapanese",
        "euc-jp",
        "x-euc-jp",
        "csiso2022jp",
        "iso-2022-jp",
        "csshiftjis",
        "ms932",
        "ms_kanji",
        "shift-jis",
        "shift_jis",
        "sjis",
        "windows-31j",
        "x-sjis",
        "cseuckr",
        "csksc56011987",
        "euc-kr",
        "iso-ir-149",
        "korean",
        "ks_c_5601-1987",
        "ks_c_5601-1989",
        "ksc5601",
        "ksc_5601",
        "windows-949",
        "unicodefffe",
        "utf-16be",
        "csunicode",
        "iso-10646-ucs-2",
        "ucs-2",
        "unicode",
        "unicodefeff",
        "utf-16",
        "utf-16le",
};

static void test_standard_labels(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(standard); ++i) {
                _cleanup_(charset_freep) struct charset *charset = NULL;
                int r = charset_new(standard[i], &charset);

                if (r < 0)
                        test_fail_at("%s: %d", standard[i], r);
        }
}

/* Names that are in no list, but on servers. */
static void test_aliases(void)
{
        static const struct {
                const char *label, *text, *expected;
        } aliases[] = {
                { "latin-1", "caf\xE9", "caf\xC3\xA9" },
                { "8859-1", "caf\xE9", "caf\xC3\xA9" },
                { "win-1251", "\xF0\xE0\xE7", "\xD1\x80\xD0\xB0\xD0\xB7" },
                { "Win1251", "\xF0\xE0\xE7", "\xD1\x80\xD0\xB0\xD0\xB7" },
                { "windows1251", "\xF0\xE0\xE7", "\xD1\x80\xD0\xB0\xD0\xB7" },
                { "CP-1252", "\x80", "\xE2\x82\xAC" },
                { "x-mac-cyrillic", "\xE0", "\xD0\xB0" },
                { "iso-8859-8-i", "\xE0", "\xD7\x90" },
                { "dos-874", "\xA1", "\xE0\xB8\x81" },
                { "KS_C_5601-1987", "\xB0\xA1", "\xEA\xB0\x80" },
                { "gb_2312-80", "\xD2\xBB", "\xE4\xB8\x80" },
                { "unicodeFFFE", "\x20\xAC", "\xE2\x82\xAC" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(aliases); ++i)
                test_str(decode_cut(aliases[i].label, aliases[i].text, strlen(aliases[i].text), 0,
                                    0),
                         aliases[i].expected);
}

static void test_marks(void)
{
        size_t n = 0;

        test_str(charset_of_mark("\xEF\xBB\xBF", 3, "koi8-r", &n), "UTF-8");
        test_int(n, ==, 3);
        test_str(charset_of_mark("\xFF\xFE"
                                 "a",
                                 3, NULL, &n),
                 "UTF-16LE");
        test_int(n, ==, 2);
        test_str(charset_of_mark("\xFE\xFF", 2, "utf-8", &n), "UTF-16BE");
        test_true(!charset_of_mark("\xEF\xBB", 2, NULL, &n));
        test_true(!charset_of_mark("\xEF\xBB\xBE", 3, NULL, &n));
        test_true(!charset_of_mark("\xFF\xFE\0\0", 4, "UTF-32", &n));
        test_true(charset_may_be_mark("\xEF\xBB", 2));
        test_true(charset_may_be_mark("\xFE", 1));
        test_true(!charset_may_be_mark("\xEF\xBB\xBF", 3));
        test_true(!charset_may_be_mark("a", 1));
}

/* Bytes of all kinds, escapes among them: whatever it is, where it is cut changes nothing. */
static void test_malformed(void)
{
        static const char *const labels[] = {
                "iso-2022-cn-ext", "iso-2022-cn", "iso-2022-kr", "iso-2022-jp-2", "utf-7",
                "big5-hkscs",      "euc-jp",      "utf-16",      "windows-1258",  "tscii",
        };
        enum { N = 9000 };
        static char bytes[N];
        uint32_t x = 7;

        for (size_t i = 0; i < N; ++i) {
                x = x * 1664525 + 1013904223;
                bytes[i] = "\x1B$)AGEIO+*\x0E\x0F\x4E\x42/-\xA4\xE9\xFF +\x21\x7E="[(x >> 24) % 25];
        }
        for (size_t i = 0; i < ARRAY_SIZE(labels); ++i) {
                _cleanup_free_ char *whole = strdup(decode_cut(labels[i], bytes, N, N, N));

                for (size_t cut = 1; cut < N; cut += 97)
                        test_str(decode_cut(labels[i], bytes, N, cut, MIN(cut + 40, (size_t)N)),
                                 whole);
        }
}

static void test_unknown(void)
{
        struct charset *charset = NULL;
        char endless[1000];
        static const char *const labels[] = {
                "klingon-8",
                "utf-8//IGNORE",
                "iso-8859-1//TRANSLIT",
                "iso-8859-1,utf-8",
                "x-",
                "a b",
                "\xFF",
                "x-x-x-",
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
#define SAMPLE(label, text, expected)                   \
        {                                               \
                label, text, sizeof(text) - 1, expected \
        }
        SAMPLE("iso-8859-1",
               "a\xA0"
               "b\x85\xE9",
               "a\xC2\xA0"
               "b\xC2\x85\xC3\xA9"),
        SAMPLE("us-ascii",
               "a\xC2\xA0"
               "b\xFF",
               "a" BAD BAD "b" BAD),
        SAMPLE("windows-1252", "\x93x\x94\x81\x80", "\xE2\x80\x9Cx\xE2\x80\x9D" BAD "\xE2\x82\xAC"),
        SAMPLE("koi8-r", "\xC4\xC1\x9A\xCE", "\xD0\xB4\xD0\xB0\xC2\xA0\xD0\xBD"),
        SAMPLE("shift_jis", "\x93\xFA\x81\x40\x96\x7B", "\xE6\x97\xA5\xE3\x80\x80\xE6\x9C\xAC"),
        SAMPLE("x-sjis", "\x93\xFA\x93", "\xE6\x97\xA5" BAD),
        SAMPLE("euc-jp", "\xC6\xFC\xA1\xA1\xCB\xDC", "\xE6\x97\xA5\xE3\x80\x80\xE6\x9C\xAC"),
        SAMPLE("iso-2022-jp", "\x1B$B\x46\x7C\x21\x21\x1B(B!", "\xE6\x97\xA5\xE3\x80\x80!"),
        SAMPLE("gb18030", "\xD6\xD0\xA1\xA1\x81\x30\x84\x36 \xD6",
               "\xE4\xB8\xAD\xE3\x80\x80\xC2\xA5 " BAD),
        SAMPLE("utf-16",
               "\xFF\xFE"
               "a\0\x03\x20"
               "b\0",
               "a\xE2\x80\x83"
               "b"),
        SAMPLE("utf-16", "\xFE\xFF\0a\x20\x03\0b",
               "a\xE2\x80\x83"
               "b"),
        SAMPLE("utf-16le", "\x3D\xD8\x00\xDE \0", "\xF0\x9F\x98\x80 "),
        /* A lone surrogate: what follows stays aligned. */
        SAMPLE("utf-16le",
               "\x00\xDE"
               "a\0 \0b\0",
               BAD "a b"),
        SAMPLE("utf-16be", "\0a\0", "a" BAD),
        SAMPLE("utf-32be", "\0\0\0a\xFF\xFF\xFF\xFF\0\0\x20\x03\0\0", "a" BAD "\xE2\x80\x83" BAD),
        /* The last character is kept back in case it combines: the end brings it out. */
        SAMPLE("windows-1258",
               "b\xF2"
               "a",
               "\xE1\xB8\x85"
               "a"),
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

TEST_MAIN("charset", { "labels of UTF-8", test_utf8_labels },
          { "labels in all their spellings", test_labels },
          { "labels of the standard", test_standard_labels },
          { "labels in no standard", test_aliases }, { "byte order marks", test_marks },
          { "unknown charsets", test_unknown }, { "texts", test_samples },
          { "texts cut into three at every two places", test_splits },
          { "malformed texts cut anywhere", test_malformed }, { "long texts", test_long },
          { "no text", test_empty })
