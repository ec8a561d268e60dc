#include "cli/table.h"

#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "cli/say.h"
#include "cli/visible.h"

#define CELLS_MIN 64

/* How a table is laid out. */
struct layout {
        const char *separator;
        bool sideways; /* rows become columns */
        bool color;
};

void table_add_column(struct table *table, const char *name, bool left)
{
        assert(table->n_columns < TABLE_COLUMNS_MAX && table->n_cells == 0);

        table->names[table->n_columns] = name;
        table->left[table->n_columns++] = left;
}

static bool make_room(struct table *table)
{
        size_t size = MAX(table->size_cells * 2, (size_t)CELLS_MIN);
        char **cells;

        if (table->n_cells < table->size_cells)
                return true;
        cells = reallocarray(table->cells, size, sizeof(*cells));
        if (!cells)
                return false;
        table->cells = cells;
        table->size_cells = size;
        return true;
}

void table_add(struct table *table, const char *format, ...)
{
        _cleanup_free_ char *given = NULL;
        char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&given, format, ap) < 0)
                given = NULL;
        va_end(ap);
        if (given)
                text = visible_text(given);
        if (!text || !make_room(table)) {
                free(text);
                table->no_memory = true;
                return;
        }
        table->cells[table->n_cells++] = text;
}

void table_deinit(struct table *table)
{
        for (size_t i = 0; i < table->n_cells; ++i)
                free(table->cells[i]);
        free(table->cells);
        *table = (struct table)TABLE_NULL;
}

size_t table_room(void)
{
        struct winsize ws;

        if (!isatty(STDOUT_FILENO))
                return SIZE_MAX;
        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ? ws.ws_col : 80;
}

static size_t n_rows(const struct table *table)
{
        return table->n_columns ? table->n_cells / table->n_columns : 0;
}

/* Columns the table takes when it stands upright. */
static size_t table_width(const struct table *table, size_t separator)
{
        size_t total = 0;

        for (size_t c = 0; c < table->n_columns; ++c) {
                size_t width = strlen(table->names[c]);

                for (size_t i = c; i < table->n_cells; i += table->n_columns)
                        width = MAX(width, strlen(table->cells[i]));
                total += width + (c > 0 ? separator : 0);
        }
        return total;
}

static struct layout choose_layout(const struct table *table, size_t room, bool may_turn,
                                   bool color)
{
        struct layout layout = { .separator = "  ", .color = color };

        if (table_width(table, 2) <= room)
                return layout;
        if (may_turn && table_width(table, 1) > room)
                layout.sideways = true;
        else
                layout.separator = " ";
        return layout;
}

/* Cell of the table as printed; row 0 is the heading. */
static const char *cell_at(const struct table *table, bool sideways, size_t row, size_t column)
{
        size_t r = sideways ? column : row, c = sideways ? row : column;

        return r == 0 ? table->names[c] : table->cells[(r - 1) * table->n_columns + c];
}

static int add_columns(struct libscols_table *printed, const struct table *table,
                       const struct layout *layout, size_t n)
{
        for (size_t c = 0; c < n; ++c) {
                bool left = layout->sideways ? c == 0 : table->left[c];
                const char *name = cell_at(table, layout->sideways, 0, c);
                struct libscols_column *column =
                        scols_table_new_column(printed, name, 0, left ? 0 : SCOLS_FL_RIGHT);

                if (!column)
                        return -ENOMEM;
                if (layout->color &&
                    scols_cell_set_color(scols_column_get_header(column), "bold") < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int add_lines(struct libscols_table *printed, const struct table *table,
                     const struct layout *layout, size_t n, size_t n_columns)
{
        for (size_t i = 1; i < n; ++i) {
                struct libscols_line *line = scols_table_new_line(printed, NULL);

                if (!line)
                        return -ENOMEM;
                for (size_t c = 0; c < n_columns; ++c) {
                        const char *text = cell_at(table, layout->sideways, i, c);

                        if (scols_line_set_data(line, c, text) < 0)
                                return -ENOMEM;
                }
        }
        return 0;
}

/* The layout is ours to decide, so smartcols is told that there is no terminal to fit. */
static int fill(struct libscols_table *printed, const struct table *table,
                const struct layout *layout)
{
        size_t rows = n_rows(table) + 1;
        size_t lines = layout->sideways ? table->n_columns : rows;
        size_t columns = layout->sideways ? rows : table->n_columns;

        scols_table_enable_colors(printed, layout->color);
        /* Cells are fit to print, see table_add(). */
        scols_table_enable_noencoding(printed, true);
        if (scols_table_set_column_separator(printed, layout->separator) < 0 ||
            scols_table_set_termforce(printed, SCOLS_TERMFORCE_NEVER) < 0 ||
            add_columns(printed, table, layout, columns) < 0 ||
            add_lines(printed, table, layout, lines, columns) < 0)
                return -ENOMEM;
        return 0;
}

int table_print(const struct table *table, size_t room, bool may_turn, bool color, char **ret_text)
{
        struct libscols_table *printed;
        struct layout layout;
        int r;

        if (table->no_memory)
                return cli_no_memory();
        assert(table->n_cells % table->n_columns == 0);

        layout = choose_layout(table, room, may_turn, color);
        printed = scols_new_table();
        r = printed ? fill(printed, table, &layout) : -ENOMEM;
        if (r >= 0)
                r = scols_print_table_to_string(printed, ret_text);
        scols_unref_table(printed);
        return r < 0 ? cli_no_memory() : 0;
}
