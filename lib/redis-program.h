#pragma once

/* The server of a private Redis. */

#include "lib/util.h"

#define REDIS_PROGRAM_NAMES "redis-server or valkey-server"

/* Its path, the first found in $PATH; owned by the caller. -ENOENT: there is none; -ENOMEM. */
int redis_program_find(char **ret);
