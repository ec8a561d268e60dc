/* The pictures of pppctl timeline: records in, lines of text out. */

#include "cli/time-axis.h"
#include "cli/timeline-cells.h"
#include "cli/timeline.h"
#include "tests/unit/test.h"

#define MS NSEC_PER_MSEC

static const struct timeline_style ascii = { .width = 60 };
static const struct timeline_style utf8 = { .width = 60, .utf8 = true };
static const struct timeline_style color = { .width = 60, .utf8 = true, .color = true };

static struct ppp_record task(uint16_t worker, uint64_t start, uint64_t end)
{
        return (struct ppp_record){
                .start_ns = start, .end_ns = end, .worker = worker, .state = PPP_STATE_DONE
        };
}

static struct ppp_record failed_task(uint16_t worker, uint64_t start, uint64_t end)
{
        struct ppp_record record = task(worker, start, end);

        record.state = PPP_STATE_FAILED;
        return record;
}

static struct results results_of(struct ppp_record *records, uint64_t n)
{
        return (struct results){ .records = records, .n_tasks = n };
}

static struct timeline_job job_of(enum level level, const struct results *results)
{
        return (struct timeline_job){
                .number = 7,
                .name = level_name(level),
                .level = level,
                .workload = WORKLOAD_SLEEP,
                .n_workers = 1,
                .wall_seconds = 0.5,
                .queued_seconds = -1,
                .results = results,
        };
}

static const char *draw_jobs(const struct timeline_job *jobs, size_t n,
                             const struct timeline_style *style)
{
        static char *text;
        size_t size;
        FILE *file;

        free(text);
        file = open_memstream(&text, &size);
        test_true(file);
        test_int(timeline_draw(jobs, n, style, file), ==, 0);
        test_int(fclose(file), ==, 0);
        return text;
}

static const char *draw(enum level level, struct ppp_record *records, uint64_t n,
                        const struct timeline_style *style)
{
        struct results results = results_of(records, n);
        struct timeline_job job = job_of(level, &results);

        return draw_jobs(&job, 1, style);
}

/* The row is 48 columns of 10 ms: "  thread 0 |" takes 12 of the 60. */
static void test_one_task(void)
{
        struct ppp_record records[] = { task(0, 0, 480 * MS) };

        test_str(draw(LEVEL_SERIAL, records, 1, &ascii),
                 "job 7  serial  sleep (waits)  1 thread  500 ms  1 done\n"
                 "  up to 1 at once, mean 1.00\n"
                 "  thread 0 |################################################\n"
                 "           +--------------------+-------------------+-------\n"
                 "           0                    200 ms              400 ms\n"
                 "### a task\n");
}

static void test_lanes(void)
{
        struct ppp_record records[] = {
                task(0, 0, 240 * MS),
                task(2, 20 * MS, 100 * MS),
                task(0, 240 * MS, 480 * MS),
                task(2, 200 * MS, 300 * MS),
        };
        struct results results = results_of(records, 4);
        struct timeline_job job = job_of(LEVEL_THREADS, &results);

        job.n_workers = 4;
        test_str(draw_jobs(&job, 1, &ascii),
                 "job 7  threads  sleep (waits)  2 of 4 threads  500 ms\n"
                 "  4 done  up to 2 at once, mean 1.38\n"
                 "  thread 0 |########################|#######################\n"
                 "  thread 2 |  ########          ##########          :       \n"
                 "           +--------------------+-------------------+-------\n"
                 "           0                    200 ms              400 ms\n"
                 "### a task\n");
}

/* Ends are exact to an eighth of a column, of which each is 1250 us; beginnings too, in colors. */
static void test_eighths(void)
{
        struct ppp_record records[] = {
                task(0, 0, 12500 * 1000),
                task(0, 30 * MS, 42500 * 1000),
                task(0, 55 * MS, 60 * MS),
                task(0, 470 * MS, 480 * MS),
        };

        test_contains(draw(LEVEL_SERIAL, records, 4, &utf8), "│█▎ █▎▐  ");
        test_contains(draw(LEVEL_SERIAL, records, 4, &color),
                      "\033[0;34m█▎\033[0m \033[0;94m█▎\033[0;7;34m▌\033[0m  ");
}

