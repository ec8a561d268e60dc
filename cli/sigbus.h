#pragma once

/*
 * A mapping of a file that somebody cuts short: touching what is gone would kill us (SIGBUS). Once
 * the guard is set, such a page reads as zeros instead, as those of a sparse file do, and
 * sigbus_was_hit() tells that this happened, so that it becomes an error like any other.
 */

#include <stdbool.h>

/* For the whole process, from now on. Returns 0 or a negative errno. */
int sigbus_guard(void);

/* Since the guard was set last. */
bool sigbus_was_hit(void);
