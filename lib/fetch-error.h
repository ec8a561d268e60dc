#pragma once

/* The names and texts of the fetch errors (enum ppp_fetch_error), for people and for programs. */

#include <pppctl/results.h>
#include "lib/util.h"

/*
 * The error for a coding (of the content or of the transfer) that nothing here undoes: @name, of @n
 * bytes, in upper or lower case. PPP_FETCH_CODING if it is in no list of codings.
 */
enum ppp_fetch_error fetch_error_of_coding(const char *name, size_t n);

/* The reason of a task that fails for @error. */
enum ppp_reason fetch_error_reason(enum ppp_fetch_error error);

/*
 * "cut-short", and a sentence for the task's owner, to be freed. NULL: @detail of @reason is no
 * fetch error, or there is no memory.
 */
const char *fetch_error_name(enum ppp_reason reason, int32_t detail);
char *fetch_error_describe(enum ppp_reason reason, int32_t detail);
