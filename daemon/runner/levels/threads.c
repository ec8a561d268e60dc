/*
 * threads: workers are POSIX threads that share everything and block one by one. Cheap to start
 * (tens of microseconds), no isolation: one crash ends the job. With --gil they take turns, as
 * CPython's do: waiting overlaps, computing does not.
 */

#include <pthread.h>

#include "daemon/runner/gil.h"
#include "daemon/runner/io/blocking.h"
#include "daemon/runner/measure.h"

struct thread {
        struct worker worker;
        struct blocking_io *io;
        pthread_t pthread;
        uint64_t asked_ns;              /* when the thread was asked for, and its first instruction */
        uint64_t born_ns;
        bool started;
} __attribute__((aligned(128)));        /* no false sharing between neighbours' counters */

static void *thread_main(void *userdata)
{
        struct thread *thread = userdata;
        struct gil *gil = thread->worker.gil;

        thread->born_ns = now_monotonic();
        if (gil)
                gil_acquire(gil);
        (void)worker_run(&thread->worker);
        if (gil)
                gil_release(gil);
        return NULL;
}

static int thread_start(struct thread *thread, struct runner *runner, uint16_t id, struct gil *gil)
{
        int r;

        r = blocking_io_new(runner, &thread->io);
        if (r < 0)
                return r;
        worker_init(&thread->worker, runner, id, &blocking_ops, thread->io);
        thread->worker.gil = gil;
        thread->asked_ns = now_monotonic();
        r = -pthread_create(&thread->pthread, NULL, thread_main, thread);
        thread->started = r == 0;
        return r;
}

static void threads_join(struct thread *threads, unsigned n, struct histogram *births)
{
        for (unsigned i = 0; i < n; ++i) {
                struct thread *thread = &threads[i];

                if (thread->started) {
                        pthread_join(thread->pthread, NULL);
                        histogram_add(births, thread->born_ns - thread->asked_ns);
                }
                blocking_io_free(thread->io);
        }
}

/* Starts all it can; with at least one the job goes on, and says how many it has. */
static int threads_run(struct runner *runner, struct thread *threads, struct gil *gil)
{
        struct histogram births = {};
        unsigned n = runner->spec.workers, i;
        int r = 0;

        for (i = 0; i < n && r >= 0; ++i)
                r = thread_start(&threads[i], runner, (uint16_t)i, gil);
        if (r < 0) {
                log_error("cannot start thread %u of %u: %s; ask for fewer with --workers, or raise "
                          "the limit of tasks", i, n, strerrordesc_np(-r));
                n = i;
        }
        threads_join(threads, n, &births);
        measure_histogram(runner, "worker_start_seconds", &births);
        return r < 0 && births.n == 0 ? r : 0;
}

int level_threads_run(struct runner *runner)
{
        size_t size = runner->spec.workers * sizeof(struct thread);
        struct thread *threads = aligned_alloc(_Alignof(struct thread), size);
        struct gil gil;
        int r;

        if (!threads) {
                log_error("cannot make %u threads: out of memory", runner->spec.workers);
                return -ENOMEM;
        }
        memset(threads, 0, size);
        r = runner->spec.gil ? gil_init(&gil) : 0;
        if (r >= 0)
                r = threads_run(runner, threads, runner->spec.gil ? &gil : NULL);
        if (runner->spec.gil)
                gil_deinit(&gil);
        free(threads);
        return r;
}
