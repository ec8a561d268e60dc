#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "cli/say.h"
#include "cli/summary.h"
#include "cli/talk.h"
#include "cli/units.h"

/* That many tasks of the I-th job are done; 0 if it did not run. */
static uint64_t done(const struct talk *talk, size_t i)
{
        return job_count(talk->runs[i].outcome.job, "tasks_done");
}

static uint64_t failed(const struct talk *talk, size_t i)
{
        return job_count(talk->runs[i].outcome.job, "tasks_failed");
}

static double wall(const struct talk *talk, size_t i)
{
        return talk_number(talk, i, "wall_seconds");
}

static double work(const struct talk *talk, size_t i)
{
        return talk_number(talk, i, "work_seconds");
}

static bool ran(const struct talk *talk, size_t i)
{
        return talk->runs[i].outcome.job;
}

static int tell_serial(struct talk *talk)
{
        bool holds = work(talk, 1) < work(talk, 0) / 2;
        char a[UNITS_SIZE], b[UNITS_SIZE];

        talk_fact(talk, "serial_seconds", METRIC_SECONDS, work(talk, 0), "one after the other");
        talk_fact(talk, "together_seconds", METRIC_SECONDS, work(talk, 1),
                  "all at once, by four threads");
        return talk_saw(talk, holds,
                        holds ? "one after the other, waits add up to %s. At once they take as "
                                "long as the longest: %s."
                              : "that waits add up. One after the other they took %s, at once %s.",
                        units_seconds(work(talk, 0), a), units_seconds(work(talk, 1), b));
}

const struct talk_chapter talk_serial = {
        .name = "serial",
        .title = "One after the other",
        .text = "The simplest program: fetch a page, count its words, then fetch the next. Nothing "
                "can go wrong between two tasks, since there is only one at a time. But while it "
                "waits for a page (these come after 200 ms), nothing else gets done.",
        .commands = (const struct talk_command[]){ { .arguments = "run serial words" },
                                                   { .arguments = "run threads words --workers 4" },
                                                   { .arguments = NULL } },
        .drawn = 3,
        .told = tell_serial,
};

static int tell_processes(struct talk *talk)
{
        bool holds = done(talk, 0) == 5 && failed(talk, 0) == 1;

        talk_fact(talk, "crash_done", METRIC_COUNT, ran(talk, 0) ? (double)done(talk, 0) : NAN,
                  "tasks done beside one that crashed");
        talk_fact(talk, "replaced", METRIC_COUNT, talk_number(talk, 0, "workers_replaced"),
                  "workers replaced");
        if (ran(talk, 1)) {
                talk_fact(talk, "memory_done", METRIC_COUNT, (double)done(talk, 1),
                          "tasks done beside one that ran out of memory");
                holds = holds && done(talk, 1) == 3 && failed(talk, 1) == 1;
        }
        return talk_saw(talk, holds,
                        holds ? "the kernel keeps processes apart. A crash%s took one task with "
                                "it; the others never noticed."
                              : "that a crash%s takes one task with it, and no other.",
                        ran(talk, 1) ? ", and a task that used up its worker's memory," : "");
}

const struct talk_chapter talk_processes = {
        .name = "processes",
        .title = "Processes: isolation",
        .text = "Each worker is a process with memory of its own, in a control group of its own. "
                "What happens to one cannot happen to another. The price is paid at the start of "
                "each, and in memory.",
        .commands =
                (const struct talk_command[]){
                        { .arguments = "run processes mix --workers 2",
                          .inputs = { { "cpu=20ms", 2 }, { "crash", 1 }, { "cpu=20ms", 3 } } },
                        { .arguments = "run processes mix --workers 2 --worker-memory-max 64M",
                          .inputs = { { "touch=4M", 2 }, { "touch=256M", 1 }, { "touch=4M", 1 } } },
                        { .arguments = NULL } },
        .drawn = 1,
        .told = tell_processes,
};

#define COUNTED 2000000

/* The highest value among the results. */
static double counted(const struct talk *talk, size_t i)
{
        const struct results *results = &talk->runs[i].outcome.results;
        struct ppp_record record;
        uint64_t max = 0;

        for (uint64_t k = 0; k < results->n_tasks; ++k)
                if (results_get(results, k, &record))
                        max = MAX(max, record.value);
        return (double)max;
}

