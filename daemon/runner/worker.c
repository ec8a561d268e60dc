/*
 * What every worker does, whatever it is made of: claim indexes, run each to its record.
 */

#include <stdio.h>
#include <unistd.h>

#include "daemon/runner/gil.h"
#include "daemon/runner/node/feed.h"

#define CHUNK_MAX      1024             /* 32 KiB of records */
#define CHUNK_NS       (100 * NSEC_PER_USEC)
#define FLUSH_NS       (10 * NSEC_PER_MSEC)
#define BACKOFF_NS     (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (10 * NSEC_PER_SEC)
#define INPUT_SMALL    128              /* copied to the stack, which at async is small */

void worker_init(struct worker *worker, struct runner *runner, uint16_t id,
                 const struct io_ops *io, void *io_context)
{
        *worker = (struct worker){
                .runner = runner,
                .io = io,
                .io_context = io_context,
                .id = id,
                .current = TASK_NONE,
                .chunk = 1,
        };
}

/*
 * As many as will take CHUNK_NS, going by the last chunk. So a task that waits or computes is claimed when
 * it can start, and not stuck behind others while a worker is free; and tasks that do nothing come by the
 * thousand, so that workers neither fight for the counter nor write to the same pages.
 */
static uint64_t adapt_chunk(struct worker *worker)
{
        uint64_t now = now_monotonic(), took = MAX(now - worker->claimed_ns, UINT64_C(1));
        uint64_t fitting = worker->chunk * CHUNK_NS / took;

        worker->claimed_ns = now;
        return MIN(MAX(fitting, UINT64_C(1)), MIN(2 * worker->chunk, UINT64_C(1) * CHUNK_MAX));
}

/* At most a fraction of what is left for each worker, so that no worker ends long after the others. */
static uint64_t chunk_size(struct worker *worker, uint64_t next)
{
        const struct runner *runner = worker->runner;
        uint64_t left = runner->results.n_tasks - next;

        worker->chunk = MIN(MAX(left / (4 * (uint64_t)runner->spec.workers), UINT64_C(1)),
                            adapt_chunk(worker));
        return worker->chunk;
}

bool worker_claim(struct worker *worker)
{
        struct runner *runner = worker->runner;
        uint64_t *counter = &runner->results.header->next;
        uint64_t n = runner->results.n_tasks, next, size;

        assert(worker->next == worker->end);

        next = __atomic_load_n(counter, __ATOMIC_RELAXED);
        if (next >= n || runner_cancelled(runner)) {
                measure_memory_of_workers(runner);
                return false;
        }
        size = chunk_size(worker, next);
        next = __atomic_fetch_add(counter, size, __ATOMIC_RELAXED);
        if (next >= n) {
                measure_memory_of_workers(runner);
                return false;
        }
        worker_hold(worker, 0, next, MIN(next + size, n));
        return true;
}

/* The next of the piece, which leaves it with that. */
static void take_next(struct worker *worker, struct taken *ret)
{
        if (worker->cursor)
                ret->n_input = inputs_length(&worker->runner->inputs, worker->cursor);
        else
                worker->cursor = inputs_get(&worker->runner->inputs, worker->next, &ret->n_input);
        ret->index = worker->next;
        ret->input = worker->cursor;
        worker_note(&worker->next, ret->index + 1);
        worker->cursor = worker->next < worker->end ? inputs_next(ret->input, ret->n_input) : NULL;
}

bool worker_take(struct worker *worker, struct taken *ret)
{
        struct runner *runner = worker->runner;

        if (_unlikely_(runner->feed != NULL))
                return feed_take(worker, ret);
        ret->fed = NULL;
        do {
                if (worker->next == worker->end && !worker_claim(worker))
                        return false;
                take_next(worker, ret);
                if (_unlikely_(runner_cancelled(runner)))
                        return false;
        } while (_unlikely_(runner->resuming) &&
                 record_state(&runner->results.records[ret->index]) != PPP_STATE_NONE);
        worker_note(&worker->current, ret->index);
        return true;
}

/* Failures that may pass: another try can help. */
static bool reason_is_passing(enum ppp_reason reason, int32_t detail)
{
        switch (reason) {
        case PPP_REASON_RESOLVE:
        case PPP_REASON_CONNECT:
        case PPP_REASON_PROXY:
        case PPP_REASON_TLS:
        case PPP_REASON_TIMEOUT:
        case PPP_REASON_TRANSFER:
                return true;
        case PPP_REASON_HTTP_STATUS:
                return detail >= 500 || detail == 408 || detail == 429;
        default:
                return false;
        }
}

/* In a node each chunk brings its own. */
static struct task_terms terms_of(const struct ppp_task *task)
{
        const struct runner *runner = task->worker->runner;

        if (_unlikely_(task->fed != NULL))
                return task->fed->terms;
        return (struct task_terms){ runner->workload, runner->spec.task_timeout_ns,
                                    runner->spec.retries };
}

/*
 * A try has its end before its worker's parent takes it for timed out, or the other way round, and whoever
 * was first writes the record. It was the parent: nothing is left to do but to be killed.
 */
static void end_try(struct worker *worker)
{
        if (__atomic_exchange_n(&worker->deadline_ns, 0, __ATOMIC_ACQ_REL) == TRY_SEALED)
                for (;;)
                        pause();
}

