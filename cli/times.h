#pragma once

/* Shows people the points in time that pppd sends (RFC 3339, UTC). */

#include <time.h>

#include "lib/util.h"

#define TIMES_SIZE 64

/* "2025-11-22 19:13:05" in local time; what is no such time is returned as it is. */
const char *times_local(const char *rfc3339, char text[TIMES_SIZE]);

/*
 * The same in 11 columns at most, for tables: "19:13:05" if that was today, as @now has it,
 * "11-22 19:13" in this year, else "2025-11-22".
 */
const char *times_brief(const char *rfc3339, time_t now, char text[TIMES_SIZE]);