static int tell_threads(struct talk *talk)
{
        double bare = talk_service_sum(talk, 0) / (4 * COUNTED);
        double locked = talk_service_sum(talk, 1) / (4.0 * COUNTED / 10);
        bool crashed = streq(job_text(talk->runs[2].outcome.job, "state"), "failed"), holds;
        char a[UNITS_SIZE], b[UNITS_SIZE];

        talk_fact(talk, "expected", METRIC_COUNT, 4 * COUNTED, "increments");
        talk_fact(talk, "counted", METRIC_COUNT, counted(talk, 0), "counted without a lock");
        talk_fact(talk, "expected_locked", METRIC_COUNT, 4.0 * COUNTED / 10,
                  "increments with the lock");
        talk_fact(talk, "counted_locked", METRIC_COUNT, counted(talk, 1), "counted with it");
        talk_fact(talk, "increment_seconds", METRIC_SECONDS, bare, "an increment");
        talk_fact(talk, "locked_increment_seconds", METRIC_SECONDS, locked,
                  "an increment with the lock");
        holds = counted(talk, 0) < 4 * COUNTED && counted(talk, 1) == 4.0 * COUNTED / 10 && crashed;
        return talk_saw(talk, holds,
                        holds ? "without a lock %.0f of %d increments got lost, and no error said "
                                "so. With it the count is right, and an increment takes %s instead "
                                "of %s. And a crash ended the whole job: its threads are one "
                                "process."
                              : "that increments get lost without a lock: %.0f of %d were, which "
                                "depends on how the CPUs take turns. An increment takes %s with "
                                "the lock and %s without.",
                        4.0 * COUNTED - counted(talk, 0), 4 * COUNTED, units_seconds(locked, b),
                        units_seconds(bare, a));
}

const struct talk_chapter talk_threads = {
        .name = "threads",
        .title = "Threads: shared memory, if you dare",
        .text = "Threads start faster than processes and share their memory. That is their "
                "strength and their pitfall: two of them may read the same number, add one, and "
                "write the same result.",
        .commands = (const struct talk_command[]){ { .arguments = "run threads mix --workers 2",
                                                     .inputs = { { "shared=2000000", 4 } } },
                                                   { .arguments = "run threads mix --workers 2",
                                                     .inputs = { { "locked=200000", 4 } } },
                                                   { .arguments = "run threads mix --workers 2",
                                                     .inputs = { { "sleep=100ms", 2 },
                                                                 { "crash", 1 },
                                                                 { "sleep=100ms", 1 } } },
                                                   { .arguments = NULL } },
        .told = tell_threads,
};

static int tell_lock(struct talk *talk)
{
        double cpus = talk_number(talk, 0, "host.cpus");
        double held = work(talk, 1) / work(talk, 0), none = work(talk, 2) / work(talk, 0);
        double released = work(talk, 4) / work(talk, 3);
        bool holds;

        talk_fact(talk, "lock_ratio", METRIC_RATIO, held,
                  "sum: two threads with the lock / serial");
        talk_fact(talk, "no_lock_ratio", METRIC_RATIO, none,
                  "sum: two threads without it / serial");
        talk_fact(talk, "released_ratio", METRIC_RATIO, released,
                  "sum-array, which releases it / serial");
        if (cpus < 2)
                return talk_saw(talk, false,
                                "there is one CPU, so no thread can compute beside "
                                "another, lock or not.");
        holds = held > 0.85 && none < 0.8 && released < 0.8;
        return talk_saw(talk, holds,
                        holds ? "with one lock around all computing, two threads took %.2f of the "
                                "time of one; without it %.2f. Work that releases the lock, as "
                                "numpy does, took %.2f."
                              : "that the lock takes away what a second thread gains, and no more. "
                                "Two threads took %.2f of the time of one with it, %.2f without "
                                "it, and %.2f where it was released. Other work may have the CPUs.",
                        held, none, released);
}

const struct talk_chapter talk_lock = {
        .name = "lock",
        .title = "The global lock",
        .text = "CPython lets one thread compute at a time. --gil does the same here: one lock, "
                "handed over every 5 ms and released around waits. So threads that compute gain "
                "nothing, unless they compute where the lock is not needed.",
        .commands =
                (const struct talk_command[]){
                        { .arguments = "run serial sum", .inputs = { { "201600000", 4 } } },
                        { .arguments = "run threads sum --workers 2 --gil",
                          .inputs = { { "201600000", 4 } } },
                        { .arguments = "run threads sum --workers 2",
                          .inputs = { { "201600000", 4 } } },
                        { .arguments = "run serial sum-array", .inputs = { { "20160000", 4 } } },
                        { .arguments = "run threads sum-array --workers 2 --gil",
                          .inputs = { { "20160000", 4 } } },
                        { .arguments = NULL } },
        .drawn = 0x1f,
        .told = tell_lock,
};

