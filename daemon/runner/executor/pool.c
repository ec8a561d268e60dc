#include "daemon/runner/executor/pool.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "daemon/runner/runner.h"

/* For each worker one in progress and one to continue with; more, so that short calls are many at
 * a look. */
#define TRAYS_MIN 64U

/* Two seconds, in calls of loop_deadline.passed(); there are none while the job is paused. */
#define LATE_MAX 400U

#define NO_TRAY (-1)

/* On the stack of the fiber that waits for it. */
struct call {
        struct pool *pool;
        ppp_function *function;
        void *argument;
        size_t size;
        struct ppp_task *task;
        int result;
        bool answered;
        int tray; /* NO_TRAY: it waits in the queue */
        struct loop_fiber *fiber;
        struct loop_deadline deadline;
        unsigned n_late;
        TAILQ_ENTRY(call) link; /* of the queue */
};

struct pool_thread {
        struct pool *pool;
        unsigned number;
        pthread_t thread;
};

struct pool {
        struct loop *loop;
        struct loop_hook hook;
        struct pool_work work;
        struct pool_thread *threads; /* NULL: its workers are processes */
        unsigned n_threads;

        TAILQ_HEAD(, call) queue;
        struct call **calls;  /* by tray; NULL: nobody waits for it */
        unsigned *free_trays; /* the last is the next to be used */
        unsigned n_free;
        unsigned n_used; /* trays that ever were: the first so many */

        struct ring_op message; /* what the completions are for that workers post */
        struct ring_op read;    /* of the eventfd */
        uint64_t event_value;
        struct ring_op zygote_poll;
        int zygote_fd; /* the pool's to use, not to close */

        uint64_t n_calls;
        bool stopping;
        int broken; /* negative errno: no worker will ever take a call again */
};

static bool has_processes(const struct pool *pool)
{
        return !pool->threads;
}

static void finish(struct call *call, int result)
{
        assert(!call->answered);
        call->result = result;
        call->answered = true;
        if (call->tray != NO_TRAY)
                call->pool->calls[call->tray] = NULL;
        loop_wake(call->pool->loop, call->fiber);
}

static void put_in(struct pool *pool, struct call *call, unsigned i)
{
        struct trays *trays = pool->work.trays;
        struct tray *tray = &trays->trays[i];

        tray->function = call->function;
        tray->argument = call->argument;
        tray->task = *call->task;
        tray->returned = false;
        if (trays->room && call->size > 0) {
                tray->argument =
                        call->size <= TRAY_SMALL ? tray->small : trays->room + i * trays->stride;
                memcpy(tray->argument, call->argument, call->size);
        }
        call->tray = (int)i;
        pool->calls[i] = call;
        pool->n_used = MAX(pool->n_used, i + 1);
        trays_queue(trays, i);
}

static void take_out(struct pool *pool, struct call *call, unsigned i)
{
        const struct tray *tray = &pool->work.trays->trays[i];

        if (pool->work.trays->room && tray->returned && call->size > 0)
                memcpy(call->argument, tray->argument, call->size);
        call->task->reason = tray->task.reason;
        call->task->detail = tray->task.detail;
        finish(call, tray->result);
}

/* Calls that wait get the trays that are free. */
static void hand_out(struct pool *pool)
{
        struct call *call;
        int n = 0;

        for (; pool->n_free > 0 && (call = TAILQ_FIRST(&pool->queue)); ++n) {
                TAILQ_REMOVE(&pool->queue, call, link);
                put_in(pool, call, pool->free_trays[--pool->n_free]);
        }
        if (n > 0)
                trays_wake(pool->work.trays, n);
}

