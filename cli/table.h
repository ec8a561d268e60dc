#pragma once

/*
 * A table for people, by libsmartcols. Where it does not fit, its columns move closer; where that
 * is not enough, it may be turned on its side, the columns becoming rows.
 */

#include <stdio.h>

#include "lib/util.h"

#define TABLE_COLUMNS_MAX 16

struct table {
        const char *names[TABLE_COLUMNS_MAX]; /* static text */
        bool left[TABLE_COLUMNS_MAX];         /* text; numbers stand right */
        size_t n_columns;
        char **cells; /* row by row */
        size_t n_cells, size_cells;
        bool no_memory; /* a cell got lost: table_print() says so */
};

#define TABLE_NULL             \
        {                      \
                .n_columns = 0 \
        }

void table_add_column(struct table *table, const char *name, bool left);

/* The next cell, from left to right, row by row; hidden characters are escaped (cli/visible.h). */
void table_add(struct table *table, const char *format, ...) _printf_(2, 3);
void table_deinit(struct table *table);

/* Columns of the terminal on standard output; SIZE_MAX where it is none. */
size_t table_room(void);

/*
 * The text without its last newline, owned by the caller, for @room columns. Returns 0, or prints
 * the error and returns an exit status.
 */
int table_print(const struct table *table, size_t room, bool may_turn, bool color, char **ret_text);
