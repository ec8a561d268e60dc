#pragma once

/*
 * A job as pppd describes it (type Job of io.pppctl.Jobs) and its summary (summary.schema.json):
 * members by name, and the lines about them at the end of run and wait.
 */

#include <jansson.h>

#include "lib/util.h"

uint64_t job_count(json_t *job, const char *member);   /* 0 if it is not there */
const char *job_text(json_t *job, const char *member); /* "" if it is not there */
static inline uint64_t job_number(json_t *job)
{
        return job_count(job, "job");
}

/* The object, NULL if the job has none (yet). */
json_t *job_summary(json_t *job);

/* Tasks with a result, failed ones included. */
uint64_t job_results(json_t *job);

/* "1 of 2 tasks has a result", "2 of 3 tasks have results"; returns @text. */
#define JOB_PROGRESS_SIZE 96
const char *job_progress(json_t *job, char text[JOB_PROGRESS_SIZE]);

/* CLI_OK if all tasks are done, else CLI_FAILED. */
int job_status(json_t *job);

/* "its --time-max was up" for "timeout"; "" when the job has no reason. */
const char *job_reason(json_t *job);

/* Why a job that has not ended makes no progress: "paused"; NULL when no reason is known. */
const char *job_note(json_t *job);

/* A number of the summary; "service_seconds.p50" is one of an object. False if it is absent. */
bool summary_number(json_t *summary, const char *path, double *ret);

/* Why a metric is absent, NULL if the summary does not say. */
const char *summary_why_absent(json_t *summary, const char *metric);

/* The job's end in two lines, on standard error. */
void summary_say(json_t *job);
