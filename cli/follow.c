#include "cli/follow.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/command-output.h"
#include "cli/rows.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "cli/sigbus.h"

/* At most this many new results are sorted at once, which bounds the memory. */
#define BATCH_MAX (256 * 1024)
#define BATCH_MIN 256
#define WORD_BITS 64

struct follow_entry {
        uint64_t end_ns;
        uint64_t index;
};

static int say_bad_results(int r)
{
        if (r == -EBADMSG)
                return cli_fail(CLI_FAILED,
                                "cannot read the job's results: the file is cut short, or not of a "
                                "format that pppctl " PPPCTL_VERSION " knows");
        return cli_fail(CLI_FAILED, "cannot map the job's results: %s", strerrordesc_np(-r));
}

static int say_cut(void)
{
        return cli_fail(CLI_FAILED,
                        "cannot read all of the job's results: the file was cut short meanwhile, "
                        "and what was past its end is lost; see which program writes into jobs/ of "
                        "pppd's state directory, and run the job again");
}

int follow_check_mapped(void)
{
        return sigbus_was_hit() ? say_cut() : 0;
}

/*
 * Where the file was cut in the middle of a page, the rest of the page reads as zeros, without a
 * signal.
 */
static int check_size(const struct follow *follow)
{
        struct stat st;

        if (sigbus_was_hit() ||
            (fstat(follow->fd, &st) == 0 && (uint64_t)st.st_size < follow->results.size))
                return say_cut();
        return 0;
}

int follow_map(int results_fd, struct results *ret)
{
        int r = sigbus_guard();

        if (r >= 0)
                r = results_map(results_fd, false, ret);
        return r < 0 ? say_bad_results(r) : 0;
}

int follow_init(struct follow *follow, int results_fd, const struct inputs *inputs,
                struct output *output, bool ordered, enum follow_show show)
{
        int r;

