#pragma once

/* The character of each cell of a timeline, and its colors. */

#include "cli/timeline-cells.h"
#include "cli/timeline.h"

/* Numbers of SGR sequences: 34, 94, 104; 0: the terminal's own. */
struct timeline_glyph {
        const char *text;
        uint8_t front, back;
        bool reverse, dim;
};

/* The signs that were drawn, so that the legend explains no others. */
struct timeline_seen {
        bool bar, shade, failure;
};

/* A row that is drawn from left to right. */
struct timeline_walk {
        const struct timeline_style *style;
        uint8_t color;     /* of its bars: 34; the next task's is the bright one, 94 */
        bool bars;         /* one worker, one task at a time: bars can be drawn */
        double capacity;   /* tasks that fill a cell */
        uint64_t active;   /* tasks in progress at the left side of the cell */
        bool odd, failing; /* of the last of these: as in struct timeline_cell */
        bool touched;      /* in the cell before, a task ends at its right side */
        struct timeline_seen *seen;
};

/*
 * The glyph of @cell, and goes on to the next one, @next, which is NULL at the end of the row.
 * @marked: a mark of the axis is below.
 */
struct timeline_glyph timeline_glyph_of(struct timeline_walk *walk,
                                        const struct timeline_cell *cell,
                                        const struct timeline_cell *next, bool marked);

/* Writes it; @last, the one before, spares sequences. NULL: only the end of its colors. */
void timeline_glyph_put(FILE *file, bool color, const struct timeline_glyph *glyph,
                        struct timeline_glyph *last);