/* Two tasks of which one ends where the other begins are told apart. */
static void test_boundaries(void)
{
        struct ppp_record records[] = {
                task(0, 0, 25 * MS),
                task(0, 25 * MS, 50 * MS),
                task(0, 50 * MS, 100 * MS),
                task(0, 470 * MS, 480 * MS),
        };

        test_contains(draw(LEVEL_SERIAL, records, 4, &ascii), "|##|##|#### ");
        test_contains(draw(LEVEL_SERIAL, records, 4, &utf8), "│██▌█▉█████ ");
        test_contains(draw(LEVEL_SERIAL, records, 4, &color),
                      "\033[0;34m██\033[0;34;104m▌\033[0;94m██\033[0;34m█████\033[0m ");
        /* In colors, an eighth between them is not drawn, and more is. */
        records[1].start_ns = 26250 * 1000;
        test_contains(draw(LEVEL_SERIAL, records, 4, &color), "\033[0;34m██\033[0;34;104m▌");
        records[1].start_ns = 28750 * 1000;
        test_contains(draw(LEVEL_SERIAL, records, 4, &color), "\033[0;34m██▌\033[0;94m██");
}

static void test_failures(void)
{
        struct ppp_record records[] = {
                failed_task(0, 0, 30 * MS),
                task(0, 100 * MS, 130 * MS),
                failed_task(0, 250 * MS, 250 * MS),
                task(0, 470 * MS, 480 * MS),
        };

        test_contains(draw(LEVEL_SERIAL, records, 4, &ascii), "|##x       ###       :    x   ");
        test_contains(draw(LEVEL_SERIAL, records, 4, &ascii), "2 done, 2 failed");
        test_contains(draw(LEVEL_SERIAL, records, 4, &ascii), "### a task  x a task that failed\n");
        test_contains(draw(LEVEL_SERIAL, records, 4, &utf8), "│██×       ███    ");
        test_contains(draw(LEVEL_SERIAL, records, 4, &color),
                      "\033[0;31m██\033[0;97;41m×\033[0m       \033[0;94m███");
}

/* A cell with several tasks is as dark as it is busy. */
static void test_density(void)
{
        struct ppp_record records[480];

        for (size_t i = 0; i < 480; ++i) {
                uint64_t busy = i < 120 ? 100 : i < 240 ? 400 : i < 360 ? 700 : 1000;

                records[i] = task(0, i * MS, i * MS + busy * 1000);
        }
        test_contains(draw(LEVEL_SERIAL, records, 480, &ascii),
                      "|............------------============############\n");
        test_contains(draw(LEVEL_SERIAL, records, 480, &ascii), ".-=# several tasks: how busy\n");
        test_contains(draw(LEVEL_SERIAL, records, 480, &utf8),
                      "│░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓████████████\n");
        records[200].state = PPP_STATE_FAILED;
        test_contains(draw(LEVEL_SERIAL, records, 480, &ascii), "|............--------x---===");
}

/* 30 slots: 10 rows of 3, with 3, 2 or 1 of them busy. */
static void test_bands(void)
{
        struct ppp_record records[30];
        struct results results = results_of(records, 30);
        struct timeline_job job = job_of(LEVEL_ASYNC, &results);
        const char *text;

        for (uint16_t i = 0; i < 30; ++i)
                records[i] = task(i, 0, (i % 3 + 1) * 100 * MS);
        job.n_workers = 256;
        text = draw_jobs(&job, 1, &ascii);
        test_contains(text, "30 of 256 slots in 10 rows");
        test_contains(text, "    slots 0-2 |###############===============---------------\n");
        test_contains(text, "  slots 27-29 |###############===============---------------\n");
        test_contains(text, "up to 30 at once, mean 20.0");
        test_true(!strstr(text, "a task"));
        test_true(!strstr(text, "slots 30"));
}

/* A node has several tasks at once: it is as dark as the busiest one lets it be. */
static void test_nodes(void)
{
        struct ppp_record records[] = {
                task(0, 0, 450 * MS), task(0, 0, 450 * MS), task(0, 0, 450 * MS),
                task(0, 0, 450 * MS), task(1, 0, 450 * MS),
        };

        test_contains(draw(LEVEL_MACHINES, records, 5, &ascii), "2 nodes");
        test_contains(draw(LEVEL_MACHINES, records, 5, &ascii), "  node 0 |######");
        test_contains(draw(LEVEL_MACHINES, records, 5, &ascii), "  node 1 |......");
}

