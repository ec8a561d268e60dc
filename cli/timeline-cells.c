#include "cli/timeline-cells.h"

#define N_WORKERS (UINT16_MAX + 1)
#define NO_ROW    UINT16_MAX
#define N_MOMENTS 65536 /* at which the tasks in progress are counted */

/* Marks the workers that had a task, by any other number than NO_ROW. */
static void count(struct timeline_cells *cells, const struct results *results)
{
        struct ppp_record record;

        cells->first_ns = UINT64_MAX;
        for (uint64_t i = 0; i < results->n_tasks; ++i) {
                if (!results_get(results, i, &record))
                        continue;
                if (record.state == PPP_STATE_DONE)
                        ++cells->n_done;
                else
                        ++cells->n_failed;
                cells->first_ns = MIN(cells->first_ns, record.start_ns);
                cells->last_ns = MAX(cells->last_ns, MAX(record.start_ns, record.end_ns));
                if (record.end_ns > record.start_ns)
                        cells->busy_ns += (double)(record.end_ns - record.start_ns);
                cells->n_workers += cells->row_of_worker[record.worker] == NO_ROW;
                cells->row_of_worker[record.worker] = 0;
        }
        if (cells->first_ns == UINT64_MAX)
                cells->first_ns = 0;
}

/* Bands of as many workers each, the last one perhaps of fewer. */
static void assign_rows(struct timeline_cells *cells)
{
        uint32_t band = (cells->n_workers + TIMELINE_ROWS_MAX - 1) / TIMELINE_ROWS_MAX, n = 0;

        for (uint32_t i = 0; i < N_WORKERS; ++i) {
                struct timeline_row *row;

                if (cells->row_of_worker[i] == NO_ROW)
                        continue;
                cells->row_of_worker[i] = (uint16_t)(n++ / band);
                row = &cells->rows[cells->row_of_worker[i]];
                if (row->n_workers++ == 0)
                        row->first = i;
                row->last = i;
                cells->n_rows = cells->row_of_worker[i] + 1U;
        }
}

int timeline_cells_init(struct timeline_cells *cells, const struct results *results)
{
        *cells = (struct timeline_cells)TIMELINE_CELLS_NULL;
        cells->row_of_worker = calloc(N_WORKERS, sizeof(*cells->row_of_worker));
        if (!cells->row_of_worker)
                return -ENOMEM;
        memset(cells->row_of_worker, 0xff, N_WORKERS * sizeof(*cells->row_of_worker));
        count(cells, results);
        assign_rows(cells);
        return 0;
}

void timeline_cells_deinit(struct timeline_cells *cells)
{
        free(cells->row_of_worker);
        free(cells->all);
        *cells = (struct timeline_cells)TIMELINE_CELLS_NULL;
}

/* Where a point in time is, in columns; a picture has no place for what is outside of it. */
static double column_at(uint64_t ns, uint64_t begin_ns, double columns_per_ns, size_t n_columns)
{
        double at = ns > begin_ns ? (double)(ns - begin_ns) * columns_per_ns : 0;

        return MIN(at, (double)n_columns);
}

/* How much of the cell @column lies between @begin and @end. */
static double part_of_cell(size_t column, double begin, double end)
{
        double left = MAX(begin, (double)column), right = MIN(end, (double)column + 1);

        return MAX(right - left, 0.0);
}

/* Each task is shown, so the shortest takes an eighth. */
static void add_task(struct timeline_row *row, size_t n_columns, double begin, double end,
                     bool failed)
{
        size_t last = n_columns * TIMELINE_EIGHTHS - 1;
        size_t from = MIN((size_t)(begin * TIMELINE_EIGHTHS + 0.5), last);
        size_t to = MAX((size_t)(end * TIMELINE_EIGHTHS + 0.5), from + 1) - 1;
        size_t a = from / TIMELINE_EIGHTHS, b = to / TIMELINE_EIGHTHS;
        struct timeline_cell *first = &row->cells[a], *final = &row->cells[b];

        if (first->n_begun++ == 0)
                first->begin_at = (uint8_t)(from % TIMELINE_EIGHTHS);
        first->begin_at = MIN(first->begin_at, (uint8_t)(from % TIMELINE_EIGHTHS));
        first->odd = row->n_tasks++ % 2;
        first->failing = failed;
        first->busy += part_of_cell(a, begin, end);
        final->n_ended++;
        final->end_at = MAX(final->end_at, (uint8_t)(to % TIMELINE_EIGHTHS + 1));
        final->failed |= failed;
        if (a == b)
                final->n_within++;
        else
                final->busy += part_of_cell(b, begin, end);
}

/* Adds the tasks that go through a cell from its left to its right to those that touch it. */
static void settle(struct timeline_cells *cells)
{
        for (uint32_t i = 0; i < cells->n_rows; ++i) {
                struct timeline_row *row = &cells->rows[i];
                uint64_t active = 0;

                for (size_t k = 0; k < cells->n_columns; ++k) {
                        struct timeline_cell *cell = &row->cells[k];

                        cell->busy += (double)(active - (cell->n_ended - cell->n_within));
                        active += cell->n_begun;
                        active -= cell->n_ended;
                        cells->busy_max = MAX(cells->busy_max, cell->busy);
                        cells->overlap |= cell->busy > row->n_workers + 0.01;
                }
        }
}

/* Counts the task at those of the moments that it is in progress at. */
static void add_moments(int32_t *changes, const struct timeline_cells *cells,
                        const struct ppp_record *record)
{
        double span = (double)(cells->last_ns - cells->first_ns);
        double per_ns = span > 0 ? N_MOMENTS / span : 0;

        ++changes[(size_t)column_at(record->start_ns, cells->first_ns, per_ns, N_MOMENTS)];
        --changes[(size_t)column_at(record->end_ns, cells->first_ns, per_ns, N_MOMENTS)];
}

static uint32_t highest(const int32_t *changes)
{
        int64_t now = 0, most = 0;

        for (size_t i = 0; i <= N_MOMENTS; ++i) {
                now += changes[i];
                most = MAX(most, now);
        }
        return (uint32_t)most;
}

int timeline_cells_fill(struct timeline_cells *cells, const struct results *results,
                        uint64_t begin_ns, uint64_t span_ns, size_t n_columns)
{
        _cleanup_free_ int32_t *changes = calloc(N_MOMENTS + 1, sizeof(*changes));
        double per_ns = (double)n_columns / (double)MAX(span_ns, UINT64_C(1));
        struct ppp_record record;

        assert(!cells->all && n_columns > 0);

        cells->all = calloc(MAX(cells->n_rows, 1U) * n_columns, sizeof(*cells->all));
        if (!changes || !cells->all)
                return -ENOMEM;
        cells->n_columns = n_columns;
        for (uint32_t i = 0; i < cells->n_rows; ++i)
                cells->rows[i].cells = cells->all + i * n_columns;
        for (uint64_t i = 0; i < results->n_tasks; ++i) {
                double begin, end;

                if (!results_get(results, i, &record) ||
                    cells->row_of_worker[record.worker] == NO_ROW)
                        continue;
                record.end_ns = MAX(record.start_ns, record.end_ns);
                begin = column_at(record.start_ns, begin_ns, per_ns, n_columns);
                end = column_at(record.end_ns, begin_ns, per_ns, n_columns);
                add_task(&cells->rows[cells->row_of_worker[record.worker]], n_columns, begin, end,
                         record.state == PPP_STATE_FAILED);
                add_moments(changes, cells, &record);
        }
        settle(cells);
        cells->peak = MAX(highest(changes), (uint32_t)(cells->n_workers > 0));
        return 0;
}
