#include "cli/timeline.h"

#include <inttypes.h>
#include <stdarg.h>

#include "cli/time-axis.h"
#include "cli/timeline-cells.h"
#include "cli/timeline-glyph.h"
#include "cli/units.h"
#include "cli/visible.h"

#define LABEL_SIZE   40
#define MARK_ROOM    11 /* columns from one mark of the axis to the next, at least */
#define INDENT       2
#define QUEUED_SHOWN 0.1 /* of the wall time, and seconds: less would explain nothing */

struct drawing {
        const struct timeline_style *style;
        const struct timeline_job *jobs;
        size_t n;
        struct timeline_cells *cells; /* of each job; owned */
        size_t gutter;                /* columns of the labels, with the line beside them */
        struct time_axis axis;
        struct timeline_seen seen;
        FILE *file;
};

/* "process 0", "slots 22-43" */
static int format_label(const struct timeline_job *job, const struct timeline_row *row,
                        char text[static LABEL_SIZE])
{
        const struct level_info *level = level_info(job->level);

        if (row->first == row->last)
                return snprintf(text, LABEL_SIZE, "%s %" PRIu32, level->worker, row->first);
        return snprintf(text, LABEL_SIZE, "%s %" PRIu32 "-%" PRIu32, level->workers, row->first,
                        row->last);
}

static uint64_t begin_of(const struct drawing *drawing, size_t i)
{
        const struct timeline_cells *cells = &drawing->cells[i];
        uint64_t begin = drawing->jobs[i].begin_ns;

        return cells->n_rows > 0 ? MIN(begin, cells->first_ns) : begin;
}

static uint64_t span_of(const struct drawing *drawing, size_t i)
{
        uint64_t begin = begin_of(drawing, i);
        uint64_t end = MAX(drawing->jobs[i].end_ns, drawing->cells[i].last_ns);

        return end > begin ? end - begin : 0;
}

static int measure(struct drawing *drawing)
{
        uint64_t span = 0;

        for (size_t i = 0; i < drawing->n; ++i) {
                struct timeline_cells *cells = &drawing->cells[i];
                char label[LABEL_SIZE];

                if (timeline_cells_init(cells, drawing->jobs[i].results) < 0)
                        return -ENOMEM;
                span = MAX(span, span_of(drawing, i));
                for (uint32_t k = 0; k < cells->n_rows; ++k) {
                        int n = format_label(&drawing->jobs[i], &cells->rows[k], label);

                        drawing->gutter = MAX(drawing->gutter, (size_t)n + INDENT + 2);
                }
        }
        drawing->axis = time_axis_of(span, drawing->style->width - drawing->gutter, MARK_ROOM);
        for (size_t i = 0; i < drawing->n; ++i)
                if (timeline_cells_fill(&drawing->cells[i], drawing->jobs[i].results,
                                        begin_of(drawing, i), drawing->axis.span_ns,
                                        drawing->axis.n_columns) < 0)
                        return -ENOMEM;
        return 0;
}

static const char *styled(const struct drawing *drawing, const char *sequence)
{
        return drawing->style->color ? sequence : "";
}

/* Text that is broken between its parts, where a line is full. */
struct parts {
        const struct drawing *drawing;
        size_t column, indent;
};

static _printf_(2, 3) void put_part(struct parts *parts, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        FILE *file = parts->drawing->file;
        size_t n;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        n = text ? strlen(text) : 0;
        if (parts->column > 0 && parts->column + 2 + n > parts->drawing->style->width) {
                fprintf(file, "\n%*s", (int)parts->indent, "");
                parts->column = parts->indent;
        } else if (parts->column > 0) {
                fputs("  ", file);
                parts->column += 2;
        }
        visible_put(file, text ?: "", n);
        parts->column += n;
}

static const char *activity(enum workload_id workload)
{
        const struct workload_info *info = workload_info(workload);

        return info->waits && info->computes ? "" : info->waits ? " (waits)" : " (computes)";
}

