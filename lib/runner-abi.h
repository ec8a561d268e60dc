#pragma once

/*
 * How the supervisor starts a runner: `pppd-runner JOB-NUMBER` with these descriptors open, the
 * process already inside the job's cgroup (JOB/runner), standard output and error on the job's
 * `output` file, standard input on /dev/null. No other descriptor is open.
 *
 * It is started with SIGTERM as its signal at the supervisor's death (PR_SET_PDEATHSIG), which it
 * clears once it has the lock on the results file: from then on the next supervisor finds it by the
 * lock, and before that it has done nothing.
 *
 * The runner ends with 0 when every task it could run has a record, 1 after a failure of its own
 * (said on standard error, one line), RUNNER_EXIT_CANCELLED after SIGTERM, RUNNER_EXIT_HALTED
 * when it has come to what the spec's "halt" says, RUNNER_EXIT_BUSY when another process has the
 * lock on the results file (lib/results-lock.h): it has done nothing then.
 */

#define RUNNER_FD_SPEC                                                                 \
        3 /* sealed memfd: {"spec": {…}, "demo_url": "http://127.0.0.1:PORT"|absent, \
             "machines": struct machines' JSON, at the level machines only} */
#define RUNNER_FD_INPUTS  4 /* read-only */
#define RUNNER_FD_RESULTS 5 /* read-write */
#define RUNNER_FD_MEASURES \
        6                  /* empty file; the runner writes its measures there as JSON at its end */
#define RUNNER_FD_CGROUP 7 /* directory of the job's cgroup, or /dev/null where there is none */

/* Of jobs that run commands, and else not open: <pppctl/tasks.h>. Both read-write. */
#define RUNNER_FD_TASKS       8
#define RUNNER_FD_TASK_OUTPUT 9

#define RUNNER_EXIT_CANCELLED 3
#define RUNNER_EXIT_BUSY      4
#define RUNNER_EXIT_HALTED    5

/* Spec JSON is struct spec's; the runner gets it filled (spec_fill). */

/*
 * Two more ways to start it, both about the level machines (docs/machines.md):
 *
 * `pppd-runner --node` takes chunks of other machines' jobs and runs them here. It is already
 * inside its cgroup (node/runner). RUNNER_FD_SPEC is a sealed memfd
 *   {"node": {"machines": {…}, "workloads": ["words", …], "level": "threads"|"processes"|"async",
 *             "workers": 0, "loops": 0, "worker_limits": {…}|absent, "owners": 4|absent,
 *             "owner_limits": {…}|absent}, "demo_url": …|absent} (0: the level's default; owners:
 * whose chunks are run at once, each in a group owner-N with owner_limits), RUNNER_FD_CGROUP the
 * directory of its cgroup (node/) or /dev/null; 4 to 6 are not needed. SIGTERM: it takes no more,
 * gives back what has not begun, ends what runs within the heartbeat's time, and leaves with 0. It
 * leaves with 1 and one line on standard error when it cannot serve for good: a wrong password, a
 * missing permission, a spec it cannot take. A lost connection is no such reason: it connects again
 * for ever, and says so once on each change.
 *
 * `pppd-runner --nodes` lists the nodes: RUNNER_FD_SPEC is {"machines": {…}}; on standard output
 *   {"nodes": [{"name", "version", "level", "workers", "workloads": […], "load", "done", "failed",
 *               "last_seen_seconds"}]}
 * and 0, or one line on standard error and 1. It takes three seconds at most.
 */
#define RUNNER_ARG_NODE  "--node"
#define RUNNER_ARG_NODES "--nodes"

/*
 * Measures, as the runner writes them and the supervisor merges them into the summary:
 * an object of the summary's own keys (see include/pppctl/summary.schema.json) and an array
 * "unavailable" of {"metric", "reason"}.
 */
