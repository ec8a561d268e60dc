/* Which state of a job may follow which, and that no other does. */

#include "daemon/supervisor/jobs/job-internal.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/test.h"

static struct job_env env;

static void init(struct job *job, enum job_state state)
{
        *job = (struct job){ .env = &env, .record = { .number = 12, .state = state } };
        job_init_child(job);
}

/* Tries it in a process of its own, since an assertion that fails ends the process. */
static bool may_become(struct job *job, enum job_state state)
{
        const struct rlimit no_core = { 0, 0 };
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                (void)setrlimit(RLIMIT_CORE, &no_core);
                (void)!freopen("/dev/null", "w", stderr);
                job_set_state(job, state);
                _exit(job->record.state == state ? 0 : 1);
        }
        test_int(pid, >, 0);
        test_int(waitpid(pid, &status, 0), ==, pid);
        if (WIFSIGNALED(status))
                test_int(WTERMSIG(status), ==, SIGABRT);
        else
                test_int(WEXITSTATUS(status), ==, 0);
        return WIFEXITED(status);
}

static void test_followers(void)
{
        for (enum job_state from = 0; from < _JOB_STATE_N; ++from)
                for (enum job_state to = 0; to < _JOB_STATE_N; ++to) {
                        struct job job;

                        init(&job, from);
                        test_int(may_become(&job, to), ==, job_state_is_live(from));
                }
}

/* A job whose runner is there neither ends nor goes back to the queue. */
static void test_runs(void)
{
        struct job job;

        init(&job, JOB_RUNNING);
        job.child.state = CHILD_RUNS;
        test_true(may_become(&job, JOB_RUNNING));
        test_true(!may_become(&job, JOB_QUEUED));
        test_true(!may_become(&job, JOB_DONE));
        job.child.state = CHILD_ENDED;
        test_true(may_become(&job, JOB_DONE));
}

static void test_left(void)
{
        struct job job;

        init(&job, JOB_RUNNING);
        job.interrupted = true;
        test_true(may_become(&job, JOB_QUEUED));
        test_true(may_become(&job, JOB_DONE));
        job.record.state = JOB_QUEUED;
        test_true(!may_become(&job, JOB_RUNNING));
        test_true(!may_become(&job, JOB_CANCELLED));
}

static void test_is_counted(void)
{
        struct job job;

        init(&job, JOB_RUNNING);
        job.errand = (struct errand *)&job;
        test_true(!may_become(&job, JOB_DONE));
}

TEST_MAIN("job state", { "followers", test_followers }, { "of one that runs", test_runs },
          { "of one that is left", test_left }, { "of one that is counted", test_is_counted })
