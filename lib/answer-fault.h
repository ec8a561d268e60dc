#pragma once

/* Names, for people, of the faults that an HTTP answer may have: enum ppp_answer_fault. */

#include <pppctl/results.h>
#include "lib/util.h"

/*
 * The fault for a coding (of the content or of the transfer) that nothing here undoes: @name, of @n
 * bytes, in upper or lower case. PPP_ANSWER_CODING if it is in no list of codings.
 */
enum ppp_answer_fault answer_fault_of_coding(const char *name, size_t n);

/* The reason of a task that fails for @fault. */
enum ppp_reason answer_fault_reason(enum ppp_answer_fault fault);

/* A sentence for the task's owner, to be freed. NULL: @detail is no fault, or no memory. */
char *answer_fault_describe(int32_t detail);
