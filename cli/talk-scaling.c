/* Chapters that measure levels beside each other: how far each scales, and what each costs. */

#include <math.h>
#include <stdio.h>

#include "cli/say.h"
#include "cli/summary.h"
#include "cli/talk.h"
#include "cli/units.h"

static const enum level shown[] = { LEVEL_THREADS, LEVEL_PROCESSES, LEVEL_ASYNC };

static const struct kind {
        const char *name;
        struct talk_input input;
} kinds[] = {
        { "wait", { "sleep=10ms", 256 } },
        { "compute", { "cpu=2ms", 256 } },
};

#define N_STEPS    9    /* 1, 2, 4 ... 256 workers */
#define BAR        8    /* columns of the longest bar */
#define GAIN_LEAST 1.25 /* of twice the workers: less is no gain worth them */

struct plot {
        double wall[ARRAY_SIZE(shown)][N_STEPS]; /* seconds; NAN: it could not be run */
};

/* Runs a job that is not printed, in the place of the last one. */
static int measure(struct talk *talk, const char *arguments, struct talk_input input)
{
        const struct talk_command command = { .arguments = arguments, .inputs = { input } };

        talk_forget_runs(talk);
        return talk_run(talk, &command, true);
}

static int measure_kind(struct talk *talk, const struct kind *kind, struct plot *plot)
{
        char arguments[64];
        int r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(shown); ++i)
                for (unsigned step = 0; step < N_STEPS; ++step)
                        plot->wall[i][step] = NAN;
        for (size_t i = 0; i < ARRAY_SIZE(shown); ++i)
                for (unsigned step = 0; r == 0 && step < N_STEPS; ++step) {
                        snprintf(arguments, sizeof(arguments), "run %s mix --workers %u",
                                 level_name(shown[i]), 1U << step);
                        r = measure(talk, arguments, kind->input);
                        plot->wall[i][step] = talk_number(talk, 0, "work_seconds");
                        if (isnan(plot->wall[i][step]))
                                break;
                }
        return r;
}

static double speed_up(const struct plot *plot, size_t i, unsigned step)
{
        return plot->wall[i][0] / plot->wall[i][step];
}

/* The workers from which on twice as many gain little. */
static unsigned stops_at(const struct plot *plot, size_t i)
{
        unsigned step = 0;

        while (step + 1 < N_STEPS &&
               speed_up(plot, i, step + 1) > GAIN_LEAST * speed_up(plot, i, step))
                ++step;
        return 1U << step;
}

static void draw(struct talk *talk, const struct kind *kind, const struct plot *plot)
{
        double most = 1;

        for (size_t i = 0; i < ARRAY_SIZE(shown); ++i)
                for (unsigned step = 0; step < N_STEPS; ++step)
                        most = isnan(plot->wall[i][step]) ? most
                                                          : MAX(most, speed_up(plot, i, step));
        talk_gap(talk);
        talk_line(talk, "  tasks that %s: times as fast as one worker", kind->name);
        talk_line(talk, "  workers  %-17s %-17s %s", level_name(shown[0]), level_name(shown[1]),
                  level_name(shown[2]));
        for (unsigned step = 0; step < N_STEPS; ++step) {
                char cells[ARRAY_SIZE(shown)][24];

                for (size_t i = 0; i < ARRAY_SIZE(shown); ++i) {
                        double times = speed_up(plot, i, step);
                        int n = isnan(times) ? 0 : (int)(times / most * BAR + 0.5);

                        if (isnan(times))
                                snprintf(cells[i], sizeof(cells[i]), "%6s", "-");
                        else
                                snprintf(cells[i], sizeof(cells[i]), "%6.2f %.*s", times, n,
                                         "########");
                }
                talk_line(talk, "  %7u  %-17s %-17s %s", 1U << step, cells[0], cells[1], cells[2]);
        }
}