/* Each job begins at the left side, and the longest one says how long the axis is. */
static void test_several_jobs(void)
{
        struct ppp_record slow[] = { task(0, 900 * MS, 1140 * MS), task(0, 1140 * MS, 1380 * MS) };
        struct ppp_record fast[] = { task(0, 50 * MS, 290 * MS), task(1, 50 * MS, 290 * MS) };
        struct results results[] = { results_of(slow, 2), results_of(fast, 2) };
        struct timeline_job jobs[] = {
                job_of(LEVEL_SERIAL, &results[0]),
                job_of(LEVEL_THREADS, &results[1]),
        };
        const char *text;

        jobs[0].begin_ns = 900 * MS;
        jobs[0].wall_seconds = 1.4;
        jobs[0].queued_seconds = 0.9;
        jobs[1].begin_ns = 50 * MS;
        jobs[1].note = "median of 5 runs";
        text = draw_jobs(jobs, 2, &ascii);
        test_contains(text, "1.40 s, of which 900 ms before it began");
        test_contains(text, "  thread 0 |########################|#######################\n");
        test_contains(text, "  thread 1 |########################            ");
        test_contains(text, "median of 5 runs");
        test_true(strstr(strstr(text, "200 ms") + 1, "200 ms") == NULL);
}

static void test_zero_length(void)
{
        struct ppp_record records[] = { task(0, 0, 0), task(0, 5 * MS, 5 * MS) };

        test_contains(draw(LEVEL_SERIAL, records, 1, &utf8), "│▏ ");
        test_contains(draw(LEVEL_SERIAL, records, 2, &utf8), "│▏");
        test_contains(draw(LEVEL_SERIAL, records, 2, &utf8), "▕\n");
}

/* What a damaged file may say: a task that ends before it starts, or that began before its job. */
static void test_nonsense(void)
{
        struct ppp_record records[] = {
                task(0, 200 * MS, 100 * MS),
                task(UINT16_MAX, 10 * MS, 480 * MS),
        };
        struct results results = results_of(records, 2);
        struct timeline_job job = job_of(LEVEL_THREADS, &results);

        job.begin_ns = UINT64_MAX;
        test_contains(draw_jobs(&job, 1, &ascii), "thread 65535 |#####");
        records[0].start_ns = UINT64_MAX;
        test_contains(draw_jobs(&job, 1, &utf8), " d\n");
        records[1].end_ns = UINT64_MAX;
        records[0].end_ns = 0;
        job.state = "\033[2J";
        test_contains(draw_jobs(&job, 1, &utf8), "  \\x1b[2J\n");
}

static void test_no_record(void)
{
        struct ppp_record records[] = { { .state = PPP_STATE_NONE } };
        struct results results = results_of(records, 1);
        struct timeline_job job = job_of(LEVEL_SERIAL, &results);

        job.wall_seconds = -1;
        job.end_ns = 2 * NSEC_PER_SEC;
        job.state = "running";
        test_str(draw_jobs(&job, 1, &ascii),
                 "job 7  serial  sleep (waits)  0 of 1 thread  2.00 s so far\n"
                 "  0 done  running: only what has ended is shown\n");
}

/* No line is wider than the terminal, and rows are as wide as it is. */
static size_t check_widths(const char *text, size_t width)
{
        size_t n_full = 0;

        for (const char *line = text, *end; *line; line = end + 1) {
                size_t columns = 0;

                end = strchr(line, '\n');
                for (const char *p = line; p < end; ++p)
                        columns += (*p & 0xc0) != 0x80;
                test_int(columns, <=, width);
                n_full += columns == width;
        }
        return n_full;
}