/* The fiber waits no more for the call. False: it has to, since a thread is at it. */
static bool withdraw(struct call *call, bool running)
{
        struct pool *pool = call->pool;

        if (call->tray == NO_TRAY) {
                TAILQ_REMOVE(&pool->queue, call, link);
                return true;
        }
        if (!trays_withdraw(pool->work.trays, (unsigned)call->tray, running && has_processes(pool)))
                return false;
        /* The zygote looks for calls that were left. It may be told already, or be gone. */
        if (running && has_processes(pool))
                (void)send(pool->zygote_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        return true;
}

/* A function that runs finds out by ppp_checkpoint(), or is left where that is possible. */
static void call_passed(struct loop_deadline *deadline)
{
        struct call *call = container_of(deadline, struct call, deadline);

        if (!call->answered && withdraw(call, ++call->n_late > LATE_MAX))
                finish(call, loop_task_fail(call->task, PPP_REASON_IO, -ECANCELED));
}

/* All calls that can be withdrawn fail, with @error or as those of a cancelled job. */
static void withdraw_all(struct pool *pool, int error)
{
        struct call *call;

        for (unsigned i = 0; i < pool->n_used; ++i) {
                call = pool->calls[i];
                if (call && withdraw(call, true))
                        finish(call, loop_task_fail(call->task, PPP_REASON_IO, error));
        }
        while ((call = TAILQ_FIRST(&pool->queue))) {
                TAILQ_REMOVE(&pool->queue, call, link);
                finish(call, loop_task_fail(call->task, PPP_REASON_IO, error));
        }
}

static void pool_break(struct pool *pool, int error)
{
        if (pool->broken)
                return;
        pool->broken = error;
        withdraw_all(pool, error);
}

static void take_answers(struct pool *pool)
{
        struct trays *trays = pool->work.trays;
        int broken = __atomic_load_n(&trays->broken, __ATOMIC_ACQUIRE);

        trays_look(trays);
        for (unsigned i = 0; i < pool->n_used; ++i) {
                struct call *call = pool->calls[i];

                if (!trays_take_back(trays, i))
                        continue;
                pool->free_trays[pool->n_free++] = i;
                if (call) {
                        take_out(pool, call, i);
                        if (trays->room)
                                trays_empty(trays, i, call->size);
                }
        }
        if (broken)
                pool_break(pool, broken);
        hand_out(pool);
}

static void message_complete(struct ring_op *op, int res, uint32_t flags)
{
        take_answers(container_of(op, struct pool, message));
}

static void read_event(struct pool *pool)
{
        struct io_uring_sqe *sqe = ring_sqe(&pool->loop->ring);

        io_uring_prep_read(sqe, pool->work.event_fd, &pool->event_value, sizeof(pool->event_value),
                           0);
        ring_arm(&pool->loop->ring, sqe, &pool->read);
}

static void read_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct pool *pool = container_of(op, struct pool, read);

        take_answers(pool);
        if (!pool->stopping && (res >= 0 || res == -EINTR || res == -EAGAIN))
                read_event(pool);
}

static void zygote_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct pool *pool = container_of(op, struct pool, zygote_poll);

        if (res < 0 || pool->stopping || pool->loop->cancelling)
                return;
        log_error("the process that starts those of the executor has ended: what they would have "
                  "computed fails; see who kills it, and run the job again");
        pool_break(pool, -ECHILD);
}

void pool_attend(struct pool *pool, int zygote_fd)
{
        struct io_uring_sqe *sqe = ring_sqe(&pool->loop->ring);

        pool->zygote_fd = zygote_fd;
        io_uring_prep_poll_add(sqe, zygote_fd, POLLRDHUP);
        ring_arm(&pool->loop->ring, sqe, &pool->zygote_poll);
}

static void job_cancelled(struct loop_hook *hook)
{
        withdraw_all(container_of(hook, struct pool, hook), -ECANCELED);
}

static void loop_ends(struct loop_hook *hook)
{
        struct pool *pool = container_of(hook, struct pool, hook);

        pool->stopping = true;
        ring_cancel(&pool->loop->ring, &pool->read);
}

static void *run_thread(void *userdata)
{
        struct pool_thread *thread = userdata;

        pool_worker_run(&thread->pool->work, thread->number);
        return NULL;
}

static int start_threads(struct pool *pool, unsigned n)
{
        int r = 0;

        for (; pool->n_threads < n && r == 0; pool->n_threads += r == 0) {
                struct pool_thread *thread = &pool->threads[pool->n_threads];

                *thread = (struct pool_thread){ .pool = pool, .number = pool->n_threads };
                r = pthread_create(&thread->thread, NULL, run_thread, thread);
        }
        if (r != 0)
                log_error("cannot start thread %u of %u of the executor: %s%s. Ask for fewer with "
                          "--executor-workers, or raise the limit of tasks",
                          pool->n_threads + 1, n, strerrordesc_np(r),
                          pool->n_threads > 0 ? "; going on with those there are" : "");
        return pool->n_threads > 0 ? 0 : -r;
}