static void keep(struct talk *talk, const struct kind *kind, const struct plot *plot)
{
        char name[64], label[64];

        for (size_t i = 0; i < ARRAY_SIZE(shown); ++i) {
                if (isnan(plot->wall[i][0]))
                        continue;
                snprintf(name, sizeof(name), "%s_%s_workers", level_name(shown[i]), kind->name);
                snprintf(label, sizeof(label), "%s: tasks that %s gain up to workers",
                         level_name(shown[i]), kind->name);
                talk_fact(talk, name, METRIC_COUNT, stops_at(plot, i), label);
        }
}

static int tell_scaling(struct talk *talk)
{
        struct plot plots[ARRAY_SIZE(kinds)];
        double cpus;
        bool holds;
        int r = 0;

        talk_gap(talk);
        talk_line(talk, "$ for n in 1 2 4 8 16 32 64 128 256; do");
        talk_line(
                talk,
                "      yes sleep=10ms | head -n 256 | pppctl run LEVEL mix --workers $n --from -");
        talk_line(talk, "      yes cpu=2ms | head -n 256 | pppctl run LEVEL mix --workers $n "
                        "--from -; done");
        for (size_t k = 0; r == 0 && k < ARRAY_SIZE(kinds); ++k) {
                r = measure_kind(talk, &kinds[k], &plots[k]);
                if (r == 0)
                        draw(talk, &kinds[k], &plots[k]);
        }
        for (size_t k = 0; r == 0 && k < ARRAY_SIZE(kinds); ++k)
                keep(talk, &kinds[k], &plots[k]);
        if (r)
                return r;
        cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
        holds = stops_at(&plots[0], 0) >= 4 * stops_at(&plots[1], 0);
        return talk_saw(talk, holds,
                        holds ? "tasks that compute gain from the %.0f CPUs and no further, and at "
                                "async, on one thread, not at all. Tasks that wait gain as long as "
                                "there are tasks to wait for, until starting workers takes longer."
                              : "that waiting scales further than computing, on %.0f CPUs. Other "
                                "work may have them.",
                        cpus);
}

const struct talk_chapter talk_scaling = {
        .name = "scaling",
        .title = "Where each level stops scaling",
        .text = "Twice the workers, twice the speed: up to where? That depends on whether tasks "
                "wait or compute. One more worker shortens waits; only one more CPU shortens "
                "computing.",
        .told = tell_scaling,
};

/* An advantage and a disadvantage of each level, which its costs show. */
static const struct trait {
        enum level level;
        const char *advantage, *disadvantage;
} traits[] = {
        { LEVEL_SERIAL, "nothing happens at the same time", "waits add up, one CPU works" },
        { LEVEL_THREADS, "light, quick, share memory", "share memory, and a crash" },
        { LEVEL_PROCESSES, "isolated, and each can be limited", "dear to start and to keep" },
        { LEVEL_ASYNC, "lightest: thousands of waits", "who computes keeps the loop" },
};

#define N_NOTHING    200000
#define N_WAITS      2000
#define WORKERS      64
#define WORKERS_MANY 256

/* Seconds of CPU a task that does nothing and one that waits; of a worker, seconds and bytes. */
struct costs {
        double task, wait, start, memory;
};

static int measure_level(struct talk *talk, enum level level, unsigned workers,
                         struct talk_input input)
{
        char arguments[64];

        if (level == LEVEL_SERIAL)
                return measure(talk, "run serial sleep", input);
        snprintf(arguments, sizeof(arguments), "run %s sleep --workers %u", level_name(level),
                 workers);
        return measure(talk, arguments, input);
}

static double cpu_seconds(const struct talk *talk)
{
        return talk_number(talk, 0, "cpu_user_seconds") +
               talk_number(talk, 0, "cpu_system_seconds");
}

/* Of many workers, since the kernel counts resident memory with some latitude. */
static int measure_memory(struct talk *talk, enum level level, double *ret)
{
        double few;
        int r = measure_level(talk, level, 1, (struct talk_input){ "0", N_WAITS });

        few = talk_number(talk, 0, "rss_peak_bytes");
        if (r == 0)
                r = measure_level(talk, level, WORKERS_MANY, (struct talk_input){ "1ms", N_WAITS });
        *ret = (talk_number(talk, 0, "rss_peak_bytes") - few) / (WORKERS_MANY - 1);
        if (*ret <= 0)
                *ret = NAN;
        return r;
}

