#pragma once

/* Groups for tests on the machine's own cgroup2, in one group of the test that is removed again. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/cgroup.h"
#include "tests/unit/test.h"

static int own_fd = -EBADF, base_fd = -EBADF;
static char base_name[64];

struct group {
        const char *name;
        int fd, events_fd;
};

static inline void group_init(struct group *group, const char *name)
{
        *group = (struct group){ .name = name, .fd = -EBADF, .events_fd = -EBADF };
        test_int(cgroup_make(base_fd, name, &group->fd), ==, 0);
        test_int(cgroup_events_open(group->fd, &group->events_fd), ==, 0);
}

static inline void group_deinit(struct group *group)
{
        test_int(cgroup_remove(base_fd, group->name), ==, 0);
        group->fd = close_fd(group->fd);
        group->events_fd = close_fd(group->events_fd);
}

/* Starts a child that waits to be killed; it ends with its parent, whatever happens here. */
static inline pid_t start_sleeper(int cgroup_fd, int *ret_pidfd)
{
        pid_t pid = cgroup_fork(cgroup_fd, ret_pidfd);

        test_int(pid, >=, 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        pause();
        }
        return pid;
}

static inline void reap(pid_t pid, int *pidfd, int expected_signal)
{
        siginfo_t info = { 0 };

        test_int(waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED), ==, 0);
        test_int(info.si_pid, ==, pid);
        test_int(info.si_status, ==, expected_signal);
        *pidfd = close_fd(*pidfd);
}

/* Waits in poll() for the event, never by time; the limit is for a kernel that sends none. */
static inline void wait_events(struct group *group, bool populated, bool frozen)
{
        bool is_populated, is_frozen;

        for (;;) {
                struct pollfd pollfd = { .fd = group->events_fd, .events = POLLPRI };

                test_int(cgroup_events_read(group->events_fd, &is_populated, &is_frozen), ==, 0);
                if (is_populated == populated && is_frozen == frozen)
                        return;
                test_int(poll(&pollfd, 1, 10000), ==, 1);
                test_true(pollfd.revents & POLLPRI);
        }
}

static inline void make_below(int fd, unsigned depth, unsigned width)
{
        for (unsigned i = 0; depth > 0 && i < width; ++i) {
                _cleanup_close_ int child = -EBADF;
                char name[16];

                snprintf(name, sizeof(name), "g%u", i);
                test_int(cgroup_make(fd, name, &child), ==, 0);
                make_below(child, depth - 1, width);
        }
}

/* 0, or TEST_SKIP after it has said why. */
static int set_up(void)
{
        _cleanup_free_ char *mount = NULL, *own = NULL, *path = NULL;
        int r;

        r = cgroup_locate(&mount, &own);
        if (r < 0) {
                fprintf(stderr, "SKIP: no cgroup2 here: %s\n", strerror(-r));
                return TEST_SKIP;
        }
        if (asprintf(&path, "%s%s", mount, own) < 0)
                return EXIT_FAILURE;
        own_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = own_fd < 0 ? -errno : 0;
        snprintf(base_name, sizeof(base_name), "test-cgroup-%d", getpid());
        if (r == 0)
                r = cgroup_make(own_fd, base_name, &base_fd);
        if (r < 0) {
                fprintf(stderr, "SKIP: cannot make a group in %s: %s\n", path, strerror(-r));
                return TEST_SKIP;
        }
        return 0;
}

/* Also after a case that failed and left processes in its group. */
static int tear_down(void)
{
        struct pollfd pollfd = { .events = POLLPRI };
        bool populated = true;
        int r;

        r = cgroup_events_open(base_fd, &pollfd.fd);
        if (r == 0)
                r = cgroup_kill(base_fd);
        if (r == 0)
                r = cgroup_events_read(pollfd.fd, &populated, NULL);
        while (r == 0 && populated && poll(&pollfd, 1, 10000) == 1)
                r = cgroup_events_read(pollfd.fd, &populated, NULL);
        if (r == 0)
                r = cgroup_remove(own_fd, base_name);
        if (r < 0)
                fprintf(stderr, "cannot remove %s: %s\n", base_name, strerror(-r));
        close_fd(pollfd.fd);
        close_fd(base_fd);
        close_fd(own_fd);
        return r;
}
