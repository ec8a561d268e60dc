#pragma once

/* An axis of time with marks at round times: 0, 200 ms, 400 ms, ... */

#include "lib/util.h"

#define TIME_AXIS_LABEL_SIZE 32

struct time_axis {
        uint64_t span_ns; /* from its left end to its right */
        size_t n_columns;
        uint64_t step_ns; /* between two marks */
};

/* As many marks as there is room for, when each needs @room columns. */
struct time_axis time_axis_of(uint64_t span_ns, size_t n_columns, size_t room);

/* The column of the mark @i, from 0; SIZE_MAX when the axis ends before it. */
size_t time_axis_column(const struct time_axis *axis, size_t i);

/* "400 ms"; all marks of an axis have the same unit. Returns @text. */
const char *time_axis_label(const struct time_axis *axis, size_t i,
                            char text[static TIME_AXIS_LABEL_SIZE]);
