#pragma once

/*
 * Text that others wrote (inputs, paths, names, reasons) on its way to a person: a terminal would
 * obey control sequences in it, and characters without a glyph of their own make it look like other
 * text. Such characters are shown as escapes: \n, \x1b, \u202e. All that pppctl prints for people
 * goes through here, whatever wrote it; so none of it can be forgotten. Data in a pipe does not.
 */

#include <jansson.h>
#include <stdio.h>

#include "lib/util.h"

/*
 * Decodes the UTF-8 character at @s (RFC 3629), of which @n bytes, at least 1, may be read. Returns
 * its length, 0 when it is not well-formed.
 */
size_t utf8_decode(const char *s, size_t n, uint32_t *ret);

/* Whether @c controls a terminal or has no glyph of its own: it may not be shown as it is. */
bool is_hidden(uint32_t c);

void visible_put(FILE *file, const char *text, size_t n);

/* The same with newlines as they are, for text of several lines. */
void visible_put_lines(FILE *file, const char *text);

/* The same as a string, owned by the caller; NULL when out of memory. */
char *visible_text(const char *text);

/*
 * JSON text of @json, one line unless @flags ask for more, in which hidden characters are escapes
 * as JSON has them; owned by the caller, NULL when out of memory.
 */
char *visible_json(json_t *json, size_t flags);

/* The escape of hidden character @c inside a string of JSON. */
void visible_put_json_escape(FILE *file, uint32_t c);
