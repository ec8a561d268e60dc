#include "daemon/runner/executor/pool.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "daemon/runner/runner.h"

enum call_state {
        CALL_QUEUED,
        CALL_RUNNING,
        CALL_ANSWERED,
};

/* On the stack of the fiber that waits for it. */
struct call {
        struct pool *pool;
        ppp_function *function;
        void *argument;
        struct ppp_task task; /* the thread's copy, with a worker of its own */
        int result;
        enum call_state state; /* under pool->mutex until it is answered */
        struct loop_fiber *fiber;
        struct loop_deadline deadline;
        TAILQ_ENTRY(call) link; /* while it is queued */
        struct call *answered;  /* the answer that came before it, until the loop looks */
};

/* A function that computes may call ppp_compute(), which calls in place. */
static const struct io_ops computing;

struct pool_thread {
        struct pool *pool;
        pthread_t thread;
        struct worker worker;  /* what a function's task has for its worker: counts nothing */
        struct io_uring uring; /* for messages to the loop's ring */
        bool has_uring;
        uint64_t messages, writes;
};

struct pool {
        struct loop *loop;
        pthread_mutex_t mutex; /* of the next four */
        pthread_cond_t work;
        TAILQ_HEAD(, call) queue;
        unsigned n_idle;
        bool stopping;

        struct call *answered;  /* the last answer that the loop has not seen yet */
        struct ring_op message; /* what the completions are for that threads post */
        struct ring_op read;    /* of the eventfd */
        int event_fd;
        uint64_t event_value;

        uint64_t n_calls;
        unsigned n_threads;
        struct pool_thread threads[];
};

/* The kernel posts a completion with our user_data; that of an op that nothing is in flight for. */
static bool post_message(struct pool_thread *thread)
{
        struct pool *pool = thread->pool;
        struct io_uring_cqe *cqe;
        struct io_uring_sqe *sqe;
        int r;

        sqe = io_uring_get_sqe(&thread->uring);
        io_uring_prep_msg_ring(sqe, pool->loop->ring.uring.ring_fd, 0,
                               ring_message_data(&pool->message), 0);
        do
                r = io_uring_submit_and_wait(&thread->uring, 1);
        while (r == -EINTR);
        if (r < 0 || io_uring_wait_cqe(&thread->uring, &cqe) < 0)
                return false;
        r = cqe->res;
        io_uring_cqe_seen(&thread->uring, cqe);
        return r >= 0;
}

/* Once it is refused it is not tried again: what refuses it, an old kernel or a filter, stays. */
static void tell_loop(struct pool_thread *thread)
{
        static const uint64_t one = 1;

        if (thread->has_uring && post_message(thread)) {
                ++thread->messages;
                return;
        }
        if (thread->has_uring) {
                io_uring_queue_exit(&thread->uring);
                thread->has_uring = false;
        }
        ++thread->writes;
        /* Fails only when the counter is full: then the loop is told already. */
        if (write(thread->pool->event_fd, &one, sizeof(one)) < 0)
                return;
}

/* As soon as it is in the list, the call may be gone. */
static void answer(struct pool_thread *thread, struct call *call)
{
        struct pool *pool = thread->pool;
        struct call *previous = __atomic_load_n(&pool->answered, __ATOMIC_RELAXED);

        do
                call->answered = previous;
        while (!__atomic_compare_exchange_n(&pool->answered, &previous, call, true,
                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED));
        if (!previous)
                tell_loop(thread);
}

static void run_call(struct pool_thread *thread, struct call *call)
{
        call->task.worker = &thread->worker;
        if (task_cancelled(&call->task))
                call->result = task_fail(&call->task, PPP_REASON_CANCELLED, 0);
        else
                call->result = call->function(&call->task, call->argument);
        answer(thread, call);
}

/*
 * The next call, taken out of the queue; NULL: the pool stops, and nobody waits for the calls that
 * are left. Called with the mutex held.
 */
static struct call *take_call(struct pool *pool)
{
        struct call *call = NULL;

        while (!pool->stopping && !(call = TAILQ_FIRST(&pool->queue))) {
                ++pool->n_idle;
                pthread_cond_wait(&pool->work, &pool->mutex);
                --pool->n_idle;
        }
        if (pool->stopping)
                return NULL;
        TAILQ_REMOVE(&pool->queue, call, link);
        call->state = CALL_RUNNING;
        return call;
}

static void *run_thread(void *userdata)
{
        struct pool_thread *thread = userdata;
        struct pool *pool = thread->pool;
        struct call *call;

        (void)prctl(PR_SET_NAME, "pppd-executor");
        thread->has_uring = io_uring_queue_init(2, &thread->uring, 0) == 0;
        pthread_mutex_lock(&pool->mutex);
        while ((call = take_call(pool))) {
                pthread_mutex_unlock(&pool->mutex);
                run_call(thread, call);
                pthread_mutex_lock(&pool->mutex);
        }
        pthread_mutex_unlock(&pool->mutex);
        if (thread->has_uring)
                io_uring_queue_exit(&thread->uring);
        return NULL;
}

/* The list has the last answer first; fibers are woken in the order of the answers. */
static void take_answers(struct pool *pool)
{
        struct call *next = __atomic_exchange_n(&pool->answered, NULL, __ATOMIC_ACQUIRE);
        struct call *first = NULL, *call;

        while ((call = next)) {
                next = call->answered;
                call->answered = first;
                first = call;
        }
        for (call = first; call; call = next) {
                next = call->answered;
                call->state = CALL_ANSWERED;
                loop_wake(pool->loop, call->fiber);
        }
}

