/*
 * The calls of <pppctl/workload.h>: everything that is the same at every level (cancellation,
 * deadline, the global lock) is done here, the waiting itself by the worker's io back end.
 */

#include "daemon/runner/task.h"

#include "daemon/runner/gil.h"
#include "daemon/runner/runner.h"

static int reason_errno(enum ppp_reason reason)
{
        switch (reason) {
        case PPP_REASON_CANCELLED:
                return -ECANCELED;
        case PPP_REASON_TIMEOUT:
                return -ETIME;
        case PPP_REASON_NO_MEMORY:
                return -ENOMEM;
        case PPP_REASON_NOT_A_NUMBER:
        case PPP_REASON_BAD_URL:
                return -EINVAL;
        case PPP_REASON_NEGATIVE:
        case PPP_REASON_TOO_LARGE:
                return -ERANGE;
        case PPP_REASON_BAD_SCHEME:
                return -EPROTONOSUPPORT;
        case PPP_REASON_NO_FETCH:
                return -ENOPKG;
        default:
                return -EIO;
        }
}

int task_fail(struct ppp_task *task, enum ppp_reason reason, int32_t detail)
{
        assert(reason != PPP_REASON_NONE);
        task->reason = reason;
        task->detail = detail;
        return reason_errno(reason);
}

_public_ int ppp_fail(struct ppp_task *task, enum ppp_reason reason, int32_t detail)
{
        return task_fail(task, reason, detail);
}

bool task_cancelled(const struct ppp_task *task)
{
        return runner_cancelled(task->worker->runner) || task_dropped(task->dropped);
}

static int task_check(struct ppp_task *task)
{
        if (_unlikely_(task_cancelled(task)))
                return task_fail(task, PPP_REASON_CANCELLED, 0);
        if (_unlikely_(task->deadline_ns != 0) && now_monotonic() >= task->deadline_ns)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        return 0;
}

/*
 * A task that waits or computes may take long, so its worker's earlier progress must be reported
 * before it ends. Tasks that do neither are reported in batches (worker.c).
 */
static inline void tell_progress(struct worker *worker)
{
        if (worker->n_done + worker->n_failed + worker->n_retried > 0)
                worker_flush(worker);
}

_public_ int ppp_checkpoint(struct ppp_task *task)
{
        struct gil *gil = task->worker->gil;

        if (_unlikely_(gil && !task->unlocked && gil_wanted(gil)))
                gil_yield(gil);
        tell_progress(task->worker);
        return task_check(task);
}

_public_ void ppp_unlock(struct ppp_task *task)
{
        assert(!task->unlocked);
        task->unlocked = true;
        if (task->worker->gil)
                gil_release(task->worker->gil);
}

_public_ void ppp_relock(struct ppp_task *task)
{
        assert(task->unlocked);
        task->unlocked = false;
        if (task->worker->gil)
                gil_acquire(task->worker->gil);
}

_public_ int ppp_compute(struct ppp_task *task, ppp_function *function, void *argument, size_t size)
{
        const struct io_ops *io = task->worker->io;
        int r = task_check(task);

        if (r < 0)
                return r;
        tell_progress(task->worker);
        return io->compute ? io->compute(task, function, argument, size) : function(task, argument);
}

_public_ int ppp_computes_apart(const struct ppp_task *task)
{
        return task->worker->runner->spec.executor != EXECUTOR_NONE;
}

/* The global lock is released meanwhile: whoever holds the job's lock may be waiting for it. */
_public_ int ppp_lock_acquire(struct ppp_task *task)
{
        int r = task_check(task);

        if (r < 0)
                return r;
        ppp_unlock(task);
        job_lock_acquire(&task->worker->runner->lock);
        ppp_relock(task);
        return 0;
}

_public_ void ppp_lock_release(struct ppp_task *task)
{
        job_lock_release(&task->worker->runner->lock);
}

/* A sink computes, so under --gil it needs the lock that its call released. */
struct locked_sink {
        struct ppp_task *task;
        ppp_sink *sink;
        void *userdata;
};

static int locked_sink(void *userdata, const struct ppp_chunk *chunk)
{
        struct locked_sink *locked = userdata;
        int r;

        ppp_relock(locked->task);
        r = locked->sink(locked->userdata, chunk);
        ppp_unlock(locked->task);
        return r;
}

typedef int stream_op(struct ppp_task *task, const char *name, ppp_sink *sink, void *userdata);

static int stream(struct ppp_task *task, stream_op *op, const char *name, ppp_sink *sink,
                  void *userdata)
{
        struct locked_sink locked = { task, sink, userdata };
        int r;

        r = task_check(task);
        if (r < 0)
                return r;
        tell_progress(task->worker);
        if (!task->worker->gil)
                return op(task, name, sink, userdata);
        ppp_unlock(task);
        r = op(task, name, locked_sink, &locked);
        ppp_relock(task);
        return r;
}

_public_ int ppp_fetch(struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata)
{
        return stream(task, task->worker->io->fetch, url, sink, userdata);
}

_public_ int ppp_read_file(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata)
{
        return stream(task, task->worker->io->read_file, path, sink, userdata);
}

_public_ const char *ppp_demo_url(const struct ppp_task *task)
{
        return task->worker->runner->demo_url;
}

int task_run_command(struct ppp_task *task, const char *input, size_t n_input)
{
        int r = task_check(task);

        if (r < 0)
                return r;
        tell_progress(task->worker);
        ppp_unlock(task);
        r = task->worker->io->run_command(task, input, n_input);
        ppp_relock(task);
        return r;
}

_public_ int ppp_sleep(struct ppp_task *task, uint64_t nanoseconds)
{
        int r = task_check(task);

        if (r < 0 || nanoseconds == 0)
                return r;
        tell_progress(task->worker);
        ppp_unlock(task);
        r = task->worker->io->sleep(task, nanoseconds);
        ppp_relock(task);
        return r;
}
