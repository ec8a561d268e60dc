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

/* The last byte; 0 when all are used up. */
static inline uint8_t fuzz_byte(struct fuzz_data *fuzz)
{
        return fuzz->n > 0 ? fuzz->data[--fuzz->n] : 0;
}
