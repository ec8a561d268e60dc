#pragma once

/*
 * Numbers for people: three significant digits and a unit. Each writes into the caller's buffer and
 * returns it.
 */

#include <inttypes.h>

#include "lib/util.h"

#define UNITS_SIZE 40

const char *units_seconds(double seconds, char text[UNITS_SIZE]); /* "202 ms", "1.23 s" */
const char *units_bytes(double bytes, char text[UNITS_SIZE]);     /* "36.6 MiB" */
const char *units_rate(double per_second, char text[UNITS_SIZE]); /* "19.5", "12.3M" */
const char *units_count(double count, char text[UNITS_SIZE]);     /* "3794": exact */
const char *units_ratio(double ratio, char text[UNITS_SIZE]);     /* "3.97" */
