#include "daemon/runner/histogram.h"

static uint64_t bucket_top(unsigned bucket)
{
        unsigned shift;

        if (bucket < (1U << (HISTOGRAM_SUB_BITS + 1)))
                return bucket;
        shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
        return (((uint64_t)bucket - ((uint64_t)shift << HISTOGRAM_SUB_BITS) + 1) << shift) - 1;
}

uint64_t histogram_quantile(const struct histogram *histogram, double q)
{
        uint64_t rank, seen = 0;

        assert(histogram->n > 0 && q > 0 && q <= 1);

        rank = (uint64_t)(q * (double)histogram->n);
        if ((double)rank < q * (double)histogram->n)
                ++rank;
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; ++i) {
                seen += histogram->counts[i];
                if (seen >= rank)
                        return MIN(bucket_top(i), histogram->max);
        }
        return histogram->max;
}

json_t *histogram_to_json(const struct histogram *histogram)
{
        return json_pack("{s:f, s:f, s:f, s:f}", "p50",
                         (double)histogram_quantile(histogram, 0.50) / 1e9, "p90",
                         (double)histogram_quantile(histogram, 0.90) / 1e9, "p99",
                         (double)histogram_quantile(histogram, 0.99) / 1e9, "max",
                         (double)histogram->max / 1e9);
}
