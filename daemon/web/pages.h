#pragma once

/*
 * The demo pages: /2016 … /2019, four HTML pages of 3794, 4123, 4334 and 1953 words, and the list
 * of them at /. They are made from the sentences of prose.c, the same bytes each time, and hold
 * spaces that are not ASCII, so that counting words by bytes goes wrong.
 */

#include "lib/util.h"

#define N_PAGES 5 /* the list is the first */

struct page {
        const char *path; /* "/2016" */
        char *html;
        size_t n_html;
};

struct pages {
        struct page pages[N_PAGES];
};

/* Returns 0 or -ENOMEM. */
int pages_new(struct pages **ret);
struct pages *pages_free(struct pages *pages);
DEFINE_CLEANUP(struct pages *, pages_free)

/* NULL where there is no such page. */
const struct page *pages_find(const struct pages *pages, const char *path);