/* "4 of 256 slots, in 12 rows": whatever is not in the picture is told. */
static void put_workers(struct parts *parts, const struct timeline_job *job,
                        const struct timeline_cells *cells)
{
        const struct level_info *level = level_info(job->level);
        uint64_t n = MAX(job->n_workers, (uint64_t)cells->n_workers);
        const char *name = n == 1 ? level->worker : level->workers;
        char used[32] = "", rows[32] = "";

        if (!level_has(job->level, LEVEL_LOCAL))
                n = cells->n_workers;
        if (cells->n_workers < n)
                snprintf(used, sizeof(used), "%" PRIu32 " of ", cells->n_workers);
        if (cells->n_workers > cells->n_rows)
                snprintf(rows, sizeof(rows), " in %" PRIu32 " rows", cells->n_rows);
        put_part(parts, "%s%" PRIu64 " %s%s", used, n, name, rows);
}

static void put_times(struct parts *parts, const struct timeline_job *job, uint64_t span_ns)
{
        char wall[UNITS_SIZE], queued[UNITS_SIZE];

        if (job->wall_seconds < 0) {
                put_part(parts, "%s so far", units_seconds((double)span_ns / 1e9, wall));
                return;
        }
        if (job->queued_seconds < MAX(job->wall_seconds * QUEUED_SHOWN, QUEUED_SHOWN)) {
                put_part(parts, "%s", units_seconds(job->wall_seconds, wall));
                return;
        }
        put_part(parts, "%s, of which %s before it began", units_seconds(job->wall_seconds, wall),
                 units_seconds(job->queued_seconds, queued));
}

static void put_heading(struct drawing *drawing, size_t i)
{
        const struct timeline_job *job = &drawing->jobs[i];
        const struct timeline_cells *cells = &drawing->cells[i];
        struct parts parts = { .drawing = drawing, .indent = INDENT };
        uint64_t span = span_of(drawing, i);
        char mean[UNITS_SIZE];

        fputs(styled(drawing, "\033[1m"), drawing->file);
        put_part(&parts, "job %" PRIu64, job->number);
        put_part(&parts, "%s", job->name);
        fputs(styled(drawing, "\033[0m"), drawing->file);
        put_part(&parts, "%s%s", workload_name(job->workload), activity(job->workload));
        put_workers(&parts, job, cells);
        put_times(&parts, job, span);
        if (cells->n_failed > 0)
                put_part(&parts, "%" PRIu64 " done, %" PRIu64 " failed", cells->n_done,
                         cells->n_failed);
        else
                put_part(&parts, "%" PRIu64 " done", cells->n_done);
        if (cells->n_rows > 0 && span > 0)
                put_part(&parts, "up to %" PRIu32 " at once, mean %s", cells->peak,
                         units_ratio(cells->busy_ns / (double)span, mean));
        if (job->state)
                put_part(&parts, "%s%s", job->state,
                         job->wall_seconds < 0 ? ": only what has ended is shown" : "");
        if (job->note)
                put_part(&parts, "%s", job->note);
        putc('\n', drawing->file);
}

static void put_label(struct drawing *drawing, const char *label, const char *line)
{
        fprintf(drawing->file, "%*s %s%s%s", (int)drawing->gutter - 2, label,
                styled(drawing, "\033[2m"), line, styled(drawing, "\033[0m"));
}

/* Waiting is blue, computing is yellow, and both is green. */
static uint8_t color_of(enum workload_id workload)
{
        const struct workload_info *info = workload_info(workload);

        return info->waits && info->computes ? 32 : info->waits ? 34 : 33;
}

