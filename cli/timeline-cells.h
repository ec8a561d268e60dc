#pragma once

/*
 * A job's records, counted into the cells of a picture: rows from top to bottom, columns of time
 * from left to right. A row is a worker, or a band of workers where there are more of them than
 * rows. Nothing is kept of a single task, and each costs the same however long it is, so that
 * millions of them are counted in a moment.
 */

#include "lib/results.h"

#define TIMELINE_ROWS_MAX 12
#define TIMELINE_EIGHTHS  8 /* of a column: the terminal has characters for so many widths */

struct timeline_cell {
        double busy;       /* tasks in progress here, on average */
        uint32_t n_begun;  /* tasks that begin here */
        uint32_t n_ended;  /* tasks that end here */
        uint32_t n_within; /* tasks that do both */
        uint8_t begin_at;  /* where the first of them begins, in eighths from the left, 0 to 7 */
        uint8_t end_at;    /* where the last of them ends, 1 to 8 */
        bool odd;          /* the last that begins here is the second, fourth, ... of its row */
        bool failing;      /* and it fails */
        bool failed;       /* a task that fails ends here */
};

struct timeline_row {
        uint32_t first, last; /* numbers of its workers */
        uint32_t n_workers;   /* those of them that had a task */
        uint64_t n_tasks;
        struct timeline_cell *cells; /* as many as there are columns */
};

struct timeline_cells {
        uint64_t n_done, n_failed;
        uint64_t first_ns, last_ns; /* the first start and the last end, as in the records */
        double busy_ns;             /* of all tasks together */
        uint32_t n_workers;         /* that had a task */
        uint32_t n_rows;
        struct timeline_row rows[TIMELINE_ROWS_MAX];
        size_t n_columns;
        double busy_max; /* of all cells */
        bool overlap;    /* a worker has several tasks at once, as a node has */
        uint32_t peak;   /* most tasks in progress at once, of many moments that were looked at */
        uint16_t *row_of_worker;   /* owned */
        struct timeline_cell *all; /* owned: the cells of all rows */
};

#define TIMELINE_CELLS_NULL \
        {                   \
                .n_rows = 0 \
        }

/* Counts tasks and workers, and gives each worker its row. 0 or -ENOMEM. */
int timeline_cells_init(struct timeline_cells *cells, const struct results *results);
void timeline_cells_deinit(struct timeline_cells *cells);

/*
 * Fills the cells of @n_columns columns, which are @span_ns together and begin at @begin_ns.
 * Records that have come since timeline_cells_init() are left out. 0 or -ENOMEM.
 */
int timeline_cells_fill(struct timeline_cells *cells, const struct results *results,
                        uint64_t begin_ns, uint64_t span_ns, size_t n_columns);