static int make_trays(struct pool *pool, enum executor kind)
{
        unsigned n = pool->work.n_workers;
        int r;

        r = trays_map(MAX(2 * n, TRAYS_MIN), kind == EXECUTOR_PROCESSES, &pool->work.trays);
        if (r < 0)
                return r;
        pool->work.rows = mmap(NULL, n * sizeof(struct pool_row), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (pool->work.rows == MAP_FAILED) {
                pool->work.rows = NULL;
                return -errno;
        }
        pool->n_free = pool->work.trays->n;
        pool->calls = calloc(pool->n_free, sizeof(struct call *));
        pool->free_trays = calloc(pool->n_free, sizeof(unsigned));
        if (kind == EXECUTOR_THREADS)
                pool->threads = calloc(n, sizeof(struct pool_thread));
        if (!pool->calls || !pool->free_trays || (kind == EXECUTOR_THREADS && !pool->threads))
                return -ENOMEM;
        for (unsigned i = 0; i < pool->n_free; ++i)
                pool->free_trays[i] = pool->n_free - 1 - i;
        return 0;
}

static int pool_start(struct pool *pool, enum executor kind, unsigned n)
{
        int r;

        r = make_trays(pool, kind);
        if (r < 0) {
                log_error("cannot make an executor of %u %s: %s", n, executor_infos[kind].name,
                          strerrordesc_np(-r));
                return r;
        }
        pool->work.event_fd = eventfd(0, EFD_CLOEXEC);
        if (pool->work.event_fd < 0) {
                r = -errno;
                log_error("cannot make an eventfd for the executor: %s; raise LimitNOFILE= of the "
                          "service (ulimit -n)",
                          strerrordesc_np(-r));
                return r;
        }
        return kind == EXECUTOR_THREADS ? start_threads(pool, n) : 0;
}

int pool_new(struct loop *loop, enum executor kind, unsigned n, struct pool **ret)
{
        struct pool *pool = calloc(1, sizeof(*pool));
        int r;

        assert(n > 0);
        if (!pool) {
                log_error("cannot make an executor of %u %s: out of memory", n,
                          executor_infos[kind].name);
                return -ENOMEM;
        }
        *pool = (struct pool){
                .loop = loop,
                .hook = { .cancel = job_cancelled, .end = loop_ends },
                .message.complete = message_complete,
                .read = { .complete = read_complete, .kept = true },
                .zygote_poll.complete = zygote_complete,
                .zygote_fd = -EBADF,
                .work = {
                        .runner = loop->runner,
                        .n_workers = n,
                        .ring_fd = loop->ring.uring.ring_fd,
                        .event_fd = -EBADF,
                },
        };
        pool->work.message_data = ring_message_data(&pool->message);
        TAILQ_INIT(&pool->queue);
        r = pool_start(pool, kind, n);
        if (r < 0) {
                pool_free(pool);
                return r;
        }
        read_event(pool);
        loop_hook_add(loop, &pool->hook);
        *ret = pool;
        return 0;
}

const struct pool_work *pool_work(const struct pool *pool)
{
        return &pool->work;
}

void pool_stop(struct pool *pool)
{
        if (has_processes(pool))
                return;
        trays_stop(pool->work.trays);
        for (unsigned i = 0; i < pool->n_threads; ++i)
                pthread_join(pool->threads[i].thread, NULL);
}

struct pool *pool_free(struct pool *pool)
{
        if (!pool)
                return NULL;
        close_fd(pool->work.event_fd);
        if (pool->work.rows)
                munmap(pool->work.rows, pool->work.n_workers * sizeof(struct pool_row));
        if (pool->work.trays)
                trays_unmap(pool->work.trays);
        free(pool->threads);
        free(pool->calls);
        free(pool->free_trays);
        free(pool);
        return NULL;
}

int pool_run(struct pool *pool, struct ppp_task *task, ppp_function *function, void *argument,
             size_t size)
{
        struct call call = {
                .pool = pool,
                .function = function,
                .argument = argument,
                .size = size,
                .task = task,
                .tray = NO_TRAY,
                .fiber = loop_current(pool->loop),
                .deadline.passed = call_passed,
        };

        if (pool->broken)
                return task_fail(task, PPP_REASON_IO, -pool->broken);
        if (pool->work.trays->room && size > pool->work.trays->stride)
                return task_fail(task, PPP_REASON_NO_MEMORY,
                                 (int32_t)MIN(size >> 20, (size_t)INT32_MAX));
        ++pool->n_calls;
        loop_deadline_add(pool->loop, &call.deadline, task, task->deadline_ns);
        TAILQ_INSERT_TAIL(&pool->queue, &call, link);
        hand_out(pool);
        loop_suspend(pool->loop);
        loop_deadline_remove(pool->loop, &call.deadline);
        assert(call.answered);
        return call.result;
}

struct pool_counters pool_counters(const struct pool *pool)
{
        struct pool_counters counters = { .calls = pool->n_calls };

        for (unsigned i = 0; i < pool->work.n_workers; ++i) {
                const struct pool_row *row = &pool->work.rows[i];

                counters.messages += row->messages;
                counters.writes += row->writes;
                counters.replaced += row->n_died;
        }
        return counters;
}
