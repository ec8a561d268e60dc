/*
 * async: tasks are fibers on an io_uring completion loop. Waiting costs a suspended fiber (a few
 * kilobytes) and an entry in a ring; thousands wait on one thread. Computing does not overlap: a
 * task that computes keeps its loop. Nothing is isolated.
 *
 * With --loops N there are N threads, each with a ring, a loop and a claim of its own; they share
 * the window and the source of tasks, nothing else. The first is the main thread.
 *
 * Each fiber is one place in the window: it takes a task, runs it to its record, takes the next.
 * Another fiber is started only when all existing ones wait.
 */

#include <pthread.h>
#include <semaphore.h>

#include "daemon/runner/executor/zygote.h"
#include "daemon/runner/io/async.h"
#include "daemon/runner/levels/descriptors.h"
#include "daemon/runner/levels/levels.h"
#include "daemon/runner/measure.h"

/* All loops are set up before any of them runs. */
struct gate {
        sem_t set_up; /* posted by each loop that waits or has failed */
        sem_t go;     /* posted for each loop */
        bool closed;  /* none may run */
};

struct async_loop {
        struct loop loop;
        struct async_io io;
        struct worker worker;
        pthread_t thread;
        struct gate *gate;
        bool started;
        unsigned first_slot; /* of this loop's part of the window, for the records */
        unsigned window;
        unsigned n_executors;         /* workers that compute for it; 0: it computes itself */
        struct fetcher_bounds bounds; /* its part of struct descriptors_of_loops */
        unsigned number;              /* among the loops */
        uint64_t asked_ns;            /* when the fiber that starts next was asked for */
        struct histogram births;
        int result;
        int spawn_error; /* why the window is smaller than asked for */
        bool has_fibers;
        struct ring_counters counters;
        struct pool_counters pool;
        const char *setup;
} __attribute__((aligned(128)));

static void place_run(void *userdata)
{
        struct async_loop *async = userdata;
        uint16_t slot = (uint16_t)(async->first_slot + loop_slot(&async->loop));
        uint64_t clock = now_monotonic();
        struct taken taken;

        histogram_add(&async->births, clock - async->asked_ns);
        while (worker_take(&async->worker, &taken)) {
                if (worker_run_taken(&async->worker, &taken, slot, &clock) < 0)
                        return;
                clock = loop_breathe(&async->loop, clock);
        }
}

/*
 * Without any fiber nothing can be run; with at least one the job continues, in a smaller window.
 */
static void spawn_failed(struct async_loop *async, int error)
{
        async->spawn_error = error;
        if (async->loop.n_spawned == 0)
                log_error("cannot make a fiber: %s; raise the job's memory limit",
                          strerrordesc_np(-error));
        else
                log_error("cannot make fiber %u of %u: %s; going on with those there are. Ask for "
                          "fewer with --workers, or raise vm.max_map_count and the memory limit",
                          async->loop.n_spawned + 1, async->window, strerrordesc_np(-error));
}

/*
 * The first fiber is made before anything is claimed: if none can be made, the other loops do all
 * the work. Parked fibers have to be told of the end too.
 */
static bool claim(struct async_loop *async)
{
        struct worker *worker = &async->worker;

        if (async->loop.n_spawned == 0)
                return !runner_cancelled(worker->runner);
        return worker_claim(worker) || (async->loop.parked && worker_is_done(worker));
}

static bool more_fibers(struct loop *loop, void *userdata)
{
        struct async_loop *async = userdata;
        struct worker *worker = &async->worker;
        int r;

        if (worker->next == worker->end && !claim(async))
                return false;
        if (loop_unpark(loop))
                return true;
        async->asked_ns = now_monotonic();
        r = loop_spawn(loop, place_run, async);
        if (r < 0)
                spawn_failed(async, r);
        return r >= 0;
}

static int async_init(struct async_loop *async, struct runner *runner)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int wake_fd, r;

        r = loop_init(&async->loop, runner, async->window, &fault);
        if (r < 0) {
                log_error("cannot set up io_uring for the level async: %s%s%s. The levels serial, "
                          "threads and processes work without it",
                          fault.why, fault.advice ? ": " : "", fault.advice ?: "");
                return r;
        }
        async_io_init(&async->io, &async->loop, &async->bounds);
        if (async->n_executors > 0) {
                r = pool_new(&async->loop, runner->spec.executor, async->n_executors,
                             &async->io.pool);
                if (r < 0) {
                        loop_deinit(&async->loop);
                        return r;
                }
        }
        worker_init(&async->worker, runner, 0, &async_ops, &async->io);
        async->setup = async->loop.ring.setup;
        wake_fd = runner->source->ops->wake_fd(runner->source, async->number);
        if (wake_fd >= 0) {
                async->worker.wake = async->number;
                loop_watch_source(&async->loop, wake_fd);
        }
        return 0;
}

