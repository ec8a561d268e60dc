/*
 * threads: workers are POSIX threads that share everything and block one by one. Cheap to start
 * (tens of microseconds), no isolation: one crash ends the job. With --gil they take turns, as
 * CPython's do: waiting overlaps, computing does not. With --threaded each has a cgroup of its own
 * (thread-groups.h).
 */

#include <pthread.h>

#include "daemon/runner/gil.h"
#include "daemon/runner/io/blocking.h"
#include "daemon/runner/levels/descriptors.h"
#include "daemon/runner/levels/levels.h"
#include "daemon/runner/levels/thread-groups.h"
#include "daemon/runner/measure.h"

struct thread {
        struct worker worker;
        struct blocking_io *io;
        pthread_t pthread;
        const struct thread_groups *groups;
        int result;        /* negative errno when it could not enter its group */
        uint64_t asked_ns; /* when the thread was asked for, and its first instruction */
        uint64_t born_ns;
        bool started;
} __attribute__((aligned(128))); /* no false sharing between neighbours' counters */

static void *thread_main(void *userdata)
{
        struct thread *thread = userdata;
        struct gil *gil = thread->worker.gil;

        thread->born_ns = now_monotonic();
        if (thread_groups_exist(thread->groups)) {
                thread->result = thread_groups_enter(thread->groups, thread->worker.id);
                if (thread->result < 0)
                        return NULL;
        }
        if (gil)
                gil_acquire(gil);
        (void)worker_run(&thread->worker);
        if (gil)
                gil_release(gil);
        return NULL;
}

static int thread_start(struct thread *thread, struct runner *runner, uint16_t id, struct gil *gil,
                        const struct thread_groups *groups)
{
        int r;

        r = blocking_io_new(runner, &thread->io);
        if (r < 0)
                return r;
        worker_init(&thread->worker, runner, id, &blocking_ops, thread->io);
        thread->worker.gil = gil;
        thread->groups = groups;
        thread->asked_ns = now_monotonic();
        r = -pthread_create(&thread->pthread, NULL, thread_main, thread);
        thread->started = r == 0;
        return r;
}

/* Returns the first error of threads that could not work as intended. */
static int threads_join(struct thread *threads, unsigned n, struct histogram *births)
{
        int r = 0;

        for (unsigned i = 0; i < n; ++i) {
                struct thread *thread = &threads[i];

                if (thread->started) {
                        pthread_join(thread->pthread, NULL);
                        histogram_add(births, thread->born_ns - thread->asked_ns);
                        r = r < 0 ? r : thread->result;
                }
                blocking_io_free(thread->io);
        }
        return r;
}

/* Starts as many as it can; with at least one the job continues, and says how many it has. */
static int threads_run(struct runner *runner, struct thread *threads, struct gil *gil,
                       const struct thread_groups *groups)
{
        struct histogram births = {};
        unsigned n = runner->spec.workers, i;
        int r = 0, k;

        for (i = 0; i < n && r >= 0; ++i)
                r = thread_start(&threads[i], runner, (uint16_t)i, gil, groups);
        if (r < 0)
                log_error("cannot start thread %u of %u: %s; ask for fewer with --workers, or "
                          "raise the limit of tasks (--pids-max, TasksMax= of the service)",
                          i, n, strerrordesc_np(-r));
        k = threads_join(threads, i, &births);
        measure_histogram(runner, "worker_start_seconds", &births);
        measure_integer(runner, "workers_refused", r < 0);
        if (k < 0)
                return k;
        return r < 0 && births.n == 0 ? r : 0;
}

/* With a cgroup each, where that is asked for. */
static int threads_run_grouped(struct runner *runner, struct thread *threads, struct gil *gil)
{
        struct thread_groups groups = THREAD_GROUPS_NULL;
        int r = 0;

        if (runner->spec.threaded)
                r = thread_groups_make(&groups, runner, runner->spec.workers);
        if (r >= 0)
                r = threads_run(runner, threads, gil, &groups);
        if (runner->spec.threaded)
                thread_groups_measure(&groups, runner);
        thread_groups_deinit(&groups);
        return r;
}

int level_threads_run(struct runner *runner)
{
        struct thread *threads;
        struct gil gil;
        size_t size;
        int r;

        descriptors_share(runner, descriptors_of_blocking(runner));
        size = runner->spec.workers * sizeof(struct thread);
        threads = aligned_alloc(_Alignof(struct thread), size);
        if (!threads) {
                log_error("cannot make %u threads: out of memory", runner->spec.workers);
                return -ENOMEM;
        }
        memset(threads, 0, size);
        r = runner->spec.gil ? gil_init(&gil) : 0;
        if (r >= 0)
                r = threads_run_grouped(runner, threads, runner->spec.gil ? &gil : NULL);
        if (runner->spec.gil)
                gil_deinit(&gil);
        free(threads);
        return r;
}
