#pragma once

/*
 * TLS on a connection that is made, where hiredis has it (1.0 and newer): its library for that, and so
 * OpenSSL, is opened at run time by the first that needs it.
 */

#include "lib/redis.h"

/* Whether rediss: can be had in this build. */
bool redis_tls_is_built(void);

/* Begins the handshake. 0, or a negative errno with redis->trouble and redis->why set. */
int redis_tls_start(struct redis *redis);
