#pragma once

/*
 * Draws jobs below each other on one axis of time, which begins where each of them began: a row for
 * each worker, in which each task is a bar, or a row for several workers, in which shades show how
 * busy these were. Makes text of what it is given, and knows neither the daemon nor the terminal.
 */

#include <stdio.h>

#include "lib/level.h"
#include "lib/results.h"
#include "lib/workload.h"

#define TIMELINE_WIDTH_MIN 60
#define TIMELINE_WIDTH_MAX 1000

struct timeline_style {
        size_t width; /* of the terminal, at least TIMELINE_WIDTH_MIN */
        bool utf8;    /* else ASCII */
        bool color;
};

struct timeline_job {
        uint64_t number;
        const char *name; /* of its level: "async+threads" */
        enum level level;
        enum workload_id workload;
        uint64_t n_workers;            /* that it had; 0: not known */
        double wall_seconds;           /* negative: not known yet */
        double queued_seconds;         /* the part of these before it began; negative: not known */
        const char *state;             /* unless it is done: "running"; NULL: it is */
        const char *note;              /* "median of 5 runs"; NULL: none */
        const struct results *results; /* borrowed */
        uint64_t begin_ns;             /* of the job, in the time of its records */
        uint64_t end_ns;               /* or how far it has come; 0: the end of its last task */
};

/* Returns 0 or -ENOMEM. */
int timeline_draw(const struct timeline_job *jobs, size_t n, const struct timeline_style *style,
                  FILE *file);
