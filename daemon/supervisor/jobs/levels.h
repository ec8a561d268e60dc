#pragma once

/* Whether this machine lets a level run. */

#include "daemon/supervisor/helpers/engine.h"

/* False: @fault tells. */
bool level_is_available(enum level level, const struct engine *engine, struct fault *fault);
