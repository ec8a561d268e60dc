#pragma once

/*
 * A mapped file may be cut short by another process, and touching a page that is gone would kill us
 * (SIGBUS). Once the guard is set, such a page reads as zeros instead, as those of a sparse file
 * do, and sigbus_was_hit() tells that this happened, so that it becomes an error like any other.
 */

#include <stdbool.h>

/* Sets the guard for the whole process. Returns 0 or a negative errno. */
int sigbus_guard(void);

/* Whether such a page was touched since the guard was set last. */
bool sigbus_was_hit(void);
