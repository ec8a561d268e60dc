/*
 * libFuzzer: any bytes as an encoded body, in pieces. What comes out must not depend on where it is
 * cut, and no more may come out than the sink is told of.
 */

#include "daemon/runner/fetch/content-coding.h"
#include "tests/fuzz/fuzz.h"

#define OUTPUT_MAX (1U << 20) /* a bomb: enough seen of it */

struct output {
        uint64_t hash;
        size_t n;
};

static void note(struct output *output, const uint8_t *data, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                output->hash = (output->hash ^ data[i]) * 1099511628211U;
        output->n += n;
}

static int run(const struct coding_list *list, const uint8_t *data, size_t n, size_t piece,
               struct output *output, bool *ret_whole)
{
        struct content_coding coding = CONTENT_CODING_NULL;
        int r = content_coding_begin(&coding, list);

        *output = (struct output){ 14695981039346656037U, 0 };
        for (size_t i = 0; i < n && r >= 0; i += piece) {
                const void *out;
                size_t n_out;

                content_coding_feed(&coding, data + i, MIN(piece, n - i));
                while ((r = content_coding_next(&coding, &out, &n_out)) > 0) {
                        note(output, out, n_out);
                        if (output->n > OUTPUT_MAX) {
                                r = -EFBIG;
                                break;
                        }
                }
                fuzz_check(r != 0 || content_coding_left(&coding) == 0);
        }
        *ret_whole = r >= 0 && content_coding_is_whole(&coding);
        content_coding_deinit(&coding);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        static const char *const fields[] = {
                "gzip", "deflate", "gzip, gzip", "deflate, gzip", "gzip,deflate,identity,gzip",
        };
        const char *field;
        struct coding_list list = { 0 };
        struct output whole, cut;
        bool is_whole, cut_is_whole;
        int r, k;

        if (n < 2)
                return 0;
        field = fields[data[0] % ARRAY_SIZE(fields)];
        coding_list_add(&list, field, strlen(field));
        fuzz_check(list.n > 0 && list.fault == 0);
        r = run(&list, data + 2, n - 2, n, &whole, &is_whole);
        k = run(&list, data + 2, n - 2, (size_t)data[1] + 1, &cut, &cut_is_whole);
        fuzz_check(is_whole == cut_is_whole);
        /* How much comes out before a fault or our limit depends on the pieces; a whole one does
         * not. */
        fuzz_check(!is_whole || (r == k && whole.n == cut.n && whole.hash == cut.hash));
        return 0;
}