static int measure_costs(struct talk *talk, enum level level, struct costs *ret)
{
        double base;
        int r = measure_level(talk, level, 1, (struct talk_input){ "0", 1 });

        *ret = (struct costs){ NAN, NAN, NAN, NAN };
        if (r || !talk->runs[0].outcome.job)
                return r;
        base = cpu_seconds(talk);
        r = measure_level(talk, level, 1, (struct talk_input){ "0", N_NOTHING });
        ret->task = (cpu_seconds(talk) - base) / N_NOTHING;
        if (r == 0)
                r = measure_level(talk, level, WORKERS, (struct talk_input){ "1ms", N_WAITS });
        ret->wait = (cpu_seconds(talk) - base) / N_WAITS;
        ret->start = talk_number(talk, 0, "worker_start_seconds.p50");
        if (r == 0 && level != LEVEL_SERIAL)
                r = measure_memory(talk, level, &ret->memory);
        return r;
}

static void keep_cost(struct talk *talk, enum level level, const char *what, enum metric_kind kind,
                      double value)
{
        char name[64];

        snprintf(name, sizeof(name), "%s_%s", level_name(level), what);
        talk_fact(talk, name, kind, value, NULL);
}

static const char *or_dash(double value, const char *text)
{
        return isnan(value) ? "-" : text;
}

static void tell_costs(struct talk *talk, enum level level, const struct costs *costs)
{
        char a[UNITS_SIZE], b[UNITS_SIZE], c[UNITS_SIZE], d[UNITS_SIZE];

        talk_line(talk, "  %-10s %10s %10s %13s %13s", level_name(level),
                  or_dash(costs->task, units_seconds(costs->task, a)),
                  or_dash(costs->wait, units_seconds(costs->wait, b)),
                  or_dash(costs->start, units_seconds(costs->start, c)),
                  or_dash(costs->memory, units_bytes(costs->memory, d)));
        keep_cost(talk, level, "task_cpu_seconds", METRIC_SECONDS, costs->task);
        keep_cost(talk, level, "wait_cpu_seconds", METRIC_SECONDS, costs->wait);
        keep_cost(talk, level, "worker_start_seconds", METRIC_SECONDS, costs->start);
        keep_cost(talk, level, "worker_bytes", METRIC_BYTES, costs->memory);
}

static int tell_levels(struct talk *talk)
{
        struct costs costs[ARRAY_SIZE(traits)];
        char a[UNITS_SIZE], b[UNITS_SIZE];
        bool holds;
        int r = 0;

        talk_gap(talk);
        talk_line(talk, "  %-10s %10s %10s %13s %13s", "", "CPU a task", "CPU a wait",
                  "worker start", "its memory");
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(traits); ++i) {
                r = measure_costs(talk, traits[i].level, &costs[i]);
                if (r == 0)
                        tell_costs(talk, traits[i].level, &costs[i]);
        }
        if (r)
                return r;
        talk_gap(talk);
        talk_line(talk, "  %-10s %-34s %s", "", "for it", "against it");
        for (size_t i = 0; i < ARRAY_SIZE(traits); ++i)
                talk_line(talk, "  %-10s %-34s %s", level_name(traits[i].level),
                          traits[i].advantage, traits[i].disadvantage);
        holds = costs[2].start > costs[1].start && !(costs[2].memory <= costs[1].memory);
        return talk_saw(talk, holds,
                        holds ? "a process took %s to start, a thread %s. To be kept apart is what "
                                "costs; to share is cheap, and everybody has to behave."
                              : "that processes cost more than threads. Starting one took %s, a "
                                "thread %s.",
                        units_seconds(costs[2].start, a), units_seconds(costs[1].start, b));
}

const struct talk_chapter talk_levels = {
        .name = "levels",
        .title = "What each level costs",
        .text = "Every level has its strengths and its price. Measured with tasks that do nothing, "
                "and with waits of a millisecond by 64 workers.",
        .told = tell_levels,
};
