#include "cli/time-axis.h"

#include <stdio.h>

#define MINUTE (60 * NSEC_PER_SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* From a minute on, round times are not those that are round numbers of seconds. */
static uint64_t next_step(uint64_t step)
{
        static const uint64_t steps[] = { 30 * NSEC_PER_SEC, MINUTE,    2 * MINUTE, 5 * MINUTE,
                                          10 * MINUTE,       HOUR / 2,  HOUR,       2 * HOUR,
                                          6 * HOUR,          12 * HOUR, DAY };
        uint64_t power = 1;

        for (size_t i = 0; step >= 20 * NSEC_PER_SEC && i < ARRAY_SIZE(steps); ++i)
                if (steps[i] > step)
                        return steps[i];
        if (step >= DAY)
                return step * 2;
        while (power <= step / 10)
                power *= 10;
        return step < 2 * power ? 2 * power : step < 5 * power ? 5 * power : 10 * power;
}

struct time_axis time_axis_of(uint64_t span_ns, size_t n_columns, size_t room)
{
        struct time_axis axis = { MAX(span_ns, UINT64_C(1)), n_columns, 1 };

        while ((double)axis.step_ns * (double)n_columns < (double)axis.span_ns * (double)room)
                axis.step_ns = next_step(axis.step_ns);
        return axis;
}

size_t time_axis_column(const struct time_axis *axis, size_t i)
{
        double at =
                (double)i * (double)axis->step_ns * (double)axis->n_columns / (double)axis->span_ns;

        return at < (double)axis->n_columns ? (size_t)at : SIZE_MAX;
}

const char *time_axis_label(const struct time_axis *axis, size_t i,
                            char text[static TIME_AXIS_LABEL_SIZE])
{
        static const struct {
                uint64_t ns;
                const char *name;
        } units[] = {
                { DAY, "d" },          { HOUR, "h" },           { MINUTE, "min" },
                { NSEC_PER_SEC, "s" }, { NSEC_PER_MSEC, "ms" }, { 1000, "us" },
                { 1, "ns" },
        };
        size_t unit = 0;

        while (unit + 1 < ARRAY_SIZE(units) && axis->span_ns < units[unit].ns)
                ++unit;
        if (i == 0)
                snprintf(text, TIME_AXIS_LABEL_SIZE, "0");
        else
                snprintf(text, TIME_AXIS_LABEL_SIZE, "%.6g %s",
                         (double)i * (double)axis->step_ns / (double)units[unit].ns,
                         units[unit].name);
        return text;
}