        *follow = (struct follow){
                .inputs = inputs,
                .output = output,
                .ordered = ordered,
                .show = show,
                .fd = -EBADF,
        };
        follow->fd = fcntl(results_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (follow->fd < 0)
                return say_bad_results(-errno);
        r = follow_map(results_fd, &follow->results);
        if (r)
                return r;
        if (follow->results.n_tasks != inputs->n)
                return cli_fail(CLI_FAILED,
                                "cannot read the job's results: they are of %" PRIu64
                                " tasks, but there are %" PRIu64 " inputs",
                                follow->results.n_tasks, inputs->n);
        if (ordered || show == FOLLOW_NOTHING)
                return 0;
        follow->printed = calloc(inputs->n / WORD_BITS + 1, sizeof(*follow->printed));
        return follow->printed ? 0 : cli_no_memory();
}

void follow_deinit(struct follow *follow)
{
        results_unmap(&follow->results);
        close_fd(follow->fd);
        free(follow->printed);
        free(follow->batch);
        *follow = (struct follow)FOLLOW_NULL;
}

/* A worker's next task is near its last one, so this is mostly a step of one line. */
static const char *find_input(struct follow *follow, uint16_t worker, uint64_t index, size_t *ret_n)
{
        struct follow_cursor *cursor = &follow->cursors[worker % FOLLOW_CURSORS];

        if (!cursor->at || index < cursor->index || index - cursor->index > INPUTS_STRIDE) {
                cursor->at = inputs_get(follow->inputs, index, ret_n);
                cursor->index = index;
                return cursor->at;
        }
        *ret_n = inputs_length(follow->inputs, cursor->at);
        for (; cursor->index < index; ++cursor->index) {
                cursor->at = inputs_next(cursor->at, *ret_n);
                *ret_n = inputs_length(follow->inputs, cursor->at);
        }
        return cursor->at;
}

static void print_one(struct follow *follow, uint64_t index)
{
        struct ppp_record record;
        const char *input;
        size_t n;

        if (!results_get(&follow->results, index, &record))
                return;
        if (follow->show == FOLLOW_FAILED && record.state != PPP_STATE_FAILED)
                return;
        input = find_input(follow, record.worker, index, &n);
        if (follow->output->rows)
                rows_put(follow->output->rows, follow->output, index, input, n, &record);
        else if (follow->output->commands)
                command_output_put(follow->output->commands, follow->output, index, input, n,
                                   &record);
        else
                output_result(follow->output, index, input, n, &record);
}

static bool is_before(const struct follow_entry *a, const struct follow_entry *b)
{
        return a->end_ns != b->end_ns ? a->end_ns < b->end_ns : a->index < b->index;
}

/* The end of the run, of entries that are in order already, that begins at @from. */
static size_t run_end(const struct follow_entry *entries, size_t from, size_t n)
{
        while (++from < n && !is_before(&entries[from], &entries[from - 1]))
                ;
        return MIN(from, n);
}

/* Two runs, [0, middle) and [middle, n), into one. */
static void merge(const struct follow_entry *from, size_t middle, size_t n, struct follow_entry *to)
{
        size_t a = 0, b = middle;

        while (a < middle && b < n)
                *to++ = from[is_before(&from[b], &from[a]) ? b++ : a++];
        to = mempcpy(to, from + a, (middle - a) * sizeof(*to));
        memcpy(to, from + b, (n - b) * sizeof(*to));
}

/* Merges neighbouring runs; returns how many are left. */
static size_t merge_pairs(const struct follow_entry *from, size_t n, struct follow_entry *to)
{
        size_t n_runs = 0;

        for (size_t at = 0, middle, end; at < n; at = end, ++n_runs) {
                middle = run_end(from, at, n);
                end = run_end(from, middle, n);
                merge(from + at, middle - at, end - at, to + at);
        }
        return n_runs;
}

/*
 * By their end. Each worker's chunk of the list is in order, so there are few runs, and merging
 * them is many times faster than qsort(3). Returns where the sorted entries are.
 */
static const struct follow_entry *sort_batch(struct follow *follow)
{
        struct follow_entry *from = follow->batch, *to = follow->batch + follow->size_batch;
        size_t n = follow->n_batch;

        if (run_end(from, 0, n) == n)
                return from;
        while (merge_pairs(from, n, to) > 1) {
                struct follow_entry *swap = from;

                from = to;
                to = swap;
        }
        return to;
}

static void print_batch(struct follow *follow)
{
        const struct follow_entry *sorted;

        if (follow->n_batch == 0)
                return;
        progress_clear();
        sorted = sort_batch(follow);
        for (size_t i = 0; i < follow->n_batch; ++i)
                print_one(follow, sorted[i].index);
        follow->n_batch = 0;
}

static int add_entry(struct follow *follow, uint64_t index, uint64_t end_ns)
{
        if (follow->n_batch == BATCH_MAX)
                print_batch(follow);
        if (follow->n_batch == follow->size_batch) {
                size_t size = MAX(follow->size_batch * 2, (size_t)BATCH_MIN);
                struct follow_entry *p = reallocarray(follow->batch, 2 * size, sizeof(*p));

                if (!p)
                        return cli_no_memory();
                follow->batch = p;
                follow->size_batch = size;
        }
        follow->batch[follow->n_batch++] = (struct follow_entry){ end_ns, index };
        return 0;
}

/* Results are below header->next, except those of a part of the job before it was resumed. */
static uint64_t scan_end(const struct follow *follow, bool final)
{
        uint64_t next = __atomic_load_n(&follow->results.header->next, __ATOMIC_ACQUIRE);

        return final ? follow->results.n_tasks : MIN(next, follow->results.n_tasks);
}

static int collect(struct follow *follow, uint64_t end)
{
        for (uint64_t i = follow->low; i < end; ++i) {
                uint64_t *word = &follow->printed[i / WORD_BITS];
                uint64_t bit = UINT64_C(1) << i % WORD_BITS;
                int r;

                if (*word == UINT64_MAX)
                        i |= WORD_BITS - 1;
                if (*word & bit)
                        continue;
                if (record_state(&follow->results.records[i]) == PPP_STATE_NONE)
                        continue;
                r = add_entry(follow, i, follow->results.records[i].end_ns);
                if (r)
                        return r;
                *word |= bit;
        }
        while (follow->low < end &&
               (follow->printed[follow->low / WORD_BITS] >> follow->low % WORD_BITS & 1))
                ++follow->low;
        return 0;
}

static void print_in_order(struct follow *follow, bool final)
{
        uint64_t n = follow->results.n_tasks;

        for (; follow->low < n; ++follow->low) {
                if (!final && record_state(&follow->results.records[follow->low]) == PPP_STATE_NONE)
                        return;
                progress_clear();
                print_one(follow, follow->low);
        }
}

bool follow_has_begun(const struct results *results)
{
        const struct ppp_results_header *header = results->header;

        return __atomic_load_n(&header->next, __ATOMIC_ACQUIRE) > 0 ||
               __atomic_load_n(&header->n_done, __ATOMIC_RELAXED) > 0 ||
               __atomic_load_n(&header->n_failed, __ATOMIC_RELAXED) > 0;
}

int follow_update(struct follow *follow, bool final)
{
        int r = 0;

        if (!follow->results.header || follow->show == FOLLOW_NOTHING)
                return 0;
        if (!follow_has_begun(&follow->results))
                return check_size(follow);
        if (follow->ordered)
                print_in_order(follow, final);
        else
                r = collect(follow, scan_end(follow, final));
        if (r == 0)
                print_batch(follow);
        return r ? r : check_size(follow);
}
