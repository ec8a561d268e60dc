#include "daemon/runner/worker.h"

#include <stdio.h>
#include <unistd.h>

#include "daemon/runner/gil.h"
#include "daemon/runner/runner.h"

#define FLUSH_NS       (10 * NSEC_PER_MSEC)
#define BACKOFF_NS     (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (10 * NSEC_PER_SEC)
#define INPUT_SMALL    128 /* copied to the stack, which at async is small */

void worker_init(struct worker *worker, struct runner *runner, uint16_t id, const struct io_ops *io,
                 void *io_context)
{
        *worker = (struct worker){
                .runner = runner,
                .io = io,
                .io_context = io_context,
                .id = id,
                .current = TASK_NONE,
                .chunk = 1,
                .wake = WORKER_NO_WAKE,
        };
}

/* False when nothing is left to be claimed, or the job is cancelled. */
static inline bool get_piece(struct worker *worker, struct taken *taken)
{
        struct task_source *source = worker->runner->source;

        /* After a wait the worker may have a piece: at async its fibers share it. */
        while (worker->next == worker->end && !worker_claim(worker)) {
                if (worker_is_done(worker))
                        return false;
                worker_flush(worker);
                __atomic_store_n(&worker->idle, worker->idle + 1, __ATOMIC_SEQ_CST);
                worker->io->wait_for_tasks(worker, source);
                __atomic_store_n(&worker->idle, worker->idle + 1, __ATOMIC_SEQ_CST);
                taken->waited = true;
        }
        return true;
}

/* Takes the next task out of the piece. */
static void take_next(struct worker *worker, struct taken *ret)
{
        struct task_source *source = worker->runner->source;

        if (!worker->next_input)
                worker->next_input = source->ops->input(source, worker);
        ret->set = worker->set;
        ret->index = worker->next;
        ret->input = worker->next_input;
        ret->n_input = line_length(ret->input, ret->set->text_end);
        worker_note(&worker->next, ret->index + 1);
        worker->next_input =
                worker->next < worker->end ? inputs_next(ret->input, ret->n_input) : NULL;
}

bool worker_take(struct worker *worker, struct taken *ret)
{
        struct runner *runner = worker->runner;
        struct task_source *source = runner->source;

        ret->waited = false;
        do {
                if (!get_piece(worker, ret))
                        return false;
                if (_unlikely_(runner_cancelled(runner) || task_source_leaves(source))) {
                        source->ops->give_back(source, worker);
                        return false;
                }
                take_next(worker, ret);
        } while (_unlikely_(runner->resuming) &&
                 record_state(&ret->set->records[ret->index]) != PPP_STATE_NONE);
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
        case PPP_REASON_COMMAND_EXIT:
        case PPP_REASON_COMMAND_SIGNAL:
        case PPP_REASON_COMMAND_PIDS:
                return true;
        case PPP_REASON_COMMAND_START:
                return detail == EAGAIN || detail == ENOMEM || detail == ETXTBSY;
        case PPP_REASON_HTTP_STATUS:
                return detail >= 500 || detail == 408 || detail == 429;
        default:
                return false;
        }
}

/*
 * Either a try ends first, or its worker's parent declares it timed out first, and whichever came
 * first writes the record. If the parent did, the worker can only wait to be killed.
 */
static void end_try(struct worker *worker)
{
        if (__atomic_exchange_n(&worker->deadline_ns, 0, __ATOMIC_ACQ_REL) == TRY_SEALED)
                for (;;)
                        pause();
}

/*
 * A try that got done, but too late, has timed out, whether or not its workload has looked at the
 * clock.
 */
