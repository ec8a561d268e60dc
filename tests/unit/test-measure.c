/* The histogram and the global lock. */

#include <pthread.h>

#include "daemon/runner/gil.h"
#include "daemon/runner/histogram.h"
#include "tests/unit/test.h"

static void test_buckets(void)
{
        unsigned last = 0;

        for (uint64_t v = 0; v < 100000; ++v) {
                unsigned bucket = histogram_bucket(v);

                test_true(bucket == last || bucket == last + 1);
                last = bucket;
        }
        test_int(histogram_bucket(UINT64_MAX), ==, HISTOGRAM_BUCKETS - 1);
}

static void test_quantiles(void)
{
        struct histogram histogram = {};

        for (uint64_t v = 1; v <= 10000; ++v)
                histogram_add(&histogram, v * 1000);
        for (int percent = 1; percent <= 100; ++percent) {
                uint64_t exact = (uint64_t)percent * 100000;
                uint64_t q = histogram_quantile(&histogram, percent / 100.0);

                test_int(q, >=, exact);
                test_int(q, <=, exact + exact / 31);
        }
        test_int(histogram_quantile(&histogram, 1), ==, 10000000);
}

static void test_json(void)
{
        struct histogram histogram = {};
        json_t *json;

        histogram_add(&histogram, NSEC_PER_SEC);
        json = histogram_to_json(&histogram);
        test_true(json_real_value(json_object_get(json, "p50")) == 1.0);
        test_true(json_real_value(json_object_get(json, "max")) == 1.0);
        test_int(json_object_size(json), ==, 4);
        json_decref(json);
}

/* Threads that compute under the lock and yield when asked, until all have had enough turns. */
#define TURNS 20

struct taker {
        struct gil *gil;
        uint64_t *inside; /* only who holds the lock may touch these two */
        uint64_t *turns;
        pthread_t thread;
};

static void *take_turns(void *userdata)
{
        struct taker *taker = userdata;

        gil_acquire(taker->gil);
        while (*taker->turns < TURNS) {
                uint64_t seen = ++*taker->inside;

                if (gil_wanted(taker->gil)) {
                        gil_yield(taker->gil);
                        ++*taker->turns;
                } else if (*taker->inside != seen) {
                        test_fail_at("two threads hold the lock");
                }
        }
        gil_release(taker->gil);
        return NULL;
}

static void test_gil(void)
{
        struct gil gil;
        uint64_t inside = 0, turns = 0, begin = now_monotonic();
        struct taker takers[3];

        test_int(gil_init(&gil), ==, 0);
        for (size_t i = 0; i < ARRAY_SIZE(takers); ++i) {
                takers[i] = (struct taker){ &gil, &inside, &turns, 0 };
                test_int(pthread_create(&takers[i].thread, NULL, take_turns, &takers[i]), ==, 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(takers); ++i)
                pthread_join(takers[i].thread, NULL);
        test_int(turns, >=, TURNS);
        /* Each turn was asked for by a thread that had waited for the whole interval. */
        test_int(now_monotonic() - begin, >=, TURNS / ARRAY_SIZE(takers) * GIL_INTERVAL_NS);
        gil_deinit(&gil);
}

TEST_MAIN("measure", { "buckets follow each other", test_buckets },
          { "quantiles within 3.2 %", test_quantiles }, { "JSON of a distribution", test_json },
          { "the global lock is handed over", test_gil })
