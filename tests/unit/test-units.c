/* How pppctl writes numbers, times, progress and tables for people. */

#include "cli/progress.h"
#include "cli/table.h"
#include "cli/times.h"
#include "cli/units.h"
#include "tests/unit/test.h"

static void test_units(void)
{
        char text[UNITS_SIZE];

        test_str(units_seconds(0, text), "0 s");
        test_str(units_seconds(1e-9, text), "1 ns");
        test_str(units_seconds(999.4e-9, text), "999 ns");
        test_str(units_seconds(999.6e-9, text), "1.00 us");
        test_str(units_seconds(0.0000421, text), "42.1 us");
        test_str(units_seconds(0.0009996, text), "1.00 ms");
        test_str(units_seconds(0.2023, text), "202 ms");
        test_str(units_seconds(0.99949, text), "999 ms");
        test_str(units_seconds(0.9996, text), "1.00 s");
        test_str(units_seconds(1.234, text), "1.23 s");
        test_str(units_seconds(9.996, text), "10.0 s");
        test_str(units_seconds(99.9, text), "99.9 s");
        test_str(units_seconds(99.96, text), "1 min 40 s");
        test_str(units_seconds(3599.6, text), "1 h 00 min");
        test_str(units_seconds(7380, text), "2 h 03 min");
        test_str(units_bytes(0, text), "0 B");
        test_str(units_bytes(1023, text), "1023 B");
        test_str(units_bytes(37478, text), "36.6 KiB");
        test_str(units_bytes(1048575, text), "1.00 MiB");
        test_str(units_bytes(1.5 * 1024 * 1024 * 1024, text), "1.50 GiB");
        test_str(units_rate(19.52, text), "19.5");
        test_str(units_rate(839808, text), "839808");
        test_str(units_rate(12345678, text), "12.3M");
        test_str(units_count(4294967296, text), "4294967296");
}

static void test_times(void)
{
        char text[TIMES_SIZE];

        setenv("TZ", "UTC-2", 1);
        tzset();
        test_str(times_local("2025-11-22T23:13:05Z", text), "2025-11-23 01:13:05");
        test_str(times_local("2025-11-22T23:13:05.123Z", text), "2025-11-23 01:13:05");
        test_str(times_local("yesterday", text), "yesterday");
        test_str(times_local("", text), "");
        /* 2025-11-23 01:30:00 at UTC+2 */
        test_str(times_brief("2025-11-22T23:13:05Z", 1763854200, text), "01:13:05");
        test_str(times_brief("2025-11-22T21:13:05Z", 1763854200, text), "11-22 23:13");
        test_str(times_brief("2024-11-23T12:13:05Z", 1763854200, text), "2024-11-23");
        test_str(times_brief("yesterday", 1763854200, text), "yesterday");
        unsetenv("TZ");
        tzset();
}

static void test_progress_line(void)
{
        struct progress_state state = {
                .label = "job 12",
                .done = 50,
                .failed = 2,
                .total = 100,
                .elapsed_ns = 5 * NSEC_PER_SEC,
        };
        char line[256];

        progress_format(&state, 200, line, sizeof(line));
        test_str(line,
                 "job 12 [============>           ] 50 of 100, 2 failed  10.0/s, 5.00 s left");
        progress_format(&state, 20, line, sizeof(line));
        test_int(strlen(line), ==, 19);
        state.done = 100;
        state.failed = 0;
        progress_format(&state, 200, line, sizeof(line));
        test_str(line, "job 12 [========================] 100 of 100");
        state = (struct progress_state){ .label = "x" };
        progress_format(&state, 200, line, sizeof(line));
        test_str(line, "x [>                       ] 0 of 0");
}

static void check_table(size_t room, bool may_turn, const char *expected)
{
        struct table table = TABLE_NULL;
        char *text = NULL;

        table_add_column(&table, "NAME", true);
        table_add_column(&table, "N", false);
        table_add_column(&table, "LONG NAME", false);
        for (int i = 0; i < 2; ++i) {
                table_add(&table, "row %d", i);
                table_add(&table, "%d", i * 100);
                table_add(&table, "x");
        }
        test_int(table_print(&table, room, may_turn, false, &text), ==, 0);
        test_str(text, expected);
        free(text);
        table_deinit(&table);
}

static void test_table(void)
{
        check_table(SIZE_MAX, true,
                    "NAME     N  LONG NAME\n"
                    "row 0    0          x\n"
                    "row 1  100          x");
        check_table(20, true,
                    "NAME    N LONG NAME\n"
                    "row 0   0         x\n"
                    "row 1 100         x");
        check_table(18, true,
                    "NAME       row 0  row 1\n"
                    "N              0    100\n"
                    "LONG NAME      x      x");
        check_table(18, false,
                    "NAME    N LONG NAME\n"
                    "row 0   0         x\n"
                    "row 1 100         x");
}

TEST_MAIN("units", { "numbers for people", test_units }, { "times for people", test_times },
          { "progress bar", test_progress_line }, { "tables", test_table })