static void test_widths(void)
{
        static const size_t widths[] = { 60, 61, 79, 80, 120, 200, 1000 };
        struct ppp_record records[400];
        struct results results = results_of(records, 400);
        struct timeline_job job = job_of(LEVEL_ASYNC, &results);

        for (uint16_t i = 0; i < 400; ++i)
                records[i] = (i % 7 ? task : failed_task)(i % 40, i * MS, (i + 70) * MS);
        for (size_t i = 0; i < ARRAY_SIZE(widths); ++i) {
                struct timeline_style style = { .width = widths[i] };

                test_int(check_widths(draw_jobs(&job, 1, &style), widths[i]), >=, 11);
                style.utf8 = true;
                test_int(check_widths(draw_jobs(&job, 1, &style), widths[i]), >=, 11);
        }
}

static void test_a_million(void)
{
        const uint64_t n = 1000000;
        struct ppp_record *records = calloc(n, sizeof(*records));
        struct results results = results_of(records, n);
        struct timeline_job job = job_of(LEVEL_THREADS, &results);

        test_true(records);
        for (uint64_t i = 0; i < n; ++i)
                records[i] = task((uint16_t)(i % 6), i / 6 * 1000, i / 6 * 1000 + 900);
        test_contains(draw_jobs(&job, 1, &utf8), "1000000 done");
        test_contains(draw_jobs(&job, 1, &utf8), "thread 5 │██████");
        free(records);
}

static void test_counts(void)
{
        struct ppp_record records[] = { task(3, 0, 10), task(3, 10, 20), task(9, 5, 15),
                                        failed_task(9, 15, 40) };
        struct results results = results_of(records, 4);
        struct timeline_cells cells;

        test_int(timeline_cells_init(&cells, &results), ==, 0);
        test_int(timeline_cells_fill(&cells, &results, 0, 40, 4), ==, 0);
        test_int(cells.n_done, ==, 3);
        test_int(cells.n_failed, ==, 1);
        test_int(cells.n_workers, ==, 2);
        test_int(cells.n_rows, ==, 2);
        test_int(cells.peak, ==, 2);
        test_int(cells.busy_ns, ==, 55);
        test_int(cells.rows[1].first, ==, 9);
        test_int(cells.rows[1].cells[1].n_ended, ==, 1);
        test_int(cells.rows[1].cells[1].n_begun, ==, 1);
        test_int(cells.rows[1].cells[0].busy * 10, ==, 5);
        test_int(cells.rows[1].cells[2].busy * 10, ==, 10);
        test_true(cells.rows[1].cells[3].failed);
        test_true(!cells.overlap);
        timeline_cells_deinit(&cells);
}

static void check_axis(uint64_t span, const char *second, const char *last)
{
        struct time_axis axis = time_axis_of(span, 70, 11);
        char label[TIME_AXIS_LABEL_SIZE];
        size_t n = 1;

        test_str(time_axis_label(&axis, 1, label), second);
        while (time_axis_column(&axis, n) != SIZE_MAX) {
                test_int(time_axis_column(&axis, n) - time_axis_column(&axis, n - 1), >=, 10);
                ++n;
        }
        test_str(time_axis_label(&axis, n - 1, label), last);
}

static void test_axis(void)
{
        check_axis(1, "1 ns", "0");
        check_axis(812 * MS, "200 ms", "800 ms");
        check_axis(1100 * MS, "0.2 s", "1 s");
        check_axis(48 * 1000, "10 us", "40 us");
        check_axis(59 * NSEC_PER_SEC, "10 s", "50 s");
        check_axis(170 * NSEC_PER_SEC, "0.5 min", "2.5 min");
        check_axis(24 * 60 * NSEC_PER_SEC, "5 min", "20 min");
        check_axis(5 * 3600 * NSEC_PER_SEC, "1 h", "4 h");
        check_axis(UINT64_C(400) * 86400 * NSEC_PER_SEC, "64 d", "384 d");
}

TEST_MAIN("timeline", { "one task", test_one_task }, { "a lane for each worker", test_lanes },
          { "bars that are exact to an eighth", test_eighths },
          { "boundaries between tasks", test_boundaries }, { "failures", test_failures },
          { "several tasks in a cell", test_density }, { "bands of slots", test_bands },
          { "nodes with several tasks at once", test_nodes },
          { "jobs below each other", test_several_jobs },
          { "tasks of no length", test_zero_length }, { "nonsense", test_nonsense },
          { "a job without a record", test_no_record }, { "widths", test_widths },
          { "a million tasks", test_a_million }, { "counts of cells", test_counts },
          { "axes of time", test_axis })