static void message_complete(struct ring_op *op, int res, uint32_t flags)
{
        take_answers(container_of(op, struct pool, message));
}

static void read_event(struct pool *pool)
{
        struct io_uring_sqe *sqe = ring_sqe(&pool->loop->ring);

        io_uring_prep_read(sqe, pool->event_fd, &pool->event_value, sizeof(pool->event_value), 0);
        ring_arm(&pool->loop->ring, sqe, &pool->read);
}

static void read_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct pool *pool = container_of(op, struct pool, read);

        take_answers(pool);
        if (!pool->stopping && (res >= 0 || res == -EINTR || res == -EAGAIN))
                read_event(pool);
}

static int start_threads(struct pool *pool, unsigned n)
{
        int r = 0;

        for (; pool->n_threads < n && r == 0; pool->n_threads += r == 0) {
                struct pool_thread *thread = &pool->threads[pool->n_threads];

                thread->pool = pool;
                worker_init(&thread->worker, pool->loop->runner, 0, &computing, NULL);
                r = pthread_create(&thread->thread, NULL, run_thread, thread);
        }
        if (r != 0)
                log_error("cannot start thread %u of %u of the executor: %s%s. Ask for fewer with "
                          "--executor-workers, or raise the limit of tasks",
                          pool->n_threads + 1, n, strerrordesc_np(r),
                          pool->n_threads > 0 ? "; going on with those there are" : "");
        return pool->n_threads > 0 ? 0 : -r;
}

int pool_new(struct loop *loop, unsigned n, struct pool **ret)
{
        struct pool *pool = calloc(1, sizeof(*pool) + n * sizeof(pool->threads[0]));
        int r;

        assert(n > 0);
        if (!pool) {
                log_error("cannot make an executor of %u threads: out of memory", n);
                return -ENOMEM;
        }
        pool->loop = loop;
        pool->message.complete = message_complete;
        pool->read = (struct ring_op){ .complete = read_complete, .kept = true };
        pthread_mutex_init(&pool->mutex, NULL);
        pthread_cond_init(&pool->work, NULL);
        TAILQ_INIT(&pool->queue);
        pool->event_fd = eventfd(0, EFD_CLOEXEC);
        if (pool->event_fd < 0) {
                r = -errno;
                log_error("cannot make an eventfd for the executor: %s; raise LimitNOFILE= of the "
                          "service (ulimit -n)",
                          strerrordesc_np(-r));
        } else {
                r = start_threads(pool, n);
        }
        if (r < 0) {
                pool_free(pool);
                return r;
        }
        read_event(pool);
        *ret = pool;
        return 0;
}

void pool_stop(struct pool *pool)
{
        pthread_mutex_lock(&pool->mutex);
        pool->stopping = true;
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
        ring_cancel(&pool->loop->ring, &pool->read);
        for (unsigned i = 0; i < pool->n_threads; ++i)
                pthread_join(pool->threads[i].thread, NULL);
}

struct pool *pool_free(struct pool *pool)
{
        if (!pool)
                return NULL;
        if (pool->event_fd >= 0)
                close(pool->event_fd);
        pthread_cond_destroy(&pool->work);
        pthread_mutex_destroy(&pool->mutex);
        free(pool);
        return NULL;
}

/* Out of the queue, if it is still there. */
static bool withdraw(struct call *call)
{
        struct pool *pool = call->pool;
        bool queued;

        pthread_mutex_lock(&pool->mutex);
        queued = call->state == CALL_QUEUED;
        if (queued)
                TAILQ_REMOVE(&pool->queue, call, link);
        pthread_mutex_unlock(&pool->mutex);
        return queued;
}

/* A function that runs finds out by ppp_checkpoint(). */
static void call_passed(struct loop_deadline *deadline)
{
        struct call *call = container_of(deadline, struct call, deadline);

        if (!withdraw(call))
                return;
        call->result = loop_task_fail(&call->task, PPP_REASON_IO, -ECANCELED);
        call->state = CALL_ANSWERED;
        loop_wake(call->pool->loop, call->fiber);
}

static void submit(struct pool *pool, struct call *call)
{
        bool idle;

        pthread_mutex_lock(&pool->mutex);
        TAILQ_INSERT_TAIL(&pool->queue, call, link);
        idle = pool->n_idle > 0;
        pthread_mutex_unlock(&pool->mutex);
        if (idle)
                pthread_cond_signal(&pool->work);
}

int pool_run(struct pool *pool, struct ppp_task *task, ppp_function *function, void *argument)
{
        struct call call = {
                .pool = pool,
                .function = function,
                .argument = argument,
                .task = *task,
                .fiber = loop_current(pool->loop),
                .deadline.passed = call_passed,
        };

        ++pool->n_calls;
        loop_deadline_add(pool->loop, &call.deadline, task, task->deadline_ns);
        submit(pool, &call);
        loop_suspend(pool->loop);
        loop_deadline_remove(pool->loop, &call.deadline);
        assert(call.state == CALL_ANSWERED);
        task->reason = call.task.reason;
        task->detail = call.task.detail;
        return call.result;
}

struct pool_counters pool_counters(const struct pool *pool)
{
        struct pool_counters counters = { .calls = pool->n_calls };

        for (unsigned i = 0; i < pool->n_threads; ++i) {
                counters.messages += pool->threads[i].messages;
                counters.writes += pool->threads[i].writes;
        }
        return counters;
}
