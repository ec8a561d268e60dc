#pragma once

/* Whether this machine lets a level run, as far as that can be told without trying. */

#include "lib/spec.h"

/* False: static texts of why not and what to do. */
bool level_is_available(enum level level, const char **ret_why, const char **ret_hint);
