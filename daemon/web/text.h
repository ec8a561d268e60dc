#pragma once

/*
 * A growing UTF-8 text that knows how many words it holds. White space is what the pages are
 * written with: ASCII space and newline, U+00A0 and U+2003. What is put must be whole characters.
 */

#include "lib/util.h"

struct text {
        char *data; /* not NUL-terminated */
        size_t n, size;
        unsigned n_words;
        bool in_word;
        bool failed; /* out of memory: nothing more is put */
};

#define TEXT_NULL                           \
        {                                   \
                NULL, 0, 0, 0, false, false \
        }

void text_put_n(struct text *text, const char *s, size_t n);
void text_put(struct text *text, const char *s);
void text_put_number(struct text *text, unsigned number);
void text_deinit(struct text *text);