static int async_run(struct async_loop *async)
{
        int r = async->gate->closed ? 0 : loop_run(&async->loop, more_fibers, async);

        worker_flush(&async->worker);
        if (r < 0)
                log_error("the io_uring of the level async broke: %s; the tasks in flight have no "
                          "result, run the job again for those",
                          strerrordesc_np(-r));
        async->has_fibers = async->loop.n_spawned > 0;
        async->counters = async->loop.ring.counters;
        if (async->io.pool) {
                pool_stop(async->io.pool);
                async->pool = pool_counters(async->io.pool);
        }
        loop_deinit(&async->loop);
        async_io_deinit(&async->io);
        return r;
}

static void wait_for(sem_t *semaphore)
{
        while (sem_wait(semaphore) < 0)
                assert(errno == EINTR);
}

/* A loop that cannot start has claimed nothing: the others do its part. */
static void *async_thread(void *userdata)
{
        struct async_loop *async = userdata;
        int r = async_init(async, async->worker.runner);

        sem_post(&async->gate->set_up);
        wait_for(&async->gate->go);
        if (r >= 0)
                async->result = async_run(async);
        return NULL;
}

static void start_threads(struct async_loop *loops, unsigned n)
{
        for (unsigned i = 1; i < n; ++i) {
                int r = pthread_create(&loops[i].thread, NULL, async_thread, &loops[i]);

                if (r != 0) {
                        log_error("cannot start loop %u of %u: %s; going on with those there are. "
                                  "Ask for fewer with --loops, or raise the limit of tasks",
                                  i + 1, n, strerrordesc_np(r));
                        return;
                }
                loops[i].started = true;
        }
}

static int join_threads(struct async_loop *loops, unsigned n)
{
        int r = 0;

        for (unsigned i = 1; i < n && loops[i].started; ++i) {
                pthread_join(loops[i].thread, NULL);
                r = MIN(r, loops[i].result);
        }
        return r;
}

static void divide_window(struct async_loop *loops, unsigned n, struct runner *runner,
                          const struct descriptors_of_loops *share)
{
        unsigned window = runner->spec.workers, first = 0;
        unsigned executors = runner->spec.executor ? MAX(runner->spec.executor_workers, n) : 0;

        for (unsigned i = 0; i < n; ++i) {
                loops[i].window = window / n + (i < window % n);
                loops[i].first_slot = first;
                loops[i].n_executors = executors / n + (i < executors % n);
                loops[i].bounds = (struct fetcher_bounds){
                        .connections_max = share->libcurl ? MAX(share->libcurl / n, 1U) : 0,
                        .resolving_max = MAX(share->resolving / n, 1U),
                };
                loops[i].number = i;
                loops[i].worker.runner = runner;
                first += loops[i].window;
        }
}

static void counters_add(struct ring_counters *sum, const struct ring_counters *counters)
{
        sum->submissions += counters->submissions;
        sum->completions += counters->completions;
        sum->enters += counters->enters;
        sum->wakeups += counters->wakeups;
        sum->overflows += counters->overflows;
}

static void measure_loops(struct runner *runner, const struct async_loop *loops, unsigned n)
{
        struct ring_counters sum = { 0 };
        uint64_t stall = 0;
        json_t *ring;

        for (unsigned i = 0; i < n; ++i) {
                counters_add(&sum, &loops[i].counters);
                stall = MAX(stall, loops[i].loop.stall_max_ns);
        }
        ring = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "setup", loops[0].setup,
                         "submissions", (json_int_t)sum.submissions, "completions",
                         (json_int_t)sum.completions, "enters", (json_int_t)sum.enters, "wakeups",
                         (json_int_t)sum.wakeups, "overflows", (json_int_t)sum.overflows,
                         "stall_max_seconds", (double)stall / 1e9);
        if (sum.wakeups > 0)
                json_object_set_new(ring, "completions_per_wakeup",
                                    json_real((double)sum.completions / (double)sum.wakeups));
        measure_object(runner, "ring", ring);
}

