#pragma once

/*
 * What a job's summary tells, one row of metric_infos for each of its members, in the order in
 * which people see them. The supervisor writes the summary and pppctl shows it by this table;
 * include/pppctl/summary.schema.json and pppctl(1) say what each number means.
 */

#include <jansson.h>

#include "lib/spec.h"

enum metric_kind {
        METRIC_COUNT, /* a whole number without a unit */
        METRIC_BYTES, /* a whole number of bytes */
        METRIC_SECONDS,
        METRIC_RATE, /* a number for each second */
        METRIC_RATIO,
        METRIC_TEXT,
        METRIC_DISTRIBUTION, /* an object of seconds: p50, p90, p99 and max */
        METRIC_SECONDS_LIST, /* an array of seconds */
        METRIC_OBJECT,       /* an object with the row's members */
        METRIC_COORDINATOR,  /* an object with the metrics that are set_apart */
        METRIC_LIMITS,       /* an object with the limits of limit_infos and the row's members */
        METRIC_LIMITS_MET,   /* an array: the limits that the job came to */
};

/* How the numbers of the parts of a job that was interrupted become the number of the job. */
enum metric_addition {
        METRIC_ADD,
        METRIC_HIGHEST,
        METRIC_LATEST,
};

struct metric_member {
        const char *key;   /* NULL: the end of the list */
        const char *label; /* its name for people; NULL: pppctl show leaves it out */
        enum metric_kind kind;
        bool required; /* a summary that has the metric has this member */
};

struct metric_info {
        const char *key;
        const char *label;   /* its name for people */
        const char *section; /* of pppctl show; NULL: not shown among the metrics */
        enum metric_kind kind;
        const struct metric_member *members; /* of an object */
        unsigned features;                   /* only levels with one of these have it; 0: all */
        bool of_nodes;                       /* only levels whose tasks run on nodes have it */
        bool threaded;                       /* only jobs with threaded cgroups have it */
        bool executor;                       /* only jobs with an executor have it */
        bool from_runner;                    /* the runner measures it, not the supervisor */
        bool set_apart; /* where tasks run on nodes, it is told of the coordinator alone */
        enum metric_addition addition;
};
extern const struct metric_info metric_infos[];
extern const size_t n_metric_infos;

/* NULL when there is no such metric. */
const struct metric_info *metric_find(const char *key);

/* Whether the summary of a job of this spec has it, or lists it as unavailable. */
bool metric_applies(const struct metric_info *metric, const struct spec *spec);

/* Whether the value is of the metric's kind, and its members are those of the row. */
bool metric_is_valid(const struct metric_info *metric, const json_t *value);

/* Whether @key is a member that says which job the summary is of, and how it was run. */
bool summary_member_is_identity(const char *key);
