/* Undoing Content-Encoding: whole streams however they are cut, and streams that are not whole. */

#include "daemon/runner/fetch/content-coding.h"
#include "tests/unit/test.h"

#define TEXT_SIZE 300000

static char text[TEXT_SIZE];

/* Something that compresses to less than it was, and not to next to nothing. */
static void make_text(void)
{
        uint32_t x = 1;

        for (size_t i = 0; i < sizeof(text); ++i) {
                x = x * 1664525 + 1013904223;
                text[i] = "etaoin shrdlu\n"[(x >> 24) % 14];
        }
}

static size_t compress_text(unsigned char *to, size_t size, size_t from, size_t n, int window)
{
        z_stream stream = { .next_in = (unsigned char *)text + from,
                            .avail_in = (unsigned)n,
                            .next_out = to,
                            .avail_out = (unsigned)size };

        test_int(deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
        test_int(deflate(&stream, Z_FINISH), ==, Z_STREAM_END);
        deflateEnd(&stream);
        return size - stream.avail_out;
}

struct collected {
        size_t n;
};

static void collect(struct collected *collected, const void *data, size_t n)
{
        test_int(collected->n + n, <=, sizeof(text));
        if (n > 0)
                test_int(memcmp(text + collected->n, data, n), ==, 0);
        collected->n += n;
}

/* Feeds @n bytes, @piece at a time. */
static int feed(struct content_coding *coding, const unsigned char *data, size_t n, size_t piece,
                struct collected *collected)
{
        const void *out;
        size_t n_out;
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i += piece) {
                content_coding_feed(coding, data + i, MIN(piece, n - i));
                while ((r = content_coding_next(coding, &out, &n_out)) > 0)
                        collect(collected, out, n_out);
        }
        return r;
}

static void begin(struct content_coding *coding, const char *field)
{
        struct coding_list list = { 0 };

        coding_list_add(&list, field, strlen(field));
        test_int(list.fault, ==, 0);
        test_int(content_coding_begin(coding, &list), ==, 0);
}

static void whole(const char *header, int window)
{
        static unsigned char data[TEXT_SIZE + 1000];
        static const size_t pieces[] = { 1, 2, 7, 4096, TEXT_SIZE };
        struct content_coding coding = {};
        size_t n;

        make_text();
        n = compress_text(data, sizeof(data), 0, sizeof(text), window);
        for (size_t i = 0; i < ARRAY_SIZE(pieces); ++i) {
                struct collected collected = {};

                begin(&coding, header);
                test_int(feed(&coding, data, n, pieces[i], &collected), ==, 0);
                test_int(collected.n, ==, sizeof(text));
                test_true(content_coding_is_whole(&coding));
        }
        content_coding_deinit(&coding);
}

static void test_whole(void)
{
        whole("gzip", 15 + 16);
        whole("X-GZip", 15 + 16);
        whole("deflate", 15);
        whole("deflate", -15);
}

static void test_members(void)
{
        static unsigned char data[2 * TEXT_SIZE];
        struct content_coding coding = {};
        struct collected collected = {};
        size_t n;

        make_text();
        n = compress_text(data, sizeof(data), 0, 1000, 15 + 16);
        n += compress_text(data + n, sizeof(data) - n, 1000, sizeof(text) - 1000, 15 + 16);
        begin(&coding, "gzip");
        test_int(feed(&coding, data, n, 100, &collected), ==, 0);
        test_int(collected.n, ==, sizeof(text));
        test_true(content_coding_is_whole(&coding));
        content_coding_deinit(&coding);
}

static void test_cut_short(void)
{
        static unsigned char data[TEXT_SIZE + 1000];
        struct content_coding coding = {};
        size_t n;

        make_text();
        n = compress_text(data, sizeof(data), 0, 200, 15 + 16);
        for (size_t cut = 1; cut < n; ++cut) {
                struct collected collected = {};

                begin(&coding, "gzip");
                test_int(feed(&coding, data, cut, cut, &collected), ==, 0);
                test_true(!content_coding_is_whole(&coding));
        }
        content_coding_deinit(&coding);
}

static void test_refused(void)
{
        static const struct {
                const char *field;
                int fault;
        } fields[] = {
                { "br", PPP_FETCH_CODING_BR },
                { "gzip, ZStd", PPP_FETCH_CODING_ZSTD },
                { "x-compress", PPP_FETCH_CODING_COMPRESS },
                { "utf-8", PPP_FETCH_CODING },
                { "gzip gzip", PPP_FETCH_CODING },
                { "gzip,gzip,gzip,gzip,gzip,gzip", PPP_FETCH_CODINGS },
        };
        struct content_coding coding = CONTENT_CODING_NULL;
        struct collected collected = {};

        for (size_t i = 0; i < ARRAY_SIZE(fields); ++i) {
                struct coding_list list = { 0 };

                coding_list_add(&list, fields[i].field, strlen(fields[i].field));
                test_int(list.fault, ==, fields[i].fault);
        }
        begin(&coding, "gzip");
        test_int(feed(&coding, (const unsigned char *)"no gzip at all", 14, 14, &collected), ==,
                 -EBADMSG);
        content_coding_deinit(&coding);
}

