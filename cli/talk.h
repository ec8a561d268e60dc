#pragma once

/*
 * `pppctl talk`: chapters that show the levels on this machine. A chapter runs jobs, measures, and
 * says what was seen, or that its claim did not hold here. talk.c turns the pages, talk-page.c runs
 * the jobs and prints, talk-chapters.c and talk-scaling.c are the chapters.
 */

#include <jansson.h>

#include "cli/launch.h"
#include "lib/metric.h"

#define TALK_INPUTS_MAX 3
#define TALK_RUNS_MAX   8

struct talk;

/* A job of a chapter: `pppctl` with these arguments, over inputs that are repeated. */
struct talk_command {
        const char *arguments; /* without inputs: "run async mix --workers 8" */
        struct talk_input {
                const char *input;
                unsigned times; /* 0: no more of them */
        } inputs[TALK_INPUTS_MAX];

        /* Called while the job runs; NULL: nothing happens to it. */
        int (*meanwhile)(struct talk *talk, uint64_t job);
};

struct talk_chapter {
        const char *name;
        const char *title;
        const char *text;
        const struct talk_command *commands; /* until one without arguments; NULL: told runs all */

        unsigned drawn; /* bit set: the runs whose timelines are drawn */

        /* Measures, and concludes by talk_saw(). Returns 0 or an exit status. */
        int (*told)(struct talk *talk);
};

/* The job of a command, once it has ended. */
struct talk_run {
        struct source source;
        struct outcome outcome; /* .job NULL: it could not be run here */
};

struct talk {
        const struct args *args;
        struct pppd pppd;
        struct output output;
        bool json, color, pauses;
        size_t width; /* columns */

        const struct talk_chapter *chapter;
        struct talk_run runs[TALK_RUNS_MAX];
        size_t n_runs;
        json_t *facts;     /* by name; owned */
        json_t *commands;  /* those that ran; owned */
        json_t *not_shown; /* what this machine lacks, and what to do; owned */
        char *saw;         /* owned */
        bool holds;
        bool no_memory; /* for a fact: talk_saw() returns the error */
};

extern const struct talk_chapter talk_serial, talk_machines, talk_processes, talk_threads,
        talk_lock, talk_async, talk_loop, talk_scaling, talk_levels;

/* In their order; NULL-terminated. */
extern const struct talk_chapter *const talk_chapters[];

/* Runs the chapter's jobs and prints its page. Returns 0 or an exit status. */
int talk_show(struct talk *talk, const struct talk_chapter *chapter, unsigned number, unsigned n);

/* Returns the facts and the conclusion of the chapter as a new object, for --json; NULL without
 * memory. */
json_t *talk_page_json(const struct talk *talk);
void talk_page_deinit(struct talk *talk);

/* Forgets the jobs that ran so far: talk->runs begins anew. */
void talk_forget_runs(struct talk *talk);

/*
 * Runs a job to its end as the next of talk->runs. @quiet: its command and its results are not
 * printed. If it cannot be run here, that is noted for the page. Returns 0 or an exit status.
 */
int talk_run(struct talk *talk, const struct talk_command *command, bool quiet);

/* A number of the I-th job's summary (summary_number()); NAN where there is none. */
double talk_number(const struct talk *talk, size_t i, const char *path);

/* Seconds of all its tasks together. */
double talk_service_sum(const struct talk *talk, size_t i);

/* That many percent of its tasks whose input begins with @prefix took no longer; seconds or NAN. */
double talk_service_percentile(const struct talk *talk, size_t i, const char *prefix,
                               double percent);

/*
 * Prints a measured value (not if @label is NULL), and keeps it by its name for --json. NAN is left
 * out: the job it is from could not be run, or its summary says why the metric is absent.
 */
void talk_fact(struct talk *talk, const char *name, enum metric_kind kind, double value,
               const char *label);

/* A line of the page; not printed with --json. */
void talk_line(struct talk *talk, const char *format, ...) _printf_(2, 3);

/* An empty line. */
void talk_gap(struct talk *talk);

/* Notes a thing that this machine cannot show, and why; the page and --json have it. */
int talk_lacks(struct talk *talk, const char *format, ...) _printf_(2, 3);

/* The last lines of the page; @holds: what the chapter claims was seen. */
int talk_saw(struct talk *talk, bool holds, const char *format, ...) _printf_(3, 4);
