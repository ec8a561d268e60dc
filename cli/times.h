#pragma once

/* Points in time as pppd tells them (RFC 3339, UTC), for people. */

#include "lib/util.h"

#define TIMES_SIZE 64

/* "2025-11-22 19:13:05" in local time; what is no such time is returned as it is. */
const char *times_local(const char *rfc3339, char text[TIMES_SIZE]);
