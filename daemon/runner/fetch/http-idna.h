#pragma once

/*
 * Converts host names that are not ASCII to the form that DNS uses (IDNA 2008 by way of UTS #46, as
 * in curl). libcurl would convert them by the locale's charset; a URL of ours is UTF-8 in any
 * locale. libidn2 is opened at run time, by the first name that needs it; libcurl depends on it
 * anyway.
 */

#include "lib/util.h"

#define IDN2_LIBRARY "libidn2.so.0"

/*
 * The ASCII form of @host, @n bytes of UTF-8 that may be percent-encoded; the caller's, or NULL if
 * @host is ASCII, which stays as it is. Negative errno: -EILSEQ not UTF-8, -ENAMETOOLONG a label or
 * all of it is too long, -EINVAL no valid name, -ENOPKG no libidn2 (said once on standard error),
 * -ENOMEM. It is safe on a fiber's stack: loading takes 5 KiB of it, converting 10.
 */
int http_idna_to_ascii(const char *host, size_t n, char **ret);
