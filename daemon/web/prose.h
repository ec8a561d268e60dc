#pragma once

/*
 * What the demo pages say: sentences with slots, and the words that go into the slots. Plain data;
 * pages.c makes pages of it.
 *
 * A slot is a letter in braces: {s} a thing of the theme, singular, {p} plural, {c} a call of the
 * theme's interface, {w} a piece of work, {q} a quantity, {n} a name, {m} a place.
 * Text is UTF-8 and may hold markup.
 */

#include "lib/util.h"

struct deck {
        const char *const *texts;
        size_t n;
};

struct theme {
        unsigned year;
        unsigned n_words; /* of its page, as Python's len(text.split()) counts */
        const char *title;
        const char *lead;
        struct deck headings, sentences, singulars, plurals, calls;
};

#define N_THEMES 4

extern const struct theme themes[N_THEMES];

/* Common to all themes. */
extern const struct deck prose_sentences, prose_works, prose_quantities, prose_names, prose_places;
extern const struct deck prose_keywords;
extern const char prose_style[];
