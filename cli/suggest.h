#pragma once

/* "Did you mean": the name among some that a misspelt word most likely stands for. */

#include "lib/util.h"

/* The nearest of @names, NULL when none is near. A word that begins just one name means it. */
const char *suggest(const char *word, const char *const *names, size_t n);

/* As the end of a sentence: "; did you mean threads?", or "". Valid until the next call. */
const char *suggest_text(const char *word, const char *const *names, size_t n);
