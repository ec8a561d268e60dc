/* The lock on a results file: who has it, how long, and who can tell. */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "lib/results-lock.h"

/* The supervisor's descriptor: it is passed to runners, and never locked by them. */
static int file_fd = -EBADF;

/* Another supervisor's, by an open file description of its own. */
static int open_again(void)
{
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
        fd = open(path, O_RDWR | O_CLOEXEC);
        test_int(fd, >=, 0);
        return fd;
}

static void make_file(void)
{
        file_fd = close_fd(file_fd);
        file_fd = memfd_create("results", MFD_CLOEXEC);
        test_int(file_fd, >=, 0);
}

_Noreturn static void wait_for_the_end(void)
{
        for (;;)
                pause();
}

/* A runner and its worker, as processes: pids[0] and pids[1]. */
static void start_runner(pid_t pids[static 2])
{
        int ends[2], lock_fd;
        pid_t pid;

        test_int(pipe2(ends, O_CLOEXEC), >=, 0);
        pids[0] = fork();
        if (pids[0] == 0) {
                if (results_lock(file_fd, &lock_fd) < 0)
                        _exit(1);
                pid = fork();
                if (pid != 0)
                        (void)!write(ends[1], &pid, sizeof(pid));
                wait_for_the_end();
        }
        close_fd(ends[1]);
        test_int(read_all(ends[0], &pids[1], sizeof(pids[1])), ==, sizeof(pids[1]));
        close_fd(ends[0]);
}

static void end_process(pid_t pid, int pidfd)
{
        struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

        test_int(kill(pid, SIGKILL), ==, 0);
        test_int(poll(&poll_fd, 1, -1), ==, 1);
        (void)waitpid(pid, NULL, 0);
}

static void test_one_at_a_time(void)
{
        _cleanup_close_ int first = -EBADF, second = -EBADF;

        make_file();
        test_int(results_lock(file_fd, &first), ==, 0);
        test_int(results_lock(file_fd, &second), ==, -EAGAIN);
        test_int(results_hold(file_fd), ==, -EAGAIN);
        first = close_fd(first);
        test_int(results_lock(file_fd, &second), ==, 0);
}

static void test_found_by_the_lock(void)
{
        _cleanup_close_ int pidfd = -EBADF, worker_fd = -EBADF, other = -EBADF;
        pid_t pids[2], found;

        make_file();
        other = open_again();
        test_int(results_find_locker(other, &found, &pidfd), ==, -ESRCH);
        start_runner(pids);
        test_int(results_find_locker(other, &found, &pidfd), ==, 0);
        test_int(found, ==, pids[0]);
        test_int(results_hold(other), ==, -EAGAIN);

        /* Its worker may still write. */
        worker_fd = pidfd_open(pids[1], 0);
        test_int(worker_fd, >=, 0);
        end_process(pids[0], pidfd);
        pidfd = close_fd(pidfd);
        test_int(results_find_locker(other, &found, &pidfd), ==, -ESRCH);
        test_int(results_hold(other), ==, -EAGAIN);

        end_process(pids[1], worker_fd);
        test_int(results_hold(other), ==, 0);
}

static void test_held(void)
{
        _cleanup_close_ int other = -EBADF, fd = -EBADF;

        make_file();
        other = open_again();
        test_int(results_hold(file_fd), ==, 0);
        test_int(results_hold(file_fd), ==, 0);
        test_int(results_hold(other), ==, -EAGAIN);
        test_int(results_lock(file_fd, &fd), ==, -EAGAIN);
        results_release(file_fd);
        test_int(results_lock(file_fd, &fd), ==, 0);
}

TEST_MAIN("results-lock", { "one at a time", test_one_at_a_time },
          { "found by the lock", test_found_by_the_lock }, { "held", test_held })
