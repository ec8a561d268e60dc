#pragma once

/*
 * Retry-After (RFC 9110, 10.2.3): the time when a server that is too busy wants to be asked again.
 */

#include "lib/util.h"

/* Nobody waits longer than this. */
#define RETRY_AFTER_MAX_NS (60 * NSEC_PER_SEC)

/*
 * Reads Retry-After in the head of @n bytes, which has seconds or a date. Returns how long from now
 * on, in nanoseconds and at most RETRY_AFTER_MAX_NS; 0 if the head has none, or none that can be
 * read.
 */
uint64_t retry_after_find(const char *head, size_t n);
