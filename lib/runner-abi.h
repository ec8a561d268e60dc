#pragma once

/*
 * How the supervisor starts a runner: `pppd-runner JOB-NUMBER` with these descriptors open, the
 * process already inside the job's cgroup (JOB/runner), standard output and error on the job's
 * `output` file, standard input on /dev/null. No other descriptor is open.
 *
 * The runner ends with 0 when every task it could run has a record, 1 after a failure of its own
 * (said on standard error, one line), RUNNER_EXIT_CANCELLED after SIGTERM.
 */

#define RUNNER_FD_SPEC     3    /* sealed memfd: {"spec": {…}, "demo_url": "http://127.0.0.1:PORT"|absent} */
#define RUNNER_FD_INPUTS   4    /* read-only */
#define RUNNER_FD_RESULTS  5    /* read-write */
#define RUNNER_FD_MEASURES 6    /* empty file; the runner writes its measures there as JSON at its end */
#define RUNNER_FD_CGROUP   7    /* directory of the job's cgroup, or /dev/null where there is none */

#define RUNNER_EXIT_CANCELLED 3

/* Spec JSON is struct spec's; the runner gets it filled (spec_fill). */

/*
 * Measures, as the runner writes them and the supervisor merges them into the summary:
 * an object of the summary's own keys (see include/pppctl/summary.schema.json) and an array
 * "unavailable" of {"metric", "reason"}.
 */
