#pragma once

/* When a server that is too busy wants to be asked again: Retry-After (RFC 9110, 10.2.3). */

#include "lib/util.h"

/* More than this is not waited for. */
#define RETRY_AFTER_MAX_NS (60 * NSEC_PER_SEC)

/*
 * What the head of @n bytes says, in seconds or as a date: how long from now on, in nanoseconds and
 * at most RETRY_AFTER_MAX_NS; 0 if it says nothing, or nothing that can be read.
 */
uint64_t retry_after_find(const char *head, size_t n);
