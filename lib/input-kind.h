#pragma once

/*
 * Tells URLs from paths among the inputs of `words`, by their text alone. The client makes relative
 * paths absolute and the runner opens them as given: both have to understand an input in the same
 * way.
 */

#include "lib/util.h"

enum input_kind {
        INPUT_PATH,    /* whatever is none of the others, "day:1" among it */
        INPUT_FILE,    /* file:… */
        INPUT_DEMO,    /* demo:… */
        INPUT_HTTP,    /* http://… or https://… */
        INPUT_FOREIGN, /* ://… after a scheme that is not taken */
};

/*
 * @n bytes at @input. *@ret_scheme: length of the scheme before the colon; meaningless for a path.
 */
enum input_kind input_kind_of(const char *input, size_t n, size_t *ret_scheme);
