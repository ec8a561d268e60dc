#include "daemon/runner/io/async.h"

#include "daemon/runner/exec/exec.h"
#include "daemon/runner/executor/pool.h"
#include "daemon/runner/fetch/http-fetch.h"
#include "daemon/runner/fetch/http-ring.h"

void async_io_init(struct async_io *io, struct loop *loop, const struct fetcher_bounds *bounds)
{
        *io = (struct async_io){ .loop = loop, .bounds = *bounds };
}

void async_io_deinit(struct async_io *io)
{
        io->http = http_ring_free(io->http);
        io->files = async_files_free(io->files);
        io->pool = pool_free(io->pool);
        http_codings_deinit(&io->codings);
}

struct sleeper {
        struct loop_deadline deadline; /* without a time: the timeout it waits for is that */
        struct loop_wait wait;
};

static void sleeper_dropped(struct loop_deadline *deadline)
{
        struct sleeper *sleeper = container_of(deadline, struct sleeper, deadline);

        if (!sleeper->wait.done)
                ring_cancel(&sleeper->wait.loop->ring, &sleeper->wait.op);
}

static int async_sleep(struct ppp_task *task, uint64_t nanoseconds)
{
        struct async_io *io = task->worker->io_context;
        struct loop *loop = io->loop;
        struct sleeper sleeper = { .deadline.passed = sleeper_dropped };
        struct __kernel_timespec at;
        struct io_uring_sqe *sqe;
        uint64_t until;
        bool cut;
        int r;

        if (__builtin_add_overflow(now_monotonic(), nanoseconds, &until))
                until = UINT64_MAX;
        cut = task->deadline_ns && task->deadline_ns < until;
        at = loop_timespec(cut ? task->deadline_ns : until);

        loop_wait_init(&sleeper.wait, loop);
        sqe = ring_sqe(&loop->ring);
        io_uring_prep_timeout(sqe, &at, 0, IORING_TIMEOUT_ABS);
        ring_arm(&loop->ring, sqe, &sleeper.wait.op);
        loop_deadline_add(loop, &sleeper.deadline, task, 0);
        r = loop_await(&sleeper.wait);
        loop_deadline_remove(loop, &sleeper.deadline);
        if (r != -ETIME)
                return loop_task_fail(task, PPP_REASON_IO, r);
        return cut ? task_fail(task, PPP_REASON_TIMEOUT, 0) : 0;
}

static int async_fetch(struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata)
{
        struct async_io *io = task->worker->io_context;

        if (!io->http && http_ring_new(io->loop, &io->bounds, &io->http) < 0)
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        return http_fetch(io->http, &io->codings, task, url, sink, userdata);
}

static int async_compute(struct ppp_task *task, ppp_function *function, void *argument, size_t size)
{
        struct async_io *io = task->worker->io_context;

        return io->pool ? pool_run(io->pool, task, function, argument, size)
                        : function(task, argument);
}

static void async_wait_for_tasks(struct worker *worker, struct task_source *source)
{
        struct async_io *io = worker->io_context;

        loop_park(io->loop);
}

const struct io_ops async_ops = {
        .fetch = async_fetch,
        .read_file = async_read_file,
        .sleep = async_sleep,
        .compute = async_compute,
        .run_command = exec_run,
        .poll = async_poll,
        .write = async_write,
        .wait_for_tasks = async_wait_for_tasks,
};