/* A try that got done, but too late, has timed out, whether or not its workload has looked at the clock. */
static int run_try(struct ppp_task *task, const struct ppp_workload *workload, const char *input,
                   size_t n_input, uint64_t *ret_value)
{
        struct worker *worker = task->worker;
        int r;

        task->reason = PPP_REASON_NONE;
        task->retry_after_ns = 0;
        if (_likely_(task->deadline_ns == 0))
                return workload->run(task, input, n_input, ret_value);
        if (worker->watched)
                worker_note(&worker->deadline_ns, task->deadline_ns);
        r = workload->run(task, input, n_input, ret_value);
        if (worker->watched)
                end_try(worker);
        if (r >= 0 && task_time_left(task, now_monotonic()) == 0)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        return r;
}

/* The server knows best how long it is busy; within bounds (retry-after.h). */
static uint64_t backoff(const struct ppp_task *task, uint32_t try)
{
        uint64_t wait = MIN(BACKOFF_NS << MIN(try, 20U), BACKOFF_MAX_NS);

        return task->reason == PPP_REASON_HTTP_STATUS ? MAX(wait, task->retry_after_ns) : wait;
}

static int run_tries(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value)
{
        const struct task_terms terms = terms_of(task);
        uint64_t begin = task->start_ns;
        int r;

        for (uint32_t try = 0;; ++try) {
                task->deadline_ns = terms.timeout_ns ? begin + terms.timeout_ns : 0;
                r = run_try(task, terms.workload, input, n_input, ret_value);
                if (r >= 0 || try >= terms.retries || !reason_is_passing(task->reason, task->detail))
                        return r;

                ++task->worker->n_retried;
                task->deadline_ns = 0;
                r = ppp_sleep(task, backoff(task, try));
                if (r < 0)
                        return r;
                begin = now_monotonic();
        }
}

/* The workload gets its input NUL-terminated; the mapped list has newlines. */
static int run_input(struct ppp_task *task, const struct taken *taken, uint64_t *ret_value)
{
        _cleanup_free_ char *large = NULL;
        char small[INPUT_SMALL], *input = small;

        if (taken->n_input >= sizeof(small)) {
                input = large = malloc(taken->n_input + 1);
                if (!large)
                        return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        }
        memcpy(input, taken->input, taken->n_input);
        input[taken->n_input] = 0;
        return run_tries(task, input, taken->n_input, ret_value);
}

static struct ppp_record *record_of(struct worker *worker, const struct taken *taken)
{
        return _unlikely_(taken->fed != NULL) ? &taken->fed->records[taken->index] :
                                                &worker->runner->results.records[taken->index];
}

static void leave_task(struct worker *worker)
{
        worker_note(&worker->started_ns, 0);
        worker_note(&worker->current, TASK_NONE);
}

int worker_run_taken(struct worker *worker, const struct taken *taken, uint16_t slot, uint64_t *clock)
{
        uint64_t epoch = (uint64_t)worker->runner->results.header->epoch_ns;
        struct ppp_task task = { .worker = worker, .index = taken->index, .fed = taken->fed };
        struct ppp_record record = { .worker = slot };
        int r;

        if (_unlikely_(taken->fed != NULL))
                feed_task_begins(taken, clock);
        task.start_ns = *clock;
        worker_note(&worker->started_ns, task.start_ns);
        r = run_input(&task, taken, &record.value);
        *clock = now_monotonic();
        if (r < 0 && task.reason == PPP_REASON_CANCELLED) {
                leave_task(worker);
                return taken->fed ? feed_task_cancelled(worker, taken) : -ECANCELED;
        }

        record.start_ns = task.start_ns - epoch;
        record.end_ns = *clock - epoch;
        record.state = PPP_STATE_DONE;
        if (r < 0) {
                /* A workload that fails must say why; one that does not gets its errno noted. */
                record.state = PPP_STATE_FAILED;
                record.reason = task.reason ? task.reason : PPP_REASON_IO;
                record.detail = task.reason ? task.detail : -r;
                record.value = 0;
        }
        record_publish(record_of(worker, taken), &record);
        leave_task(worker);
        if (r < 0)
                ++worker->n_failed;
        else
                ++worker->n_done;
        /* The chunk may be another from here on, so nothing may name the task any more. */
        if (_unlikely_(taken->fed != NULL))
                feed_task_ended(worker->runner->feed, taken->fed);

        if (_unlikely_(*clock - worker->flushed_ns >= FLUSH_NS)) {
                worker_flush(worker);
                worker->flushed_ns = *clock;
        }
        return 0;
}

int worker_run(struct worker *worker)
{
        uint64_t clock = now_monotonic();
        struct taken taken;
        int r = 0;

        while (r == 0 && worker_take(worker, &taken)) {
                r = worker_run_taken(worker, &taken, worker->id, &clock);
                /* Tasks too short for a checkpoint of their own must not keep the lock. */
                if (_unlikely_(worker->gil && gil_wanted(worker->gil)))
                        gil_yield(worker->gil);
        }
        worker_flush(worker);
        return r;
}

/* Taken before it is added: a worker that is killed in between is counted short, which is put right. */
static void flush(uint64_t *counter, uint32_t *n)
{
        uint32_t taken = *n;

        __atomic_store_n(n, 0, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_RELEASE);
        __atomic_fetch_add(counter, taken, __ATOMIC_RELEASE);
}

void worker_flush(struct worker *worker)
{
        struct ppp_results_header *header = worker->runner->results.header;

        flush(&header->n_done, &worker->n_done);
        flush(&header->n_failed, &worker->n_failed);
        flush(&header->n_retried, &worker->n_retried);
}
