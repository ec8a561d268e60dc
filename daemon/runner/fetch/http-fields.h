#pragma once

/*
 * The fields of a head that few callers need (Set-Cookie, Retry-After). They are looked up in the
 * head as it came, before http_head_read() has written into it. A folded value is not joined:
 * neither of the two has a reason to be folded.
 */

#include <time.h>

#include "lib/util.h"

/*
 * Finds the next field @name from *@at on, which is moved past it. Returns its value, without
 * blanks around it and not NUL-terminated, or NULL. *@at is the head's begin at first, @end its
 * end.
 */
const char *http_fields_next(const char **at, const char *end, const char *name, size_t *ret_n);

/* A date (RFC 9110, 5.6.7), also with the dashes that are common in cookies. */
bool http_date_parse(const char *text, size_t n, time_t *ret);