static void put_row(struct drawing *drawing, size_t i, const struct timeline_row *row)
{
        const struct timeline_cells *cells = &drawing->cells[i];
        struct timeline_walk walk = {
                .style = drawing->style,
                .color = color_of(drawing->jobs[i].workload),
                .bars = row->n_workers == 1 && !cells->overlap,
                .capacity = cells->overlap ? cells->busy_max : row->n_workers,
                .seen = &drawing->seen,
        };
        struct timeline_glyph last = { .text = "" };
        size_t mark = 1;
        char label[LABEL_SIZE];

        format_label(&drawing->jobs[i], row, label);
        put_label(drawing, label, drawing->style->utf8 ? "│" : "|");
        for (size_t k = 0; k < cells->n_columns; ++k) {
                const struct timeline_cell *next =
                        k + 1 < cells->n_columns ? &row->cells[k + 1] : NULL;
                bool marked = time_axis_column(&drawing->axis, mark) == k;
                struct timeline_glyph glyph =
                        timeline_glyph_of(&walk, &row->cells[k], next, marked);

                mark += marked;
                timeline_glyph_put(drawing->file, drawing->style->color, &glyph, &last);
        }
        timeline_glyph_put(drawing->file, drawing->style->color, NULL, &last);
        putc('\n', drawing->file);
}

static void put_axis_line(struct drawing *drawing)
{
        bool utf8 = drawing->style->utf8;
        size_t mark = 1;

        put_label(drawing, "", utf8 ? "└" : "+");
        fputs(styled(drawing, "\033[2m"), drawing->file);
        for (size_t k = 0; k < drawing->axis.n_columns; ++k) {
                bool marked = time_axis_column(&drawing->axis, mark) == k;

                mark += marked;
                fputs(!utf8 ? marked ? "+" : "-" : marked ? "┴" : "─", drawing->file);
        }
        fprintf(drawing->file, "%s\n", styled(drawing, "\033[0m"));
}

/* Below its mark each, and the last one only where there is room for it. */
static void put_axis_labels(struct drawing *drawing)
{
        size_t at = 0, width = drawing->style->width;

        for (size_t i = 0;; ++i) {
                size_t column = time_axis_column(&drawing->axis, i), n;
                char label[TIME_AXIS_LABEL_SIZE];

                if (column == SIZE_MAX)
                        break;
                column += i == 0 ? drawing->gutter - 1 : drawing->gutter;
                n = strlen(time_axis_label(&drawing->axis, i, label));
                if (column + n > width)
                        break;
                fprintf(drawing->file, "%*s%s", (int)(column - at), "", label);
                at = column + n;
        }
        putc('\n', drawing->file);
}

static void put_legend(struct drawing *drawing)
{
        struct parts parts = { .drawing = drawing };
        bool utf8 = drawing->style->utf8;

        fputs(styled(drawing, "\033[2m"), drawing->file);
        if (drawing->seen.bar)
                put_part(&parts, "%s a task", utf8 ? "█" : "###");
        if (drawing->seen.shade)
                put_part(&parts, "%s several tasks: how busy", utf8 ? "░▒▓█" : ".-=#");
        if (drawing->seen.failure)
                put_part(&parts, "%s a task that failed", utf8 ? "×" : "x");
        fprintf(drawing->file, "%s%s", styled(drawing, "\033[0m"), parts.column ? "\n" : "");
}

static void draw(struct drawing *drawing)
{
        for (size_t i = 0; i < drawing->n; ++i) {
                put_heading(drawing, i);
                for (uint32_t k = 0; k < drawing->cells[i].n_rows; ++k)
                        put_row(drawing, i, &drawing->cells[i].rows[k]);
        }
        if (drawing->gutter > 0) {
                put_axis_line(drawing);
                put_axis_labels(drawing);
        }
        put_legend(drawing);
}

int timeline_draw(const struct timeline_job *jobs, size_t n, const struct timeline_style *style,
                  FILE *file)
{
        struct drawing drawing = { .style = style, .jobs = jobs, .n = n, .file = file };
        int r;

        assert(style->width >= TIMELINE_WIDTH_MIN);

        drawing.cells = calloc(MAX(n, (size_t)1), sizeof(*drawing.cells));
        if (!drawing.cells)
                return -ENOMEM;
        r = measure(&drawing);
        if (r >= 0)
                draw(&drawing);
        for (size_t i = 0; i < n; ++i)
                timeline_cells_deinit(&drawing.cells[i]);
        free(drawing.cells);
        return r;
}
