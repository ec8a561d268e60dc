#pragma once

/*
 * Counts words as Python's len(text.split()) does, in a stream of UTF-8 that may be cut anywhere.
 *
 * A word is a run of characters that are not white space; white space is what Python's
 * str.isspace() and split() take: U+0009..000D, U+001C..0020, U+0085, U+00A0, U+1680, U+2000..200A,
 * U+2028, U+2029, U+202F, U+205F, U+3000 (Unicode 15). Bytes that are not UTF-8 count as U+FFFD, no
 * space.
 * Since every multi-byte space starts with a lead byte, and a decoder that replaces bad bytes
 * starts anew at each lead byte, looking for the spaces' byte sequences alone is exact for invalid
 * text too.
 */

#include "lib/util.h"

struct wordcount {
        uint64_t words;
        bool in_word;
        uint8_t n_pending; /* 0..2 bytes that may begin a space and were cut off */
        uint8_t pending[2];
};

#define WORDCOUNT_NULL \
        {              \
                0      \
        }

void wordcount_feed(struct wordcount *count, const void *data, size_t n);

/* Ends the text and returns its number of words. */
uint64_t wordcount_finish(struct wordcount *count);

/* The path picked for this machine: "avx2" or "scalar". */
const char *wordcount_path(void);

/* For tests and benchmarks: one of the paths by name; -ENOENT, or -ENOTSUP on this CPU. */
int wordcount_use(const char *path);
