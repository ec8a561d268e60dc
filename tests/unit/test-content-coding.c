/* Undoing Content-Encoding: whole streams however they are cut, and streams that are not whole. */

#include "daemon/runner/io/content-coding.h"
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
        z_stream stream = { .next_in = (unsigned char *)text + from, .avail_in = (unsigned)n,
                            .next_out = to, .avail_out = (unsigned)size };

        test_int(deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
        test_int(deflate(&stream, Z_FINISH), ==, Z_STREAM_END);
        deflateEnd(&stream);
        return size - stream.avail_out;
}

struct collected {
        size_t n;
        int fail;
};

static int collect(void *userdata, const struct ppp_chunk *chunk)
{
        struct collected *collected = userdata;

        if (collected->fail)
                return collected->fail;
        test_int(collected->n + chunk->size, <=, sizeof(text));
        test_int(memcmp(text + collected->n, chunk->data, chunk->size), ==, 0);
        collected->n += chunk->size;
        return 0;
}

/* Feeds @n bytes, @piece at a time. */
static int feed(struct content_coding *coding, const unsigned char *data, size_t n, size_t piece,
                struct collected *collected)
{
        bool of_sink;
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i += piece)
                r = content_coding_feed(coding, data + i, MIN(piece, n - i), NULL, collect, collected,
                                        &of_sink);
        return r;
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

                test_int(content_coding_begin(&coding, header), ==, 0);
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
        test_int(content_coding_begin(&coding, "gzip"), ==, 0);
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

                test_int(content_coding_begin(&coding, "gzip"), ==, 0);
                test_int(feed(&coding, data, cut, cut, &collected), ==, 0);
                test_true(!content_coding_is_whole(&coding));
        }
        content_coding_deinit(&coding);
}

static void test_refused(void)
{
        struct content_coding coding = {};
        struct collected collected = {};
        bool of_sink;

        test_int(content_coding_begin(&coding, "br"), ==, -ENOTSUP);
        test_int(content_coding_begin(&coding, "gzip"), ==, 0);
        test_int(content_coding_feed(&coding, "no gzip at all", 14, NULL, collect, &collected, &of_sink),
                 ==, -EBADMSG);
        test_true(!of_sink);
        content_coding_deinit(&coding);
}

static void test_sink_fails(void)
{
        static unsigned char data[TEXT_SIZE + 1000];
        struct content_coding coding = {};
        struct collected collected = { .fail = -ECANCELED };
        bool of_sink = false;
        size_t n;

        make_text();
        n = compress_text(data, sizeof(data), 0, sizeof(text), 15 + 16);
        test_int(content_coding_begin(&coding, "gzip"), ==, 0);
        test_int(content_coding_feed(&coding, data, n, NULL, collect, &collected, &of_sink), ==,
                 -ECANCELED);
        test_true(of_sink);
        content_coding_deinit(&coding);
}

static void test_nothing(void)
{
        struct content_coding coding = {};

        test_int(content_coding_begin(&coding, NULL), ==, 0);
        test_true(content_coding_is_whole(&coding));
        test_int(content_coding_begin(&coding, "gzip"), ==, 0);
        test_true(content_coding_is_whole(&coding));
        content_coding_deinit(&coding);
}

TEST_MAIN("content coding",
          { "whole streams, however they are cut", test_whole },
          { "a gzip stream of several members", test_members },
          { "a stream that ends too early is not whole", test_cut_short },
          { "what is no such stream", test_refused },
          { "a sink that fails", test_sink_fails },
          { "no body", test_nothing })
