/*
 * The word counter: each of its paths, on a text in up to nine pieces, must count what a plain
 * decoder counts.
 */

#include "daemon/runner/workloads/wordcount.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/words-reference.h"

#define CUTS 8

/* Each piece is as long as @sizes says, the last takes the rest; each in memory of its own. */
static uint64_t count_pieces(const uint8_t sizes[CUTS], const uint8_t *text, size_t n)
{
        struct wordcount count = WORDCOUNT_NULL;

        for (size_t i = 0; i <= CUTS; ++i) {
                size_t size = i < CUTS ? MIN(n, (size_t)sizes[i]) : n;
                _cleanup_free_ uint8_t *piece = malloc(size ? size : 1);

                fuzz_check(piece);
                if (size > 0)
                        memcpy(piece, text, size);
                wordcount_feed(&count, piece, size);
                text += size;
                n -= size;
        }
        return wordcount_finish(&count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        static const char *const paths[] = { "avx2", "scalar" };
        struct fuzz_data fuzz = { data, n };
        uint8_t sizes[CUTS];
        uint64_t expected;

        for (size_t i = 0; i < CUTS; ++i)
                sizes[i] = fuzz_byte(&fuzz);
        expected = reference_count(fuzz.data, fuzz.n);
        for (size_t i = 0; i < ARRAY_SIZE(paths); ++i)
                if (wordcount_use(paths[i]) == 0)
                        fuzz_check(count_pieces(sizes, fuzz.data, fuzz.n) == expected);
        return 0;
}
