#pragma once

/*
 * The names that servers have for charsets: which of them iconv(3) knows, and by which name. Those
 * of the WHATWG's Encoding Standard are taken (but x-user-defined and hz-gb-2312, which glibc does
 * not have), and so are other common names: in any case, with quotes or blanks around them, with
 * "x-" before, or "_" in place of "-".
 */

#include "lib/util.h"

#define CHARSET_LABEL_MAX 64 /* registered names are 40 at most; a longer one is unknown */

/* Copies the name out of @label; -ENOENT when no charset is named like that. */
int charset_label_trim(const char *label, char ret[static CHARSET_LABEL_MAX]);

/* Replaces a name that iconv does not know by one that it may know. False: there is no other. */
bool charset_label_resolve(char name[static CHARSET_LABEL_MAX]);

/* Whether text so labelled needs no decoder: it is UTF-8, or nothing is declared (NULL, ""). */
bool charset_is_utf8(const char *label);

/*
 * The charset of the byte order mark that @text begins with, and the mark's size; a mark takes
 * precedence over the declared charset (@label, which may be NULL), as in browsers. NULL: there is
 * none.
 */
const char *charset_of_mark(const char *text, size_t n, const char *label, size_t *ret_n);

/* Whether @text, which is no mark yet, could become one with another byte. */
bool charset_may_be_mark(const char *text, size_t n);
