#pragma once

/* What an error means to the daemon: what to do about it, and whether it passes by itself. */

#include "lib/fault.h"

/* Text for what to do about @error on the file system of the state directory, or what else it is
 * about. */
const char *failure_advice(int error);

/* Whether an error goes away if nobody does anything about it. */
enum failure_kind {
        FAILURE_PASSES, /* for want of what others give back, or a fault that need not come again */
        FAILURE_STAYS,  /* something is gone, or is not what it was */
        FAILURE_UNKNOWN, /* somebody may have to mend it first */
};

enum failure_kind failure_kind(int error);

/* Whether it is for want of what a job that ends gives back. */
bool failure_is_want(int error);

/*
 * Whether what failed may be done later as it was asked. A part of a request that cannot be had is
 * to be asked for otherwise, unless it was for want of something.
 */
bool failure_may_pass(const struct fault *fault);
