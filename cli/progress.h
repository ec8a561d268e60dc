#pragma once

/*
 * The progress bar: the last line of the terminal on standard error, drawn over itself. There is
 * one terminal, so there is one bar. Where standard error is no terminal, or TERM is "dumb", or the
 * user asked for quiet, nothing is ever drawn.
 */

#include "lib/util.h"

enum progress_color {
        PROGRESS_COLOR_AUTO,
        PROGRESS_COLOR_ALWAYS,
        PROGRESS_COLOR_NEVER,
};

/* Whether to colour what goes to @fd: --color, then NO_COLOR (no-color.org), then the terminal. */
bool progress_use_color(enum progress_color color, int fd);

struct progress_state {
        const char *label;            /* "job 12" */
        const char *note;             /* why the job makes no progress: "paused"; NULL: it should */
        uint64_t done, failed, total; /* done: with a result, failed ones included */
        uint64_t elapsed_ns;
};

void progress_enable(bool quiet, enum progress_color color);

/* Jobs shorter than a blink get no bar. */
void progress_draw(const struct progress_state *state);

/* Removes the bar if there is one; whoever prints to the terminal calls it first. */
void progress_clear(void);

/* The bar's line for @columns, without control sequences; at most @size - 1 bytes. */
void progress_format(const struct progress_state *state, size_t columns, char *line, size_t size);
