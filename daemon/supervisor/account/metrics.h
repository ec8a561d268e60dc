#pragma once

/*
 * The summary's metrics: which keys there are, what they hold, at which levels, and who may tell.
 * The one table that the schema, the runner's measures and the list of what is missing are held to.
 */

#include <jansson.h>

#include "lib/spec.h"

enum metric_kind {
        METRIC_INTEGER,
        METRIC_REAL,
        METRIC_DISTRIBUTION,
        METRIC_RING,
        METRIC_NUMBERS, /* an object whose members are numbers */
        METRIC_REALS,   /* an array of them */
};

struct metric {
        const char *key;
        enum metric_kind kind;
        unsigned levels;  /* bit set of 1 << enum level: where it means something */
        bool from_runner; /* the runner measures it; the supervisor has the others */
        bool threaded;    /* only with threaded cgroups */
};

extern const struct metric metrics[];
extern const size_t n_metrics;

/* NULL when there is no such metric. */
const struct metric *metric_find(const char *key);

/* Whether a job of this spec has it, or lists it as missing. */
bool metric_applies(const struct metric *metric, const struct spec *spec);

/* Whether the value is what the schema wants: type, range, members. */
bool metric_is_valid(const struct metric *metric, const json_t *value);