static int run_try(struct ppp_task *task, const struct task_terms *terms, const char *input,
                   size_t n_input, uint64_t *ret_value)
{
        const struct ppp_workload *workload = terms->workload;
        uint64_t grace_ns = terms->grace_ns;
        struct worker *worker = task->worker;
        int r;

        task->reason = PPP_REASON_NONE;
        task->again = false;
        task->retry_after_ns = 0;
        if (_likely_(task->deadline_ns == 0))
                return workload->run(task, input, n_input, ret_value);
        if (worker->watched)
                worker_note(&worker->deadline_ns, task->deadline_ns + grace_ns);
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

static int run_tries(struct ppp_task *task, const struct task_terms *terms, const char *input,
                     size_t n_input, uint64_t *ret_value)
{
        uint64_t begin = task->start_ns;
        int r;

        for (uint32_t try = 0;; try += !task->again) {
                task->deadline_ns = terms->timeout_ns ? begin + terms->timeout_ns : 0;
                r = run_try(task, terms, input, n_input, ret_value);
                if (r >= 0 || (!task->again && (try >= terms->retries ||
                                                !reason_is_passing(task->reason, task->detail))))
                        return r;

                ++task->worker->n_retried;
                task->deadline_ns = 0;
                r = ppp_sleep(task, task->again ? 0 : backoff(task, try));
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
        return run_tries(task, &taken->set->terms, input, taken->n_input, ret_value);
}

static void leave_task(struct worker *worker)
{
        worker_note(&worker->started_ns, 0);
        worker_note(&worker->current, TASK_NONE);
}

/* 0: the worker continues, since only this task is unwanted. */
static int task_was_cancelled(struct worker *worker, const struct taken *taken)
{
        struct task_source *source = worker->runner->source;

        if (runner_cancelled(worker->runner) || !taken->set->dropped)
                return -ECANCELED;
        source->ops->finish(source, taken->set);
        return 0;
}

/* The times at which tasks may begin are given out in the order in which workers ask. */
static uint64_t take_turn(struct runner *runner)
{
        uint64_t *next = &runner->next_turn_ns, now = now_monotonic(), turn;
        uint64_t expected = __atomic_load_n(next, __ATOMIC_RELAXED);

        do
                turn = MAX(expected, now);
        while (!__atomic_compare_exchange_n(next, &expected, turn + runner->spec.delay_ns, true,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED));
        return turn;
}

/* Whether it may begin now; else until when it waits because one before it was late. */
static bool begin_turn(struct runner *runner, uint64_t now, uint64_t *ret_until)
{
        uint64_t last = __atomic_load_n(&runner->last_start_ns, __ATOMIC_RELAXED);

        *ret_until = last ? last + runner->spec.delay_ns : 0;
        return now >= *ret_until &&
               __atomic_compare_exchange_n(&runner->last_start_ns, &last, now, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Until the task may begin. The job may be ended meanwhile. */
static int wait_for_turn(struct ppp_task *task, uint64_t *ret_now)
{
        struct runner *runner = task->worker->runner;
        uint64_t until = take_turn(runner), now = now_monotonic();
        int r = 0;

        while (r >= 0 && (now < until || !begin_turn(runner, now, &until))) {
                if (now < until)
                        r = ppp_sleep(task, until - now);
                now = now_monotonic();
        }
        *ret_now = now;
        return r < 0 || task_source_leaves(runner->source) ? -ECANCELED : 0;
}

int worker_run_taken(struct worker *worker, const struct taken *taken, uint16_t slot,
                     uint64_t *clock)
{
        struct task_source *source = worker->runner->source;
        uint64_t epoch = (uint64_t)worker->runner->results.header->epoch_ns;
        struct ppp_task task = { .worker = worker,
                                 .index = taken->index,
                                 .slot = slot,
                                 .dropped = taken->set->dropped };
        struct ppp_record record = { .worker = slot };
        bool halts;
        int r;

        if (_unlikely_(worker->runner->spec.delay_ns > 0)) {
                r = wait_for_turn(&task, clock);
                if (r < 0) {
                        leave_task(worker);
                        return r;
                }
        }
        if (_unlikely_(source->ops->begin != NULL))
                source->ops->begin(source, taken, clock);
        task.start_ns = *clock;
        worker_note(&worker->started_ns, task.start_ns);
        r = run_input(&task, taken, &record.value);
        *clock = now_monotonic();
        if (r < 0 && task.reason == PPP_REASON_CANCELLED) {
                leave_task(worker);
                return task_was_cancelled(worker, taken);
        }

        record.start_ns = task.start_ns - epoch;
        record.end_ns = *clock - epoch;
        record.state = PPP_STATE_DONE;
        if (r < 0) {
                /* A workload that fails must say why; if it does not, its errno is noted. */
                record.state = PPP_STATE_FAILED;
                record.reason = task.reason ? task.reason : PPP_REASON_IO;
                record.detail = task.reason ? task.detail : -r;
                record.value = 0;
        }
        record_publish(&taken->set->records[taken->index], &record);
        leave_task(worker);
        if (r < 0)
                ++worker->n_failed;
        else
                ++worker->n_done;
        /* The set may be another from here on, so nothing may name the task any more. */
        if (_unlikely_(source->ops->finish != NULL))
                source->ops->finish(source, taken->set);

        halts = worker->runner->spec.halt.of != HALT_NEVER;
        if (_unlikely_(halts || *clock - worker->flushed_ns >= FLUSH_NS)) {
                worker_flush(worker);
                worker->flushed_ns = *clock;
        }
        if (_unlikely_(halts))
                runner_look_at_halt(worker->runner);
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

/*
 * Subtracted before it is added: if a worker is killed in between, the count is too low, which is
 * corrected.
 */
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
