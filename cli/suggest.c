#include "cli/suggest.h"

#include <stdio.h>

#define WORD_MAX 32

/*
 * Edit distance where a swap of neighbours counts one (optimal string alignment). Words past
 * WORD_MAX are near nothing.
 */
static size_t distance(const char *a, const char *b)
{
        size_t d[WORD_MAX + 1][WORD_MAX + 1], n = strlen(a), m = strlen(b);

        if (n > WORD_MAX || m > WORD_MAX)
                return SIZE_MAX;
        for (size_t i = 0; i <= n; ++i)
                d[i][0] = i;
        for (size_t k = 0; k <= m; ++k)
                d[0][k] = k;
        for (size_t i = 1; i <= n; ++i) {
                for (size_t k = 1; k <= m; ++k) {
                        size_t v = d[i - 1][k - 1] + (a[i - 1] != b[k - 1]);

                        v = MIN(v, MIN(d[i - 1][k], d[i][k - 1]) + 1);
                        if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                                v = MIN(v, d[i - 2][k - 2] + 1);
                        d[i][k] = v;
                }
        }
        return d[n][m];
}

static const char *only_beginning(const char *word, const char *const *names, size_t n)
{
        const char *found = NULL;

        for (size_t i = 0; i < n; ++i) {
                if (strncmp(word, names[i], strlen(word)) != 0)
                        continue;
                if (found)
                        return NULL;
                found = names[i];
        }
        return found;
}

const char *suggest(const char *word, const char *const *names, size_t n)
{
        const char *found = strlen(word) >= 2 ? only_beginning(word, names, n) : NULL;
        size_t nearest = MAX(strlen(word) / 3, (size_t)1) + 1;

        if (found)
                return found;
        for (size_t i = 0; i < n; ++i) {
                size_t d = distance(word, names[i]);

                if (d < nearest && d < strlen(names[i])) {
                        nearest = d;
                        found = names[i];
                }
        }
        return found;
}

const char *suggest_text(const char *word, const char *const *names, size_t n)
{
        static char text[WORD_MAX + 32];
        const char *name = suggest(word, names, n);

        text[0] = 0;
        if (name)
                snprintf(text, sizeof(text), "; did you mean %s?", name);
        return text;
}
