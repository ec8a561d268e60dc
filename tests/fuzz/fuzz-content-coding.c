/*
 * libFuzzer: any bytes as an encoded body, in pieces. What comes out must not depend on where it is
 * cut, and no more may come out than the sink is told of.
 */

#include "daemon/runner/io/content-coding.h"
#include "tests/fuzz/fuzz.h"

#define OUTPUT_MAX (1U << 20)           /* a bomb: enough seen of it */

struct output {
        uint64_t hash;
        size_t n;
};

static int sink(void *userdata, const struct ppp_chunk *chunk)
{
        struct output *output = userdata;

        for (size_t i = 0; i < chunk->size; ++i)
                output->hash = (output->hash ^ ((const uint8_t *)chunk->data)[i]) * 1099511628211U;
        output->n += chunk->size;
        return output->n > OUTPUT_MAX ? -EFBIG : 0;
}

static int run(const char *header, const uint8_t *data, size_t n, size_t piece, struct output *output,
               bool *ret_whole)
{
        struct content_coding coding = { 0 };
        bool of_sink;
        int r = content_coding_begin(&coding, header);

        *output = (struct output){ 14695981039346656037U, 0 };
        for (size_t i = 0; i < n && r >= 0; i += piece)
                r = content_coding_feed(&coding, data + i, MIN(piece, n - i), NULL, sink, output,
                                        &of_sink);
        *ret_whole = r >= 0 && content_coding_is_whole(&coding);
        content_coding_deinit(&coding);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        static const char *const headers[] = { "gzip", "deflate" };
        struct output whole, cut;
        bool is_whole, cut_is_whole;
        int r, k;

        if (n < 2)
                return 0;
        r = run(headers[data[0] & 1], data + 2, n - 2, n, &whole, &is_whole);
        k = run(headers[data[0] & 1], data + 2, n - 2, (size_t)data[1] + 1, &cut, &cut_is_whole);
        fuzz_check(is_whole == cut_is_whole);
        /* How much comes out before a fault or our limit depends on the pieces; a whole one does not. */
        fuzz_check(!is_whole || (r == k && whole.n == cut.n && whole.hash == cut.hash));
        return 0;
}