static int tell_async(struct talk *talk)
{
        double waited = talk_service_sum(talk, 0), cpu;
        char a[UNITS_SIZE], b[UNITS_SIZE], c[UNITS_SIZE];
        bool holds;

        if (!ran(talk, 0))
                return talk_saw(talk, false, "the level async, which cannot run here.");
        cpu = talk_number(talk, 0, "cpu_user_seconds") + talk_number(talk, 0, "cpu_system_seconds");
        talk_fact(talk, "waited_seconds", METRIC_SECONDS, waited, "waited, all tasks together");
        talk_fact(talk, "wall_seconds", METRIC_SECONDS, wall(talk, 0),
                  "the whole job, on one thread");
        talk_fact(talk, "cpu_seconds", METRIC_SECONDS, cpu, "its CPU time");
        talk_fact(talk, "threads_cpu_seconds", METRIC_SECONDS,
                  talk_number(talk, 1, "cpu_user_seconds") +
                          talk_number(talk, 1, "cpu_system_seconds"),
                  "with 1,000 threads instead");
        holds = wall(talk, 0) < waited / 20;
        return talk_saw(talk, holds,
                        holds ? "one thread waited %s in %s, and used %s of CPU time for a "
                                "thousand tasks."
                              : "that one thread waits for a thousand tasks in the time of a few. "
                                "Waits of %s took %s, and %s of CPU time.",
                        units_seconds(waited, a), units_seconds(wall(talk, 0), b),
                        units_seconds(cpu, c));
}

const struct talk_chapter talk_async = {
        .name = "async",
        .title = "Async: a thousand waits on one thread",
        .text = "One thread hands its waits to the kernel's io_uring and continues with whichever "
                "task has something to do. A task costs a small stack, no thread; so thousands "
                "can wait at once.",
        .commands = (const struct talk_command[]){ { .arguments = "run async mix --workers 1000",
                                                     .inputs = { { "sleep=100ms", 1000 } } },
                                                   { .arguments = "run threads mix --workers 1000",
                                                     .inputs = { { "sleep=100ms", 1000 } } },
                                                   { .arguments = NULL } },
        .drawn = 1,
        .told = tell_async,
};

#define SLEEPS "sleep=10ms"

static int tell_loop(struct talk *talk)
{
        double kept = talk_service_percentile(talk, 0, SLEEPS, 99);
        double cured = talk_service_percentile(talk, 1, SLEEPS, 99);
        char a[UNITS_SIZE], b[UNITS_SIZE], c[UNITS_SIZE];
        double stall = talk_number(talk, 0, "ring.stall_max_seconds");
        bool holds;

        if (!ran(talk, 0) || !ran(talk, 1))
                return talk_saw(talk, false, "the level async, which cannot run here.");
        talk_fact(talk, "sleep_p99_seconds", METRIC_SECONDS, kept, "p99 of the waits of 10 ms");
        talk_fact(talk, "stall_max_seconds", METRIC_SECONDS, stall,
                  "longest time the loop was kept");
        talk_fact(talk, "executor_sleep_p99_seconds", METRIC_SECONDS, cured,
                  "p99 of the waits, with an executor");
        talk_fact(talk, "executor_stall_max_seconds", METRIC_SECONDS,
                  talk_number(talk, 1, "ring.stall_max_seconds"),
                  "longest time the loop was kept, then");
        holds = cured < kept / 3;
        return talk_saw(talk, holds,
                        holds ? "tasks that compute for 50 ms kept the loop for up to %s, so waits "
                                "of 10 ms took up to %s. With threads to compute in, the loop "
                                "went on: %s."
                              : "that an executor lets the loop go on. The loop was kept for up to "
                                "%s; waits of 10 ms took %s, and %s with an executor. Other work "
                                "may have the CPUs.",
                        units_seconds(stall, a), units_seconds(kept, b), units_seconds(cured, c));
}

const struct talk_chapter talk_loop = {
        .name = "loop",
        .title = "Async: who computes keeps the loop, and the cure",
        .text = "On one thread only one task runs at any time, and none is interrupted. A task "
                "that computes makes all others late, whatever they wait for. An executor is a "
                "pool of workers beside the loop, which does the computing.",
        .commands =
                (const struct talk_command[]){
                        { .arguments = "run async mix --workers 220",
                          .inputs = { { SLEEPS, 200 }, { "cpu=50ms", 10 } } },
                        { .arguments = "run async mix --workers 220 --executor threads",
                          .inputs = { { SLEEPS, 200 }, { "cpu=50ms", 10 } } },
                        { .arguments = NULL } },
        .drawn = 3,
        .told = tell_loop,
};
