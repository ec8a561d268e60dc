#pragma once

/*
 * The inputs of a job: text, one input a line, each line ended by a newline, mapped from a file or
 * a sealed memfd. Finding line i costs a scan of at most INPUTS_STRIDE lines from a sparse index;
 * walking through them in order costs reading one word for a short line, and one memchr for a
 * longer one.
 */

#include <endian.h>

#include "lib/util.h"

#define INPUTS_STRIDE   64
#define INPUT_MAX       65536 /* bytes of one input */
#define INPUTS_SIZE_MAX (UINT64_C(1) << 30)

struct inputs {
        const char *text;
        size_t size;
        uint64_t n;
        uint64_t *index; /* offset of every INPUTS_STRIDE-th line; NULL unless asked for */
        bool mapped;
};

#define INPUTS_NULL                     \
        {                               \
                NULL, 0, 0, NULL, false \
        }

struct input_error {
        uint64_t line;   /* from 1; 0: the list as a whole */
        const char *why; /* static text */
};

/*
 * Checks a list: not empty, no NUL byte, no empty line, no line past INPUT_MAX, last line ended by
 * a newline, at most RESULTS_MAX_TASKS lines. Returns 0 and the number of lines, or -EBADMSG and
 * @error.
 */
int inputs_check(const char *text, size_t size, uint64_t *ret_n, struct input_error *error);

/*
 * The same check piece by piece, for a list that is not in memory as a whole. It looks no further
 * than the first byte that is wrong. Begin with { .size = 0 }.
 */
struct inputs_scan {
        uint64_t size;   /* bytes that were fed */
        uint64_t line;   /* where the line begins that was not seen whole */
        uint64_t n;      /* lines before it */
        uint64_t *index; /* see struct inputs; room for it is the caller's; NULL: none is wanted */
};

int inputs_scan_feed(struct inputs_scan *scan, const char *text, size_t n,
                     struct input_error *error);
int inputs_scan_end(const struct inputs_scan *scan, uint64_t *ret_n, struct input_error *error);

/* Maps @fd, which may be closed afterwards; checks as above; builds the index if @with_index. */
int inputs_map(int fd, bool with_index, struct inputs *ret, struct input_error *error);
void inputs_unmap(struct inputs *inputs);

/* Input @i and its length; not NUL-terminated. Needs the index. */
const char *inputs_get(const struct inputs *inputs, uint64_t i, size_t *ret_n);

/* The input after the one that starts at @at; for walking in order. */
static inline const char *inputs_next(const char *at, size_t n)
{
        return at + n + 1;
}

#define WORD_OF(byte) (UINT64_C(0x0101010101010101) * (byte))
#define WORD_LOW_BITS WORD_OF(0x7f)

/* Eight bytes, the first in the lowest bits. */
static inline uint64_t load_word(const char *at)
{
        uint64_t word;

        memcpy(&word, at, sizeof(word));
        return le64toh(word);
}

/* Sets the high bit of each byte of @word that is 0, and no other bit. */
static inline uint64_t zero_bytes(uint64_t word)
{
        return ~(((word & WORD_LOW_BITS) + WORD_LOW_BITS) | word | WORD_LOW_BITS);
}

/*
 * The length of the line at @at, without its newline; @text_end is the end of the text, at this
 * line or after it.
 */
static inline size_t line_length(const char *at, const char *text_end)
{
        size_t left = (size_t)(text_end - at);
        const char *end;

        if (left >= sizeof(uint64_t)) {
                uint64_t newlines = zero_bytes(load_word(at) ^ WORD_OF('\n'));

                if (newlines)
                        return (unsigned)__builtin_ctzll(newlines) / 8;
        }
        end = memchr(at, '\n', left);
        assert(end);
        return (size_t)(end - at);
}

/* The length of the input at @at. */
static inline size_t inputs_length(const struct inputs *inputs, const char *at)
{
        return line_length(at, inputs->text + inputs->size);
}
