/* Heads of answers and chunked bodies, whole and cut anywhere. */

#include "daemon/runner/fetch/http-chunks.h"
#include "daemon/runner/fetch/http-head.h"
#include "tests/unit/test.h"

#define OK "HTTP/1.1 200 OK\r\n"

struct expected {
        const char *text;
        int r;
        struct http_head head;
};

static const struct expected heads[] = {
        { OK "\r\n", 0, { .status = 200, .persistent = true } },
        { "HTTP/1.1 200\n\n", 0, { .status = 200, .persistent = true } },
        { "HTTP/1.1 200 \r\n\r\n", 0, { .status = 200, .persistent = true } },
        { "HTTP/1.0 404 Not: Found\r\n\r\n", 0, { .status = 404 } },
        { "HTTP/1.0 200 OK\r\nConnection: x, Keep-Alive\r\n\r\n",
          0,
          { .status = 200, .persistent = true } },
        { OK "CONNECTION:a ,CLOSE , b\r\n\r\n", 0, { .status = 200 } },
        { OK "Connection: closed\r\n\r\n", 0, { .status = 200, .persistent = true } },
        { OK "Content-Length: 0\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .has_length = true } },
        { OK "content-length:9223372036854775807\t \r\n\r\n",
          0,
          { .status = 200, .persistent = true, .has_length = true, .length = INT64_MAX } },
        { OK "Content-Length: 5, 5\r\nContent-Length: 5\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .has_length = true, .length = 5 } },
        { OK "Transfer-Encoding: Chunked\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .chunked = true } },
        { OK "Transfer-Encoding: identity\r\n\r\n", 0, { .status = 200, .persistent = true } },
        { OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
          0,
          { .status = 200, .chunked = true, .has_length = true, .length = 5 } },
        { "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
          0,
          { .status = 200, .chunked = true } },
        { OK "Content-Type:  text/html; charset=x \r\nContent-Type: second\r\n"
             "Content-Encoding: gzip\r\nLocation: \r\nLocation: /a b\r\n\r\n",
          0,
          { .status = 200,
            .persistent = true,
            .content_type = "text/html; charset=x",
            .content_codings = { .n = 1, .codings = { CODING_GZIP } },
            .location = "/a b" } },
        { OK "Content-Type: text/html;\r\n\tcharset=x\r\nA: b\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .content_type = "text/html;  \tcharset=x" } },
        { OK "Content-Type: x\r\n \r\n\r\n",
          0,
          { .status = 200, .persistent = true, .content_type = "x" } },
        { OK "X-Content-Length: 1\r\nA:\r\n\r\n", 0, { .status = 200, .persistent = true } },

        /* Read as curl and requests read it; the connection is not used again. */
        { "HTTP/1.1   200 OK\r\n\r\n", 0, { .status = 200 } },
        { "HTTP/1.1 200\tOK\r\n\r\n", 0, { .status = 200, .persistent = true } },
        { OK "A : b\r\nContent-Length: 5\r\n\r\n",
          0,
          { .status = 200, .has_length = true, .length = 5 } },
        { OK "Content-Encoding : gzip\r\nLocation\t: /a\r\n\r\n",
          0,
          { .status = 200,
            .content_codings = { .n = 1, .codings = { CODING_GZIP } },
            .location = "/a" } },
        { OK "A b: 5\r\n\r\n", 0, { .status = 200 } },
        { OK "A\x01: 5\r\nB\x7f: 5\r\n\r\n", 0, { .status = 200 } },
        { OK ": no name\r\n\r\n", 0, { .status = 200 } },
        { OK "A: a\rb\r\n\r\n", 0, { .status = 200 } },
        { OK "A: b\r\r\n\r\n", 0, { .status = 200 } },
        { OK "Content-Length: 13\r\r\n\r\n",
          0,
          { .status = 200, .has_length = true, .length = 13 } },
        { OK "Content-Length: 13\r\n \t\r\nA: b\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .has_length = true, .length = 13 } },
        { OK "Content-Length: 013\r\nContent-Length: 13,\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .has_length = true, .length = 13 } },
        { OK "Transfer-Encoding: chunked, chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .chunked = true } },
        { OK "Transfer-Encoding: chunked, identity\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .chunked = true } },
        { OK "Transfer-Encoding: gzip, chunked\r\n\r\n",
          0,
          { .status = 200,
            .persistent = true,
            .chunked = true,
            .transfer_codings = { .n = 1, .codings = { CODING_GZIP } } } },
        { OK "Transfer-Encoding: deflate\r\nTransfer-Encoding: x-gzip\r\n\r\n",
          0,
          { .status = 200,
            .persistent = true,
            .transfer_codings = { .n = 2, .codings = { CODING_DEFLATE, CODING_GZIP } } } },
        { OK "Transfer-Encoding: \r\nContent-Length: 5\r\n\r\n",
          0,
          { .status = 200, .persistent = true, .has_length = true, .length = 5 } },
        { OK "Content-Encoding: \r\nContent-Encoding: identity , GZip\r\nA: b\r\n"
             "Content-Encoding: none,deflate\r\n\r\n",
          0,
          { .status = 200,
            .persistent = true,
            .content_codings = { .n = 2, .codings = { CODING_GZIP, CODING_DEFLATE } } } },
        { OK "Content-Encoding: gzip, br, what\r\n\r\n",
          0,
          { .status = 200,
            .persistent = true,
            .content_codings = { 1, { CODING_GZIP }, PPP_FETCH_CODING_BR } } },

        { "HTTP/1.2 200 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/2 200 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "http/1.1 200 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1\t200 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1 200OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1 20 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1 2000 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1 099 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1 -20 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "ICY 200 OK\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "\r\n\r\n", PPP_FETCH_STATUS_LINE, { 0 } },
        { "HTTP/1.1 200 OK\r\n folded\r\n\r\n", PPP_FETCH_HEADER_LINE, { 0 } },
        { OK "no colon\r\n\r\n", PPP_FETCH_HEADER_LINE, { 0 } },
        { OK "Content-Length:\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: -1\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: +1\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 1x\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 0x1\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 1e1\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 1,300\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 1 2\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 13 bytes\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 9223372036854775808\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 99999999999999999999999\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 5, 6\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 5\r\n 0\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length:\r\n 5\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },
        { OK "Content-Length: 1\r5\r\n\r\n", PPP_FETCH_LENGTH, { 0 } },

        /* Another reader would see the body end elsewhere. */
        { OK "Content-Length : 5\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "Content-Length: 5\r\nTransfer-Encoding\t: chunked\r\n\r\n",
          PPP_FETCH_AMBIGUOUS,
          { 0 } },
        { OK "Content- Length: 5\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "\vtransfer-ENCODING\x7f: chunked\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "A: a\rContent-Length: 5\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "A: a\r transfer-encoding : chunked\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "A: a\r\rb\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "Content-Length: 5\r\n\r\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "A: b\r\n Content-Length: 5\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "Transfer-Encoding:\r\n chunked\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
          PPP_FETCH_AMBIGUOUS,
          { 0 } },
        { OK "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", PPP_FETCH_AMBIGUOUS, { 0 } },
        { OK "Transfer-Encoding: xchunked\r\n\r\n", PPP_FETCH_CODING, { 0 } },
        { OK "Transfer-Encoding: chunked;x=y\r\n\r\n", PPP_FETCH_CODING, { 0 } },
        { OK "Transfer-Encoding: br, chunked\r\n\r\n", PPP_FETCH_CODING_BR, { 0 } },
        { OK "Transfer-Encoding: gzip,gzip,gzip,gzip,gzip,gzip,chunked\r\n\r\n",
          PPP_FETCH_CODINGS,
          { 0 } },
};

static void check_codings(const struct coding_list *list, const struct coding_list *wanted)
{
        test_int(list->n, ==, wanted->n);
        for (size_t i = 0; i < list->n; ++i)
                test_int(list->codings[i], ==, wanted->codings[i]);
        test_int(list->fault, ==, wanted->fault);
}

static void check_text(const char *text, const char *wanted)
{
        if (!wanted)
                test_true(!text);
        else
                test_str(text, wanted);
}

static void reads_heads(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(heads); ++i) {
                const struct http_head *wanted = &heads[i].head;
                size_t n = strlen(heads[i].text), scanned = 0;
                _cleanup_free_ char *text = strdup(heads[i].text);
                struct http_head head;
                int r;

                test_int(http_head_find_end(text, n, &scanned), ==, n);
                r = http_head_read(text, n, &head);
                if (r != heads[i].r)
                        test_fail_at("\"%s\": %d, not %d", heads[i].text, r, heads[i].r);
                if (r != 0)
                        continue;
                test_int(head.status, ==, wanted->status);
                test_int(head.persistent, ==, wanted->persistent);
                test_int(head.chunked, ==, wanted->chunked);
                test_int(head.has_length, ==, wanted->has_length);
                test_int(head.length, ==, wanted->length);
                check_text(head.content_type, wanted->content_type);
                check_codings(&head.content_codings, &wanted->content_codings);
                check_codings(&head.transfer_codings, &wanted->transfer_codings);
                check_text(head.location, wanted->location);
        }
}

static void refuses_nul(void)
{
        char text[] = OK "A: b\0c\r\n\r\n";
        struct http_head head;

        test_int(http_head_read(text, sizeof(text) - 1, &head), ==, PPP_FETCH_HEADER_LINE);
}

/* Whatever comes after does not matter, and no byte too few is taken for the whole. */
static void finds_the_end(void)
{
        static const char *const texts[] = { OK "A: b\r\n\r\nHTTP/1.1", OK "\n\n\n", "\n\r\n",
                                             "a\n\n" };
        static const size_t ends[] = { 25, 18, 3, 3 };

        for (size_t i = 0; i < ARRAY_SIZE(texts); ++i) {
                size_t n = strlen(texts[i]), scanned = 0;

                test_int(http_head_find_end(texts[i], n, &scanned), ==, ends[i]);
                scanned = 0;
                for (size_t k = 0; k < n; ++k)
                        if (http_head_find_end(texts[i], k, &scanned) !=
                            (k < ends[i] ? 0 : ends[i]))
                                test_fail_at("text %zu, %zu bytes of it", i, k);
                        else if (k >= ends[i])
                                break;
        }
}

static void knows_a_beginning(void)
{
        test_true(http_head_may_begin("", 0));
        test_true(http_head_may_begin("HTT", 3));
        test_true(http_head_may_begin("HTTP/1.1 2", 10));
        test_true(http_head_may_begin("http/", 5));
        test_true(http_head_may_begin("\r\n", 2));
        test_true(http_head_may_begin("\r\nHTTP/1", 8));
        test_true(!http_head_may_begin("HTTX", 4));
        test_true(!http_head_may_begin("220 mail", 8));
        test_true(!http_head_may_begin("\r\n220", 5));
        test_true(!http_head_may_begin("\0HTTP", 5));
}

/*
 * Undoes @n bytes in pieces of @size; returns what came of it, -EAGAIN when the end has not come.
 */
static int undo(const char *data, size_t n, size_t size, char *to, size_t *ret_n, size_t *ret_used)
{
        struct http_chunks chunks = HTTP_CHUNKS_NULL;
        size_t at = 0;

        *ret_n = 0;
        while (at < n && !http_chunks_ended(&chunks)) {
                const char *piece;
                size_t n_piece;
                ssize_t l =
                        http_chunks_next(&chunks, data + at, MIN(size, n - at), &piece, &n_piece);

                if (l < 0)
                        return (int)l;
                test_int(l, >, 0);
                memcpy(to + *ret_n, piece, n_piece);
                *ret_n += n_piece;
                at += (size_t)l;
        }
        *ret_used = at;
        return http_chunks_ended(&chunks) ? 0 : -EAGAIN;
}

static void undoes_chunks(void)
{
        static const struct {
                const char *text, *body;
                int r;
                size_t n_rest;
        } bodies[] = {
                { "0\r\n\r\n", "", 0, 0 },
                { "5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n", "firstsecond", 0, 0 },
                { "5\nfirst\n0\n\n", "first", 0, 0 },
                { "00000005\r\nfirst\r\n0000\r\n\r\n", "first", 0, 0 },
                { "00000000000000005\r\nfirst\r\n0\r\n\r\n", "", -EBADMSG, 0 },
                { "A;x=\"y\" ; z\r\n0123456789\r\na \r\nabcdefghij\r\n0;q\r\n\r\n",
                  "0123456789abcdefghij", 0, 0 },
                { "1\r\nx\r\n0\r\nTrailer: 1\r\nOther: 2\n\r\n", "x", 0, 0 },
                { "1\r\nx\r\n0\r\n\r\nHTTP/1.1", "x", 0, 8 },
                { "1\r\nx\r\n0\r\n", "x", -EAGAIN, 0 },
                { "1\r\nx\r\n", "x", -EAGAIN, 0 },
                { "5\r\none", "one", -EAGAIN, 0 },
                { "", "", -EAGAIN, 0 },
                { "\r\n", "", -EBADMSG, 0 },
                { "x\r\n", "", -EBADMSG, 0 },
                { "-1\r\n", "", -EBADMSG, 0 },
                { "0x1\r\n", "", -EBADMSG, 0 },
                { " 1\r\n", "", -EBADMSG, 0 },
                { ";x\r\n", "", -EBADMSG, 0 },
                { "1\rx", "", -EBADMSG, 0 },
                { "1;a\rb\r\n", "", -EBADMSG, 0 },
                { "1\r\nxy\r\n", "x", -EBADMSG, 0 },
                { "1\r\nx\rz", "x", -EBADMSG, 0 },
                { "7fffffffffffffff\r\nx", "x", -EAGAIN, 0 },
                { "8000000000000000\r\nx", "", -EBADMSG, 0 },
                { "10000000000000000\r\nx", "", -EBADMSG, 0 },
                { "0\r\na\rb\r\n\r\n", "", -EBADMSG, 0 },
                { "0\r\n\rx", "", -EBADMSG, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(bodies); ++i) {
                size_t n = strlen(bodies[i].text);

                for (size_t size = 1; size <= n + 1; ++size) {
                        char text[256];
                        size_t l, used = 0;
                        int r = undo(bodies[i].text, n, size, text, &l, &used);

                        text[l] = 0;
                        if (r != bodies[i].r || (r != -EBADMSG && n - used != bodies[i].n_rest))
                                test_fail_at("\"%s\" in pieces of %zu: %d, %zu of %zu used",
                                             bodies[i].text, size, r, used, n);
                        test_str(text, bodies[i].body);
                }
        }
}

static void counts_what_it_passes_over(void)
{
        static const char text[] = "1;abc\r\nx\r\n0\r\nA: b\r\n\r\n";
        struct http_chunks chunks = HTTP_CHUNKS_NULL;
        const char *piece;
        size_t n;
        ssize_t l = http_chunks_next(&chunks, text, sizeof(text) - 1, &piece, &n);

        test_int(l, >, 0);
        test_int(http_chunks_next(&chunks, text + l, sizeof(text) - 1 - (size_t)l, &piece, &n), >,
                 0);
        test_true(http_chunks_ended(&chunks));
        test_int(chunks.n_extra, >=,
                 strlen("abc"
                        "A: b"));
}

TEST_MAIN("http-head", { "reads heads", reads_heads }, { "refuses NUL", refuses_nul },
          { "finds the end", finds_the_end }, { "knows a beginning", knows_a_beginning },
          { "undoes chunks", undoes_chunks },
          { "counts what it passes over", counts_what_it_passes_over })
