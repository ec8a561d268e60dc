#pragma once

/* Whether this machine lets a level run. */

#include "daemon/supervisor/helpers/engine.h"

/* False: texts of why not and what to do, valid until the next call. */
bool level_is_available(enum level level, const struct engine *engine, const char **ret_why,
                        const char **ret_hint);
