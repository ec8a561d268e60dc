#pragma once

/*
 * A log-linear histogram of nanoseconds: 32 buckets for each power of two, so a quantile is at most
 * 3.2 % above the true value. The maximum is exact. 15 KiB, embedded by value.
 */

#include <jansson.h>

#include "lib/util.h"

#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
        uint64_t n;
        uint64_t max;
        uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t v)
{
        unsigned shift;

        if (v < (1U << (HISTOGRAM_SUB_BITS + 1)))
                return (unsigned)v;
        shift = 63U - (unsigned)__builtin_clzll(v) - HISTOGRAM_SUB_BITS;
        return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(v >> shift);
}

static inline void histogram_add(struct histogram *histogram, uint64_t v)
{
        ++histogram->counts[histogram_bucket(v)];
        ++histogram->n;
        if (v > histogram->max)
                histogram->max = v;
}

static inline void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; ++i)
                histogram->counts[i] += other->counts[i];
        histogram->n += other->n;
        if (other->max > histogram->max)
                histogram->max = other->max;
}

/*
 * The highest value that falls into the bucket of the @q-th part of all (0 < q <= 1); needs n > 0.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double q);

/* {"p50", "p90", "p99", "max"} in seconds; NULL when out of memory. Needs n > 0. */
json_t *histogram_to_json(const struct histogram *histogram);
