/* Killing a group process by process, as is done where the kernel has no cgroup.kill. */

#include "tests/unit/cgroup-group.h"

/* Forks for as long as it lives. */
static void start_forker(int cgroup_fd, int *ret_pidfd, pid_t *ret_pid)
{
        *ret_pid = cgroup_fork(cgroup_fd, ret_pidfd);
        test_int(*ret_pid, >=, 0);
        if (*ret_pid > 0)
                return;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGCHLD, SIG_IGN);
        for (;;) {
                pid_t pid = fork();

                if (pid == 0)
                        _exit(0);
        }
}

static void test_kill_each(void)
{
        _cleanup_close_ int inner = -EBADF;
        int pidfds[4] = { -EBADF, -EBADF, -EBADF, -EBADF };
        struct group group;
        uint64_t frozen;
        pid_t pids[4];

        group_init(&group, "each");
        test_int(cgroup_kill_each(group.fd), ==, 0);
        make_below(group.fd, 2, 2);
        inner = openat(group.fd, "g1/g0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        pids[0] = start_sleeper(group.fd, &pidfds[0]);
        pids[1] = start_sleeper(inner, &pidfds[1]);
        start_forker(group.fd, &pidfds[2], &pids[2]);
        start_forker(inner, &pidfds[3], &pids[3]);
        wait_events(&group, true, false);
        test_int(cgroup_kill_each(group.fd), ==, 0);
        wait_events(&group, false, false);
        for (unsigned i = 0; i < ARRAY_SIZE(pids); ++i)
                reap(pids[i], &pidfds[i], SIGKILL);
        test_int(cgroup_read_u64(group.fd, "cgroup.freeze", &frozen), ==, 0);
        test_int(frozen, ==, 0);

        /* A group that was frozen before stays frozen. */
        pids[0] = start_sleeper(group.fd, &pidfds[0]);
        test_int(cgroup_freeze(group.fd, true), ==, 0);
        wait_events(&group, true, true);
        test_int(cgroup_kill_each(group.fd), ==, 0);
        reap(pids[0], &pidfds[0], SIGKILL);
        test_int(cgroup_read_u64(group.fd, "cgroup.freeze", &frozen), ==, 0);
        test_int(frozen, ==, 1);
        group_deinit(&group);
}

int main(void)
{
        static const struct test_case cases[] = {
                { "kill each", test_kill_each },
        };
        int r;

        r = set_up();
        if (r != 0)
                return r;
        r = test_main("cgroup-kill", cases, ARRAY_SIZE(cases));
        if (tear_down() < 0)
                r = EXIT_FAILURE;
        return r;
}
