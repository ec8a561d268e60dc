#include "daemon/runner/cursor.h"

#include "daemon/runner/runner.h"

#define CHUNK_MAX 1024 /* 32 KiB of records */
#define CHUNK_NS  (100 * NSEC_PER_USEC)

/*
 * As many as will take CHUNK_NS, going by the last chunk. So a task that waits or computes is
 * claimed when it can start, and not stuck behind others while a worker is free; and tasks that do
 * nothing come by the thousand, so that workers neither fight for the counter nor write to the same
 * pages.
 */
static uint64_t adapt_chunk(struct worker *worker)
{
        uint64_t now = now_monotonic(), took = MAX(now - worker->claimed_ns, UINT64_C(1));
        uint64_t fitting = worker->chunk * CHUNK_NS / took;

        worker->claimed_ns = now;
        return MIN(MAX(fitting, UINT64_C(1)), MIN(2 * worker->chunk, UINT64_C(1) * CHUNK_MAX));
}

/* Of an even share of what is left for a worker it claims one part at a time, */
#define SHARE_PARTS 4

/* so that no worker ends long after the others. */
static uint64_t chunk_size(struct worker *worker, uint64_t next)
{
        const struct runner *runner = worker->runner;
        uint64_t left = runner->results.n_tasks - next;

        worker->chunk = MIN(MAX(left / (SHARE_PARTS * (uint64_t)runner->spec.workers), UINT64_C(1)),
                            adapt_chunk(worker));
        return worker->chunk;
}

/* The memory of all workers is measured by the first that ends, while the others are there. */
static bool nothing_left(struct runner *runner)
{
        measure_memory_of_workers(runner);
        return false;
}

static bool cursor_claim(struct task_source *source, struct worker *worker)
{
        struct task_cursor *cursor = container_of(source, struct task_cursor, source);
        struct runner *runner = cursor->runner;
        uint64_t *counter = &runner->results.header->next;
        uint64_t n = runner->results.n_tasks, next, size;

        next = __atomic_load_n(counter, __ATOMIC_RELAXED);
        if (next >= n || runner_cancelled(runner))
                return nothing_left(runner);
        size = chunk_size(worker, next);
        next = __atomic_fetch_add(counter, size, __ATOMIC_RELAXED);
        if (next >= n)
                return nothing_left(runner);
        worker_hold(worker, &cursor->tasks, 0, next, MIN(next + size, n));
        return true;
}

static bool cursor_closed(const struct task_source *source, const struct worker *worker)
{
        const struct task_cursor *cursor = container_of(source, struct task_cursor, source);
        const struct results *results = &cursor->runner->results;

        if (task_source_leaves(source))
                return true;
        return worker->next >= worker->end &&
               __atomic_load_n(&results->header->next, __ATOMIC_RELAXED) >= results->n_tasks;
}

static const char *cursor_input(struct task_source *source, const struct worker *worker)
{
        const struct task_cursor *cursor = container_of(source, struct task_cursor, source);
        size_t n;

        return inputs_get(&cursor->runner->inputs, worker->next, &n);
}

/*
 * The counter has passed these tasks, so no other worker could claim them. At processes they stay
 * in the worker's row (levels/worker-row.h), for its replacement.
 */
static void cursor_give_back(struct task_source *source, struct worker *worker)
{
}

static bool cursor_died(struct task_source *source, const struct worker *worker,
                        const struct ppp_record *record)
{
        const struct task_cursor *cursor = container_of(source, struct task_cursor, source);
        struct ppp_record *to = &cursor->tasks.records[worker->current];

        if (record_state(to) != PPP_STATE_NONE)
                return false;
        record_publish(to, record);
        return true;
}

/*
 * While workers run, tasks that one of them has and tasks that are lost look alike: so the records
 * are counted when none runs.
 */
static bool cursor_find_lost(struct task_source *source, unsigned n_workers, task_source_see *see,
                             void *userdata, uint64_t since_ns)
{
        return false;
}

/* Counting the records also corrects the counts that a dead worker had not added yet. */
static bool cursor_offer_lost(struct task_source *source)
{
        struct runner *runner = container_of(source, struct task_cursor, source)->runner;

        if (results_recount(&runner->results) == 0 || runner_cancelled(runner))
                return false;
        runner->resuming = true;
        __atomic_store_n(&runner->results.header->next, 0, __ATOMIC_RELAXED);
        return true;
}

static int cursor_wake_fd(const struct task_source *source, unsigned number)
{
        return -EBADF;
}

static const struct task_source_ops cursor_ops = {
        .claim = cursor_claim,
        .closed = cursor_closed,
        .input = cursor_input,
        .give_back = cursor_give_back,
        .died = cursor_died,
        .find_lost = cursor_find_lost,
        .offer_lost = cursor_offer_lost,
        .wake_fd = cursor_wake_fd,
};

void task_cursor_init(struct task_cursor *cursor, struct runner *runner)
{
        const struct spec *spec = &runner->spec;

        *cursor = (struct task_cursor){
                .source = {
                        .ops = &cursor_ops,
                        .drop_fd = -EBADF,
                        .look_ns = spec->task_timeout_ns ?: UINT64_MAX,
                },
                .runner = runner,
                .tasks = {
                        .terms = { runner->workload, spec->task_timeout_ns, spec->retries,
                                   spec->command.words ? command_kill_after(&spec->command) : 0 },
                        .records = runner->results.records,
                        .text_end = runner->inputs.text + runner->inputs.size,
                },
        };
        runner->source = &cursor->source;
}
