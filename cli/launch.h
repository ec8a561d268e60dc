#pragma once

/*
 * One job from its submission to its end: Run, Results, Wait, printing meanwhile, Ctrl-C. run does
 * this once, and compare for each level.
 */

#include "cli/client.h"
#include "cli/command-output.h"
#include "cli/follow.h"
#include "cli/source.h"

struct launch {
        struct pppd *pppd; /* borrowed, as all here */
        const struct source *source;
        struct output *output;
        const char *label;                     /* of the progress bar; NULL: "job N" */
        const struct command_output *commands; /* how its commands are printed; NULL: not at all */
        bool ordered;
        enum follow_show show;
        bool quiet;
        bool json_summary; /* printed even for a job that Ctrl-C has cancelled */
};

/* How a job ended. */
struct outcome {
        json_t *job;            /* owned */
        struct results results; /* owned */
};

#define OUTCOME_NULL                                 \
        {                                            \
                .job = NULL, .results = RESULTS_NULL \
        }

void outcome_deinit(struct outcome *outcome);

/*
 * Prints the job's summary as a line of JSON. Returns 0, or prints the error and returns an exit
 * status.
 */
int launch_print_summary(struct output *output, json_t *job);

/* Submits the job. */
int launch_submit(const struct launch *launch, const struct spec *spec, uint64_t *ret_job);

/*
 * For a caller that leaves while the job runs. If a signal came while the job was submitted,
 * cancels it, prints that, and returns CLI_INTERRUPTED; otherwise returns 0.
 */
int launch_leave(const struct launch *launch, uint64_t job);

/*
 * Follows it to its end. @ret is set also when the job failed or was cancelled by others; that is
 * no error here (see job_status()). CLI_INTERRUPTED: a signal came, the job is cancelled, and that
 * was printed.
 */
int launch_follow(const struct launch *launch, uint64_t job, struct outcome *ret);
