/*
 * libFuzzer: any bytes as an answer over a connection: heads, chunked bodies, URLs of redirects.
 * What comes of them must not depend on where they are cut.
 */

#include "daemon/runner/fetch/http-chunks.h"
#include "daemon/runner/fetch/http-head.h"
#include "daemon/runner/fetch/http-url.h"
#include "tests/fuzz/fuzz.h"

struct body {
        uint64_t hash;
        size_t n, used;
        int r;
};

static struct body undo(const char *data, size_t n, size_t size)
{
        struct http_chunks chunks = HTTP_CHUNKS_NULL;
        struct body body = { 14695981039346656037U, 0, 0, -EAGAIN };

        while (body.used < n && !http_chunks_ended(&chunks)) {
                size_t n_in = MIN(size, n - body.used), n_piece;
                const char *in = data + body.used, *piece;
                ssize_t l = http_chunks_next(&chunks, in, n_in, &piece, &n_piece);

                if (l < 0) {
                        body.r = (int)l;
                        return body;
                }
                fuzz_check(l > 0 && (size_t)l <= n_in);
                fuzz_check(piece >= in && n_piece <= (size_t)(in + l - piece));
                for (size_t i = 0; i < n_piece; ++i)
                        body.hash = (body.hash ^ (uint8_t)piece[i]) * 1099511628211U;
                body.n += n_piece;
                body.used += (size_t)l;
        }
        if (http_chunks_ended(&chunks))
                body.r = 0;
        return body;
}

static void check_body(const char *data, size_t n, size_t size)
{
        struct body whole = undo(data, n, n), cut = undo(data, n, size);

        fuzz_check(whole.r == cut.r && whole.n == cut.n && whole.hash == cut.hash);
        fuzz_check(whole.r != 0 || whole.used == cut.used);
}

/* Looked for as it comes in, it ends where it ends when it is there at once. */
static size_t check_end(const char *data, size_t n, size_t size)
{
        size_t scanned = 0, cut_scanned = 0, cut = 0;
        size_t end = http_head_find_end(data, n, &scanned);

        for (size_t i = MIN(size, n); cut == 0; i = MIN(i + size, n)) {
                cut = http_head_find_end(data, i, &cut_scanned);
                if (i == n)
                        break;
        }
        fuzz_check(end == cut && end <= n);
        return end;
}

static void check_value(const char *value, const char *head, size_t n)
{
        if (value) {
                fuzz_check(value >= head && value < head + n);
                fuzz_check(memchr(value, 0, (size_t)(head + n - value)));
        }
}

/* What is taken of a redirect's target has nothing in it that could end a line of a request. */
static void check_location(const char *location)
{
        _cleanup_free_ char *at = NULL;
        struct http_url url;

        fuzz_check(http_url_resolve("http://example.org:8080/some/page?query", location, &at) == 0);
        if (!http_url_split(at, &url))
                return;
        fuzz_check(url.n_authority > 0 && url.port > 0);
        for (size_t i = 0; i < url.n_authority; ++i)
                fuzz_check(url.host[i] > ' ' && url.host[i] < 0x7f);
        for (size_t i = 0; i < url.n_path; ++i)
                fuzz_check(url.path[i] > ' ' && url.path[i] < 0x7f);
}

static void check_head(const char *data, size_t n)
{
        _cleanup_free_ char *head = malloc(n);
        struct http_head read;

        fuzz_check(head);
        memcpy(head, data, n);
        fuzz_check(n > 0);
        if (http_head_read(head, n, &read) != 0)
                return;
        fuzz_check(http_head_may_begin(data, n));
        fuzz_check(read.status >= 100 && read.status <= 999);
        fuzz_check(read.length <= INT64_MAX && (read.has_length || read.length == 0));
        fuzz_check(!(read.persistent && read.chunked && read.has_length));
        check_value(read.content_type, head, n);
        fuzz_check(read.content_codings.n <= CODINGS_MAX && read.transfer_codings.n <= CODINGS_MAX);
        fuzz_check(read.transfer_codings.fault == 0);
        check_value(read.location, head, n);
        if (read.location)
                check_location(read.location);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, n };
        size_t size = (size_t)fuzz_byte(&fuzz) + 1, end;
        _cleanup_free_ char *text = malloc(fuzz.n + 1);

        fuzz_check(text);
        memcpy(text, data, fuzz.n);
        text[fuzz.n] = 0;
        end = check_end(text, fuzz.n, size);
        if (end > 0)
                check_head(text, end);
        check_body(text + end, fuzz.n - end, size);
        check_location(text);
        return 0;
}
