/* The report of `pppctl compare`, and the values by which levels are held against each other. */

#include "cli/compare.h"
#include "cli/reference.h"
#include "cli/summary.h"
#include "tests/unit/capture.h"

static struct capture out;

/* The number of a run's job is its wall time in milliseconds. */
static json_t *run_of(double wall)
{
        return json_pack("{s:i, s:f, s:i, s:f}", "job", (int)(wall * 1000 + 0.5), "wall_seconds",
                         wall, "workers", 2, "tasks_per_second", 20.0);
}

static void fill(struct comparison *comparison)
{
        static const double walls[2][3] = { { 0.8, 0.9, 0.7 }, { 0.1, 0.3, 0.2 } };
        static const enum level levels[] = { LEVEL_THREADS, LEVEL_SERIAL };

        *comparison = (struct comparison){ .n = 2, .workload = WORKLOAD_SUM };
        for (size_t i = 0; i < 2; ++i) {
                comparison->contenders[i] = (struct contender){ .level = levels[i],
                                                                .runs = json_array(),
                                                                .unfinished = json_array() };
                for (size_t k = 0; k < 3; ++k)
                        json_array_append_new(comparison->contenders[i].runs, run_of(walls[i][k]));
        }
}

static bool near(double a, double b)
{
        return a - b < 1e-9 && b - a < 1e-9;
}

static void test_figures(void)
{
        struct comparison comparison;
        double v = 0;

        fill(&comparison);
        test_true(contender_median(&comparison.contenders[0], "wall_seconds", &v) && near(v, 0.8));
        json_array_append_new(comparison.contenders[0].runs, run_of(1.0));
        test_true(contender_median(&comparison.contenders[0], "wall_seconds", &v) && near(v, 0.85));
        json_array_remove(comparison.contenders[0].runs, 3);
        test_true(contender_spread(&comparison.contenders[0], &v) && near(v, 0.25));
        /* Serial is the base, though it is the second here. */
        test_true(comparison_speed_up(&comparison, 0, &v) && near(v, 0.25));
        test_true(comparison_speed_up(&comparison, 1, &v) && near(v, 1));
        test_true(!contender_median(&comparison.contenders[0], "syscalls", &v));
        comparison_deinit(&comparison);
}

/* Of four, the faster one of the two in the middle. */
static void test_middle_job(void)
{
        struct comparison comparison;
        struct contender *contender = &comparison.contenders[0];

        fill(&comparison);
        test_int(contender_middle_job(contender), ==, 800);
        json_array_append_new(contender->runs, run_of(0.1));
        test_int(contender_middle_job(contender), ==, 700);
        json_array_append_new(contender->runs, run_of(0.1));
        test_int(contender_middle_job(contender), ==, 700);
        json_array_clear(contender->runs);
        test_int(contender_middle_job(contender), ==, 0);
        comparison_deinit(&comparison);
}

static void test_table(void)
{
        struct comparison comparison;
        struct output output = OUTPUT_NULL;

        fill(&comparison);
        capture_begin(&out, stdout);
        test_int(comparison_print_table(&comparison, false, &output), ==, 0);
        capture_end(&out);
        test_contains(out.text, "SPREAD");
        test_contains(out.text, "0.25x");
        test_contains(out.text, "[1] PEAK MEM");
        test_contains(out.text, "CPU USER, CPU SYS, PEAK MEM, CTX SW VOL, CTX SW INVOL, P50, P99: "
                                "the summary does not have it and does not say why");
        comparison_deinit(&comparison);
}

static void test_json(void)
{
        struct comparison comparison;
        struct output output = OUTPUT_NULL;
        json_t *json, *first;

        fill(&comparison);
        comparison.n_disagree = 1;
        capture_begin(&out, stdout);
        test_int(comparison_print_json(&comparison, &output), ==, 0);
        json = json_loads(capture_end(&out), 0, NULL);
        test_str(json_string_value(json_object_get(json, "schema")), "io.pppctl.compare");
        test_true(json_is_false(json_object_get(json, "values_agree")));
        first = json_array_get(json_object_get(json, "levels"), 0);
        test_str(json_string_value(json_object_get(first, "level")), "threads");
        test_int(json_array_size(json_object_get(first, "runs")), ==, 3);
        test_true(near(json_real_value(json_object_get(first, "speed_up_ratio")), 0.25));
        json_decref(json);
        comparison_deinit(&comparison);
}

static const char *table_of(const struct comparison *comparison)
{
        struct output output = OUTPUT_NULL;

        capture_begin(&out, stdout);
        test_int(comparison_print_table(comparison, false, &output), ==, 0);
        return capture_end(&out);
}

/* A first level that has no run, as one that was refused, takes nothing from the others. */
static void test_first_level_without_runs(void)
{
        struct comparison comparison;
        double v = 0;

        fill(&comparison);
        json_array_clear(comparison.contenders[0].runs);
        test_contains(table_of(&comparison), "SPREAD");
        comparison.contenders[1].level = LEVEL_ASYNC;
        test_true(comparison_speed_up(&comparison, 1, &v) && near(v, 1));
        test_true(!comparison_speed_up(&comparison, 0, &v));
        comparison_deinit(&comparison);
}

static void test_unfinished(void)
{
        struct comparison comparison;
        struct output output = OUTPUT_NULL;
        json_t *json, *levels;
        double v;

        fill(&comparison);
        json_array_clear(comparison.contenders[1].runs);
        json_array_append_new(comparison.contenders[1].unfinished,
                              json_pack("{s:i, s:s, s:s}", "job", 12, "state", "cancelled",
                                        "reason", "timeout"));
        test_contains(
                table_of(&comparison),
                "serial: job 12 cancelled (its --time-max was up), so what it cost is not shown");
        /* Nothing is faster than a serial job that did not get done. */
        test_true(!comparison_speed_up(&comparison, 0, &v));
        capture_begin(&out, stdout);
        test_int(comparison_print_json(&comparison, &output), ==, 0);
        json = json_loads(capture_end(&out), 0, NULL);
        levels = json_object_get(json, "levels");
        test_true(!json_object_get(json_array_get(levels, 0), "unfinished"));
        test_int(json_array_size(json_object_get(json_array_get(levels, 1), "unfinished")), ==, 1);
        json_decref(json);

        json_array_clear(comparison.contenders[0].runs);
        test_true(!strstr(table_of(&comparison), "WALL"));
        test_contains(out.text, "job 12");
        comparison_deinit(&comparison);
}

/* Whichever level had it first: a task may have failed at the first one, and was perhaps not
 * reached. */
static void test_reference(void)
{
        struct reference reference = REFERENCE_NULL;
        const struct first_value *first;

        test_int(reference_init(&reference, 3), ==, 0);
        test_true(!reference_check(&reference, 0, "serial", 0));
        test_true(!reference_check(&reference, 0, "threads", 0));
        test_true(!reference_check(&reference, 1, "threads", 2));
        first = reference_check(&reference, 1, "async", 3);
        test_true(first);
        test_int(first->value, ==, 2);
        test_str(first->level, "threads");
        test_true(!reference_check(&reference, 1, "processes", 2));
        reference_deinit(&reference);
}

TEST_MAIN("compare", { "figures of a comparison", test_figures },
          { "the job in the middle", test_middle_job }, { "table of a comparison", test_table },
          { "JSON of a comparison", test_json },
          { "a first level without runs", test_first_level_without_runs },
          { "jobs that were not done", test_unfinished },
          { "the first value of a task", test_reference })
