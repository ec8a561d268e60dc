#include "daemon/runner/executor/pool-worker.h"

#include <liburing.h>
#include <poll.h>
#include <sys/prctl.h>

#include "daemon/runner/runner.h"

/* A function that computes may call ppp_compute(), which calls in place. */
static const struct io_ops computing;

struct pool_worker {
        const struct pool_work *work;
        struct pool_row *row;
        struct worker worker;  /* what a function's task has for its worker: counts nothing */
        struct io_uring uring; /* for messages to the loop's ring */
        bool has_uring;
};

/* The kernel posts a completion with our user_data; that of an op that nothing is in flight for. */
static bool post_message(struct pool_worker *self)
{
        struct io_uring_cqe *cqe;
        struct io_uring_sqe *sqe;
        int r;

        sqe = io_uring_get_sqe(&self->uring);
        io_uring_prep_msg_ring(sqe, self->work->ring_fd, 0, self->work->message_data, 0);
        do
                r = io_uring_submit_and_wait(&self->uring, 1);
        while (r == -EINTR);
        if (r < 0 || io_uring_wait_cqe(&self->uring, &cqe) < 0)
                return false;
        r = cqe->res;
        io_uring_cqe_seen(&self->uring, cqe);
        return r >= 0;
}

/*
 * Once it is refused it is not tried again: what refuses it, an old kernel or a filter, stays. Each
 * is counted before it is done, since a job whose last answer has come kills its processes.
 */
static void tell_loop(void *userdata)
{
        static const uint64_t one = 1;
        struct pool_worker *self = userdata;

        if (self->has_uring) {
                ++self->row->messages;
                if (post_message(self))
                        return;
                --self->row->messages;
                io_uring_queue_exit(&self->uring);
                self->has_uring = false;
        }
        ++self->row->writes;
        /* Fails only when the counter is full: then the loop is told already. */
        if (write(self->work->event_fd, &one, sizeof(one)) < 0)
                return;
}

static void run_call(struct pool_worker *self, struct tray *tray)
{
        struct ppp_task task = tray->task;

        task.worker = &self->worker;
        if (task_cancelled(&task))
                tray->result = task_fail(&task, PPP_REASON_CANCELLED, 0);
        else
                tray->result = tray->function(&task, tray->argument);
        tray->returned = true;
        tray->task.reason = task.reason;
        tray->task.detail = task.detail;
}

void pool_worker_run(const struct pool_work *work, unsigned number)
{
        struct pool_worker self = { .work = work, .row = &work->rows[number] };
        struct trays *trays = work->trays;
        int i;

        (void)prctl(PR_SET_NAME, "pppd-executor");
        worker_init(&self.worker, work->runner, 0, &computing, NULL);
        self.has_uring = io_uring_queue_init(2, &self.uring, 0) == 0;
        ++self.row->n_ready;
        while ((i = trays_take(trays, number, tell_loop, &self)) >= 0) {
                bool tell;

                run_call(&self, &trays->trays[i]);
                if (!trays_answer(trays, (unsigned)i, number, &tell))
                        for (;;)
                                pause();
                if (tell)
                        tell_loop(&self);
        }
        if (self.has_uring)
                io_uring_queue_exit(&self.uring);
}
