#pragma once

/* Results as rows of columns: a table for people, CSV or TSV for spreadsheets, a job log. */

#include "cli/output.h"
#include "cli/table.h"

enum rows_format {
        ROWS_NONE, /* lines, or JSON */
        ROWS_TABLE,
        ROWS_CSV,    /* RFC 4180, with its header line */
        ROWS_TSV,    /* the same with tabs; a tab, newline, CR or \ in a cell is \t, \n, \r or \\ */
        ROWS_JOBLOG, /* what GNU parallel --joblog writes; of commands only */
};

struct rows {
        enum rows_format format;
        const struct spec *spec;               /* borrowed: the job's */
        const struct command_output *commands; /* borrowed; NULL: its tasks are no commands */
        uint64_t created_ns; /* CLOCK_REALTIME, from which the times of records count */
        bool adds_input;     /* template_expand() */
        struct table table;
        size_t n_cells; /* of the row that is being written */
};

/* The names of the columns. */
void rows_begin(struct rows *rows);

/* A task that has its result. */
void rows_put(struct rows *rows, const struct output *output, uint64_t task, const char *input,
              size_t n_input, const struct ppp_record *record);

/* Prints what has to be known as a whole. Returns 0, or prints the error and returns an exit
 * status. */
int rows_end(struct rows *rows, struct output *output, bool color);
void rows_deinit(struct rows *rows);
