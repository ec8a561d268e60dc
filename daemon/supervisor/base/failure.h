#pragma once

/* Tells what an error means to the daemon: what to do about it, and whether it passes by itself. */

#include "lib/fault.h"

/* Says what to do about @error, which is most often one of the state directory's file system. */
const char *failure_advice(int error);

/* Whether an error can go away without anybody doing something about it. */
enum failure_kind {
        FAILURE_PASSES,  /* yes: others release what was lacking, or it need not happen again */
        FAILURE_STAYS,   /* no: a file is missing or damaged */
        FAILURE_UNKNOWN, /* perhaps not: somebody may have to repair something first */
};

enum failure_kind failure_kind(int error);

/* Whether @error is a lack of something that a job releases when it ends, such as memory. */
bool failure_is_want(int error);

/*
 * Whether the same request may succeed later. If a part of it was refused, it never will, unless
 * that was for lack of something (failure_is_want()).
 */
bool failure_may_pass(const struct fault *fault);
