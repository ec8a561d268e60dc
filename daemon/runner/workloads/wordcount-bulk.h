#pragma once

/*
 * The loops behind wordcount_feed(), one for each instruction set; wordcount.c chooses one of them.
 *
 * A loop counts @n bytes that begin at a character of their own (nothing is pending) and that no
 * space crosses the end of. It updates words and in_word. It may look at the two bytes after the
 * @n, and only where one of the @n may begin a space, which is then in the same chunk.
 */

#include "daemon/runner/workloads/wordcount.h"

typedef void wordcount_bulk(struct wordcount *count, const uint8_t *p, size_t n);

wordcount_bulk wordcount_bulk_scalar;
#if defined(__x86_64__)
wordcount_bulk wordcount_bulk_avx2; /* needs AVX2, BMI and POPCNT */
#endif
