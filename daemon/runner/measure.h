#pragma once

/* The runner's measures of its job; see measure.c and runner.h's measure_*(). */

#include "daemon/runner/histogram.h"
#include "daemon/runner/runner.h"

void measure_histogram(struct runner *runner, const char *key, const struct histogram *histogram);

/*
 * Measures the whole job from its records. @workers_peak: sum of its child processes' peak memory.
 */
void measure_job(struct runner *runner, uint64_t workers_peak);

/* Writes all measures to @fd as JSON. */
int measure_write(struct runner *runner, int fd);