/* One coding around the other, said in one field; cut anywhere. */
static void test_several(void)
{
        static unsigned char once[TEXT_SIZE], twice[TEXT_SIZE];
        static const size_t pieces[] = { 1, 5, 4096, TEXT_SIZE };
        struct content_coding coding = CONTENT_CODING_NULL;
        z_stream stream = { .next_in = once, .next_out = twice, .avail_out = sizeof(twice) };

        make_text();
        stream.avail_in = (unsigned)compress_text(once, sizeof(once), 0, sizeof(text), 15);
        test_int(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
        test_int(deflate(&stream, Z_FINISH), ==, Z_STREAM_END);
        deflateEnd(&stream);
        for (size_t i = 0; i < ARRAY_SIZE(pieces); ++i) {
                size_t n = sizeof(twice) - stream.avail_out;
                struct collected collected = {};

                begin(&coding, "deflate, identity,gzip");
                test_int(feed(&coding, twice, n, pieces[i], &collected), ==, 0);
                test_int(collected.n, ==, sizeof(text));
                test_true(content_coding_is_whole(&coding));
                collected.n = 0;
                begin(&coding, "deflate, gzip");
                test_int(feed(&coding, twice, n - 9, pieces[i], &collected), ==, 0);
                test_true(!content_coding_is_whole(&coding));
        }
        content_coding_deinit(&coding);
}

static void test_trailing(void)
{
        static const struct {
                const char *tail;
                size_t n;
                int r;
        } tails[] = {
                { "\0\0\0\0\0", 5, 0 },        { "\n", 1, -EOVERFLOW },
                { "\0\0x", 3, -EOVERFLOW },    { "\0\x1f\x8b", 3, -EOVERFLOW },
                { "\x1f\x8bxy", 4, -EBADMSG },
        };
        static unsigned char data[2000];
        struct content_coding coding = CONTENT_CODING_NULL;

        make_text();
        for (size_t i = 0; i < ARRAY_SIZE(tails); ++i)
                for (size_t piece = 1; piece <= sizeof(data); piece += sizeof(data) - 1) {
                        struct collected collected = {};
                        size_t n = compress_text(data, sizeof(data), 0, 1000, 15 + 16);

                        memcpy(data + n, tails[i].tail, tails[i].n);
                        begin(&coding, "gzip");
                        test_int(feed(&coding, data, n + tails[i].n, piece, &collected), ==,
                                 tails[i].r);
                        test_int(collected.n, ==, 1000);
                        test_true(tails[i].r < 0 || content_coding_is_whole(&coding));
                }
        content_coding_deinit(&coding);
}

/* However much comes out in all, and even if nothing does, one call is a bounded amount of work. */
static void test_bomb(void)
{
        enum { SIZE = 64 << 20 };
        _cleanup_free_ unsigned char *zeros = calloc(1, SIZE);
        static unsigned char once[1 << 20], twice[1 << 20];
        struct content_coding coding = CONTENT_CODING_NULL;
        z_stream stream = {
                .next_in = zeros, .avail_in = SIZE, .next_out = once, .avail_out = sizeof(once)
        };
        size_t n_once, n_out, total = 0, n_calls = 0;
        const void *out;
        int r;

        test_true(zeros);
        test_int(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
        test_int(deflate(&stream, Z_FINISH), ==, Z_STREAM_END);
        n_once = sizeof(once) - stream.avail_out;
        deflateReset(&stream);
        stream.next_in = once;
        stream.avail_in = (unsigned)n_once;
        stream.next_out = twice;
        stream.avail_out = sizeof(twice);
        test_int(deflate(&stream, Z_FINISH), ==, Z_STREAM_END);
        deflateEnd(&stream);

        begin(&coding, "gzip, gzip");
        content_coding_feed(&coding, twice, sizeof(twice) - stream.avail_out);
        while ((r = content_coding_next(&coding, &out, &n_out)) > 0) {
                test_int(n_out, <=, 16384);
                total += n_out;
                ++n_calls;
        }
        test_int(r, ==, 0);
        test_int(total, ==, SIZE);
        test_int(n_calls, >=, SIZE / 16384);
        test_int(content_coding_left(&coding), ==, 0);
        content_coding_deinit(&coding);
}

static void test_nothing(void)
{
        struct content_coding coding = CONTENT_CODING_NULL;

        begin(&coding, "");
        test_int(coding.n, ==, 0);
        test_true(content_coding_is_whole(&coding));
        begin(&coding, "gzip, gzip");
        test_true(content_coding_is_whole(&coding));
        content_coding_deinit(&coding);
}

TEST_MAIN("content coding", { "whole streams, however they are cut", test_whole },
          { "a gzip stream of several members", test_members },
          { "a stream that ends too early is not whole", test_cut_short },
          { "one coding around the other", test_several },
          { "what follows the end", test_trailing }, { "what is no such stream", test_refused },
          { "a bomb comes out piece by piece", test_bomb }, { "no body", test_nothing })
