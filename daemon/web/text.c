#include "daemon/web/text.h"

#include <stdio.h>

static bool text_reserve(struct text *text, size_t n)
{
        size_t size = MAX(text->size * 2, (text->n + n + 4095) & ~(size_t)4095);
        char *data;

        if (text->failed)
                return false;
        if (n <= text->size - text->n)
                return true;
        data = realloc(text->data, size);
        text->failed = !data;
        if (text->failed)
                return false;
        text->data = data;
        text->size = size;
        return true;
}

/* Bytes of the white space character at @s, 0 if it is none. */
static size_t space_length(const char *s, size_t n)
{
        if (*s == ' ' || *s == '\n')
                return 1;
        if (n >= 2 && memcmp(s, "\xc2\xa0", 2) == 0)
                return 2;
        if (n >= 3 && memcmp(s, "\xe2\x80\x83", 3) == 0)
                return 3;
        return 0;
}

void text_put_n(struct text *text, const char *s, size_t n)
{
        size_t step;

        if (!text_reserve(text, n))
                return;
        memcpy(text->data + text->n, s, n);
        text->n += n;

        for (size_t i = 0; i < n; i += MAX(step, (size_t)1)) {
                step = space_length(s + i, n - i);
                text->n_words += step == 0 && !text->in_word;
                text->in_word = step == 0;
        }
}

void text_put(struct text *text, const char *s)
{
        text_put_n(text, s, strlen(s));
}

void text_put_number(struct text *text, unsigned number)
{
        char digits[sizeof("4294967295")];

        text_put_n(text, digits, (size_t)snprintf(digits, sizeof(digits), "%u", number));
}

void text_deinit(struct text *text)
{
        free(text->data);
        *text = (struct text)TEXT_NULL;
}
