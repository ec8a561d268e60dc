#include "daemon/runner/levels/worker-row.h"

#define LOOKS_MAX 1000

/* Ends the task that a dead worker was at: gives it a record with the reason of the death. */
static void end_current(struct worker *worker, const struct worker_death *death)
{
        struct task_source *source = worker->runner->source;
        uint64_t epoch = (uint64_t)worker->runner->results.header->epoch_ns;
        struct ppp_record record = {
                .start_ns = (worker->started_ns ?: now_monotonic()) - epoch,
                .end_ns = now_monotonic() - epoch,
                .worker = worker->id,
                .detail = death->detail,
                .reason = (uint8_t)death->reason,
                .state = PPP_STATE_FAILED,
        };

        if (source->ops->died(source, worker, &record))
                ++worker->n_failed;
}

void row_bury(struct worker_row *row, const struct worker_death *death)
{
        struct worker *worker = &row->worker;

        if (row_is_at_task(row) && death)
                end_current(worker, death);
        worker->current = TASK_NONE;
        worker->started_ns = worker->deadline_ns = 0;
        /* It was killed within worker_hold(): what it had claimed is lost. */
        if (worker->next > worker->end)
                worker->next = worker->end;
        worker->next_input = NULL;
        worker->idle = 0;
        worker_flush(worker);
}

void row_give_back(struct worker_row *row)
{
        struct worker *worker = &row->worker;
        struct task_source *source = worker->runner->source;

        if (worker->next < worker->end)
                source->ops->give_back(source, worker);
}

static uint64_t load(const uint64_t *at)
{
        return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/*
 * A piece has each task once. So a worker that is at the same task before and after the other
 * members were read has been at it all the time, and they belong together.
 */
static bool look_once(const struct worker *worker, uint64_t *ret_piece_of, uint64_t *ret_n)
{
        uint64_t current = load(&worker->current), piece_of, next, end;

        if (__atomic_load_n(&worker->idle, __ATOMIC_ACQUIRE) % 2 == 1) {
                *ret_piece_of = *ret_n = 0;
                return true;
        }
        piece_of = load(&worker->piece_of);
        next = load(&worker->next);
        end = load(&worker->end);
        if (current == TASK_NONE || load(&worker->current) != current ||
            load(&worker->piece_of) != piece_of)
                return false;
        *ret_piece_of = piece_of;
        *ret_n = 1 + end - next;
        return true;
}

bool row_look(const struct worker_row *row, uint64_t *ret_piece_of, uint64_t *ret_n)
{
        for (unsigned i = 0; i < LOOKS_MAX; ++i)
                if (look_once(&row->worker, ret_piece_of, ret_n))
                        return true;
        return false;
}

bool row_seal(struct worker_row *row, uint64_t deadline_ns)
{
        return __atomic_compare_exchange_n(&row->worker.deadline_ns, &deadline_ns, TRY_SEALED,
                                           false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
