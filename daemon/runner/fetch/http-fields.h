#pragma once

/*
 * The fields of a head that few ask for (Set-Cookie, Retry-After), looked up in the head as it came,
 * before http_head_read() has written into it. A value that is folded is not put together: neither
 * of the two has any reason to be.
 */

#include <time.h>

#include "lib/util.h"

/*
 * The next field @name from *@at on, which is moved past it: its value, without blanks around it and
 * not NUL-terminated, or NULL. *@at is the head's begin at first, @end its end.
 */
const char *http_fields_next(const char **at, const char *end, const char *name, size_t *ret_n);

/* A date (RFC 9110, 5.6.7), also with the dashes that cookies like. */
bool http_date_parse(const char *text, size_t n, time_t *ret);
