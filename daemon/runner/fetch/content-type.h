#pragma once

/* The only part of a Content-Type header (RFC 9110, 8.3) that the runner needs: the declared
 * charset. */

#include <stddef.h>

/*
 * The value of the first `charset` parameter inside @value, not NUL-terminated, without its quotes;
 * NULL when there is none or it is empty. Names are matched without case.
 */
const char *content_type_charset(const char *value, size_t *ret_n);