static void measure_executor(struct runner *runner, const struct async_loop *loops, unsigned n)
{
        struct pool_counters sum = { 0 };
        unsigned workers = 0;
        json_t *executor;

        for (unsigned i = 0; i < n; ++i) {
                sum.calls += loops[i].pool.calls;
                sum.messages += loops[i].pool.messages;
                sum.writes += loops[i].pool.writes;
                sum.replaced += loops[i].pool.replaced;
                workers += loops[i].n_executors;
        }
        if (workers == 0)
                return;
        executor = json_pack("{s:s, s:I, s:I, s:I, s:I}", "kind",
                             executor_infos[runner->spec.executor].name, "workers",
                             (json_int_t)workers, "calls", (json_int_t)sum.calls, "messages",
                             (json_int_t)sum.messages, "eventfd_writes", (json_int_t)sum.writes);
        if (runner->spec.executor == EXECUTOR_PROCESSES)
                json_object_set_new(executor, "replaced", json_integer((json_int_t)sum.replaced));
        measure_object(runner, "executor", executor);
}

static void measure_births(struct runner *runner, const struct async_loop *loops, unsigned n)
{
        struct histogram *births = calloc(1, sizeof(*births));

        if (!births) {
                log_error("cannot measure how fast fibers started: out of memory");
                return;
        }
        for (unsigned i = 0; i < n; ++i)
                histogram_merge(births, &loops[i].births);
        measure_histogram(runner, "worker_start_seconds", births);
        free(births);
}

/* A loop without a fiber has done nothing, which is an error only if no loop has one. */
static int spawn_result(const struct async_loop *loops, unsigned n)
{
        int r = 0;

        for (unsigned i = 0; i < n; ++i) {
                if (loops[i].has_fibers)
                        return 0;
                r = MIN(r, loops[i].spawn_error);
        }
        return r;
}

/* For all loops that are set up; their threads wait meanwhile (zygote.h). */
static int start_processes(struct async_loop *loops, unsigned n, struct zygote **ret)
{
        struct pool **pools = calloc(n, sizeof(struct pool *));
        unsigned n_pools = 0;
        int r;

        if (!pools) {
                log_error("cannot start the processes of the executor: out of memory");
                return -ENOMEM;
        }
        for (unsigned i = 0; i < n; ++i)
                if (loops[i].io.pool)
                        pools[n_pools++] = loops[i].io.pool;
        r = zygote_start(loops[0].worker.runner, pools, n_pools, ret);
        free(pools);
        return r;
}

static int run_through_gate(struct async_loop *loops, unsigned n, struct gate *gate)
{
        const struct runner *runner = loops[0].worker.runner;
        struct zygote *zygote = NULL;
        int started = 0, first, others;

        start_threads(loops, n);
        for (unsigned i = 1; i < n && loops[i].started; ++i)
                wait_for(&gate->set_up);
        if (runner->spec.executor == EXECUTOR_PROCESSES)
                started = start_processes(loops, n, &zygote);
        gate->closed = started < 0;
        for (unsigned i = 1; i < n && loops[i].started; ++i)
                sem_post(&gate->go);
        first = async_run(&loops[0]);
        others = join_threads(loops, n);
        zygote_stop(zygote);
        return MIN(MIN(first, others), started);
}

/* The first loop is set up before others start: a reason that prevents it prevents them all. */
static int loops_run(struct async_loop *loops, unsigned n)
{
        struct gate gate = { .closed = false };
        int r;

        r = async_init(&loops[0], loops[0].worker.runner);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < n; ++i)
                loops[i].gate = &gate;
        sem_init(&gate.set_up, 0, 0);
        sem_init(&gate.go, 0, 0);
        r = run_through_gate(loops, n, &gate);
        sem_destroy(&gate.set_up);
        sem_destroy(&gate.go);
        return r < 0 ? r : spawn_result(loops, n);
}

int level_async_run(struct runner *runner)
{
        struct descriptors_of_loops share;
        struct async_loop *loops;
        size_t size;
        unsigned n;
        int r;

        descriptors_share_loops(runner, MIN(runner->spec.loops, runner->spec.workers), &share);
        n = MIN(runner->spec.loops, runner->spec.workers);
        size = n * sizeof(struct async_loop);
        loops = aligned_alloc(_Alignof(struct async_loop), size);
        if (!loops) {
                log_error("cannot make %u loops: out of memory", n);
                return -ENOMEM;
        }
        memset(loops, 0, size);
        divide_window(loops, n, runner, &share);
        r = loops_run(loops, n);
        if (loops[0].setup) {
                measure_loops(runner, loops, n);
                measure_executor(runner, loops, n);
                measure_births(runner, loops, n);
        }
        free(loops);
        return r;
}
