#pragma once

/* Inputs of the workloads that compute: a whole number from 0 to 2^32. */

#include <pppctl/workload.h>

#define NUMBER_MAX (UINT64_C(1) << 32) /* 0 + … + 2^32-1 is the last such sum below 2^63 */

/*
 * 0, or a negative errno after ppp_fail(). A number past @max is PPP_REASON_TOO_LARGE, with
 * @detail.
 */
int number_parse(struct ppp_task *task, const char *input, size_t n_input, uint64_t max,
                 enum ppp_too_large detail, uint64_t *ret);
