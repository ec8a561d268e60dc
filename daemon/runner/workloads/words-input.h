#pragma once

/*
 * An input of `words` names a page to fetch or a file to read. Text without a scheme is a path; a
 * file whose name looks like a URL or like "demo:2016" is reached by putting "./" before it.
 */

#include "lib/util.h"

enum words_source {
        WORDS_FETCH, /* target is a URL */
        WORDS_READ,  /* target is a path */
};

struct words_input {
        enum words_source source;
        const char *target; /* the input itself, or made */
        char *made;         /* owned */
};

#define WORDS_INPUT_NULL               \
        {                              \
                WORDS_READ, NULL, NULL \
        }

/*
 * words_input_parse() - tell what @input is.
 *   http://…, https://…                             fetched as it is
 *   file:///path, file:/path, file://localhost/path  read; %XX decoded
 *   demo:YEAR                                       fetched from @demo_url/YEAR
 *   other text without scheme://                    read
 * @demo_url may be NULL: then "demo:" is a scheme we do not take. @ret may point into @input.
 * Returns -EPROTONOSUPPORT (scheme), -EINVAL (a URL that names nothing: another host's file, a
 * query or a bad %XX in a file's URL, a year that is no number) or -ENOMEM.
 */
int words_input_parse(const char *input, const char *demo_url, struct words_input *ret);

static inline void words_input_deinit(struct words_input *input)
{
        free(input->made);
}
