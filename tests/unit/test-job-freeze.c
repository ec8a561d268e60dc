/* A job that is paused before its child has become the runner. */

#include "daemon/supervisor/jobs/job-internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/capture.h"

static unsigned n_changed;

static void on_changed(struct job_env *env, struct job *job)
{
        ++n_changed;
}

/* A paused job whose child is on its way, and its group: a directory. */
struct start {
        char path[40];
        struct job_env env;
        struct job job;
        pid_t pid;
        int write_fd; /* of the pipe on which the child would complain */
};

static void begin(struct start *start, bool can_freeze)
{
        int fds[2];

        *start = (struct start){ .path = "/tmp/test-job-freeze.XXXXXX", .env.changed = on_changed };
        n_changed = 0;
        test_true(mkdtemp(start->path));
        test_true(sd_event_new(&start->env.event) >= 0);
        test_int(pipe2(fds, O_CLOEXEC | O_NONBLOCK), ==, 0);
        start->write_fd = fds[1];
        start->job = (struct job){
                .env = &start->env,
                .record = { .number = 12, .state = JOB_RUNNING, .paused = true },
                .measures_fd = -EBADF,
        };
        job_init_child(&start->job);
        start->job.child.group.fd = open(start->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        start->job.child.group.events_fd = eventfd(0, EFD_CLOEXEC);
        start->job.child.complaint_fd = fds[0];
        if (can_freeze)
                test_int(close(openat(start->job.child.group.fd, "cgroup.freeze",
                                      O_WRONLY | O_CREAT | O_CLOEXEC, 0600)),
                         ==, 0);
        start->pid = fork();
        if (start->pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                close_fd(start->write_fd);
                for (;;)
                        pause();
        }
        test_true(child_adopt(&start->job.child, start->pid, pidfd_open(start->pid, 0)) >= 0);
}

/* The child executes the runner's program. */
static void become_runner(struct start *start)
{
        close_fd(start->write_fd);
        test_true(sd_event_run(start->env.event, UINT64_MAX) > 0);
        test_int(start->job.child.complaint_fd, <, 0);
}

static bool is_frozen(const struct start *start)
{
        uint64_t frozen;

        return cgroup_read_u64(start->job.child.group.fd, "cgroup.freeze", &frozen) >= 0 &&
               frozen == 1;
}

static void finish(struct start *start)
{
        (void)unlinkat(start->job.child.group.fd, "cgroup.freeze", 0);
        test_int(rmdir(start->path), ==, 0);
        child_leave(&start->job.child);
        job_end_run(&start->job);
        test_int(kill(start->pid, SIGKILL), ==, 0);
        test_int(waitpid(start->pid, NULL, 0), ==, start->pid);
        sd_event_unref(start->env.event);
}

static void test_late(void)
{
        struct start start;

        begin(&start, true);
        test_true(!is_frozen(&start));
        become_runner(&start);
        test_true(is_frozen(&start));
        test_true(start.job.record.paused);
        test_int(n_changed, ==, 0);
        finish(&start);
}

/* A frozen runner would not act on the SIGTERM that it was sent. */
static void test_interrupted(void)
{
        struct start start;

        begin(&start, true);
        start.job.interrupted = true;
        become_runner(&start);
        test_true(!is_frozen(&start));
        test_true(start.job.record.paused);
        finish(&start);
}

/* The next supervisor would freeze it again, and nothing would act on the SIGTERM. */
static void test_terminated(void)
{
        struct capture capture = { .text = NULL };
        struct start start;

        begin(&start, true);
        become_runner(&start);
        capture_begin(&capture, stderr);
        job_terminate(&start.job);
        (void)capture_end(&capture);
        test_true(!is_frozen(&start));
        test_true(!start.job.record.paused);
        test_int(n_changed, ==, 1);
        free(capture.text);
        finish(&start);
}

static void test_failure(void)
{
        struct capture capture = { .text = NULL };
        struct start start;

        begin(&start, false);
        capture_begin(&capture, stderr);
        become_runner(&start);
        test_contains(
                capture_end(&capture),
                "job 12 continues though it was to be paused: cannot write its cgroup.freeze: "
                "No such file or directory; boot Linux 5.2 or newer, and pause it again");
        test_true(!start.job.record.paused);
        test_int(n_changed, ==, 1);
        free(capture.text);
        finish(&start);
}

TEST_MAIN("job-freeze", { "late", test_late }, { "interrupted", test_interrupted },
          { "terminated", test_terminated }, { "failure", test_failure })
