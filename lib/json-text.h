#pragma once

/*
 * JSON to text, whole or not at all. Jansson's json_dumps() does not check whether there was memory
 * for the name of a member (jansson#655): when memory is short it returns text that is no JSON. No
 * other code here may turn JSON into text.
 */

#include <jansson.h>

/* The text, which the caller frees, for jansson's @flags (JSON_COMPACT …); NULL: out of memory. */
char *json_text(const json_t *json, size_t flags);
