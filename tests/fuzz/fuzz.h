#pragma once

/*
 * What the libFuzzer targets share. A target must hold for every input, so a check that fails ends
 * the process, and libFuzzer keeps the input. The text to test is at the front of an input; what to
 * do with it (where to cut, how large a file is) is taken from its end, so that a seed is readable.
 */

#include <stdio.h>

#include "lib/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define fuzz_check(x)                                                                    \
        do {                                                                             \
                if (!(x)) {                                                              \
                        fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #x); \
                        abort();                                                         \
                }                                                                        \
        } while (0)

struct fuzz_data {
        const uint8_t *data;
        size_t n;
};

/*
 * Changes bytes of a file. A patch is an offset (two bytes), a length and that many bytes; the last
 * three of an input are no patch.
 */
static inline void fuzz_patch(int fd, const uint8_t *data, size_t n)
{
        size_t i = 0;

        while (i + 3 <= n) {
                size_t at = (size_t)data[i] << 8 | data[i + 1];
                size_t size = MIN((size_t)data[i + 2] % 33, n - i - 3);

                i += 3;
                fuzz_check(pwrite(fd, data + i, size, (off_t)at) == (ssize_t)size);
                i += size;
        }
}

/* The last byte; 0 when all are used up. */
static inline uint8_t fuzz_byte(struct fuzz_data *fuzz)
{
        return fuzz->n > 0 ? fuzz->data[--fuzz->n] : 0;
}
