#pragma once

/*
 * What the word counter is held to: decodes UTF-8 as Python's bytes.decode(errors="replace") does
 * (each longest beginning of a character that does not go on is one U+FFFD) and splits as
 * str.split() does. As plain as can be.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool reference_is_space(uint32_t c)
{
        static const uint32_t spaces[] = {
                0x09,   0x0A,   0x0B,   0x0C,   0x0D,   0x1C,   0x1D,   0x1E,   0x1F,   0x20,
                0x85,   0xA0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
                0x2007, 0x2008, 0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000,
        };

        for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); ++i)
                if (c == spaces[i])
                        return true;
        return false;
}

/* How many bytes follow @lead, and what the first of them may be; -1: it is no lead byte. */
static inline int reference_lead(uint8_t lead, uint8_t *ret_min, uint8_t *ret_max)
{
        *ret_min = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        *ret_max = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (lead < 0x80)
                return 0;
        if (lead >= 0xC2 && lead <= 0xDF)
                return 1;
        if (lead >= 0xE0 && lead <= 0xEF)
                return 2;
        return lead >= 0xF0 && lead <= 0xF4 ? 3 : -1;
}

/* Decodes one character of @n > 0 bytes; returns how many it took. */
static inline size_t reference_decode(const uint8_t *p, size_t n, uint32_t *ret)
{
        uint8_t min, max;
        int follow = reference_lead(p[0], &min, &max);
        uint32_t c = follow <= 0 ? p[0] : p[0] & (0x3FU >> follow);

        *ret = 0xFFFD;
        if (follow < 0)
                return 1;
        for (int i = 1; i <= follow; ++i) {
                if ((size_t)i >= n || p[i] < min || p[i] > max)
                        return (size_t)i;
                c = c << 6 | (p[i] & 0x3F);
                min = 0x80;
                max = 0xBF;
        }
        *ret = c;
        return (size_t)follow + 1;
}

static inline uint64_t reference_count(const void *data, size_t n)
{
        const uint8_t *p = data;
        uint64_t words = 0;
        bool in_word = false;

        while (n > 0) {
                uint32_t c;
                size_t used = reference_decode(p, n, &c);
                bool space = reference_is_space(c);

                words += !space && !in_word;
                in_word = !space;
                p += used;
                n -= used;
        }
        return words;
}
