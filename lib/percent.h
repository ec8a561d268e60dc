#pragma once

/* The percent-encoding of URLs (RFC 3986), undone. */

#include "lib/util.h"

/* @s, @n bytes, decoded; the caller's. -EINVAL: a `%` without two hex digits, or a NUL byte. */
int percent_decode(const char *s, size_t n, char **ret);
