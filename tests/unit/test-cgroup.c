/*
 * Groups on the machine's own cgroup2, in one group of this test that is removed again. What they
 * can do without controllers (make, be born in, kill, freeze, watch, measure CPU and pressure) has
 * to work on a hybrid machine, too.
 */

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "daemon/supervisor/child/child-group.h"
#include "lib/cgroup-vfork.h"
#include "lib/cgroup.h"
#include "tests/unit/cgroup-group.h"
#include "tests/unit/test.h"

static bool exists(int fd, const char *name)
{
        return faccessat(fd, name, F_OK, 0) == 0;
}

static void test_locate(void)
{
        _cleanup_free_ char *mount = NULL, *own = NULL;
        struct stat st;

        test_int(cgroup_locate(&mount, &own), ==, 0);
        test_int(mount[0], ==, '/');
        test_int(own[0], ==, '/');
        test_int(fstat(own_fd, &st), ==, 0);
        test_true(exists(own_fd, "cgroup.procs"));
}

static void test_make(void)
{
        struct stat one, two;
        struct group group;
        int fd = -EBADF;

        group_init(&group, "make");
        test_int(cgroup_make(base_fd, "make", &fd), ==, 0);
        test_int(fstat(fd, &one), ==, 0);
        test_int(fstat(group.fd, &two), ==, 0);
        test_int(one.st_ino, ==, two.st_ino);
        test_int(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
        fd = close_fd(fd);
        test_int(cgroup_make(base_fd, "cgroup.procs", &fd), ==, -ENOTDIR);
        test_int(cgroup_make(base_fd, "none/below", &fd), ==, -ENOENT);
        test_int(fd, ==, -EBADF);
        group_deinit(&group);
        test_true(!exists(base_fd, "make"));
}

static void test_delegated(void)
{
        struct group group;

        group_init(&group, "delegated");
        test_true(!cgroup_is_delegated(group.fd));
        test_int(fsetxattr(group.fd, "user.delegate", "0", 1, 0), ==, 0);
        test_true(!cgroup_is_delegated(group.fd));
        test_int(fsetxattr(group.fd, "user.delegate", "1", 1, 0), ==, 0);
        test_true(cgroup_is_delegated(group.fd));
        group_deinit(&group);
}

/* The life of a job's group. */
static void test_life(void)
{
        struct group group;
        int pidfd = -EBADF;
        pid_t pid;

        group_init(&group, "life");
        wait_events(&group, false, false);
        pid = start_sleeper(group.fd, &pidfd);
        test_int(fcntl(pidfd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
        wait_events(&group, true, false);
        test_int(cgroup_remove(base_fd, group.name), ==, -EBUSY);
        test_int(cgroup_kill(group.fd), ==, 0);
        wait_events(&group, false, false);
        reap(pid, &pidfd, SIGKILL);
        group_deinit(&group);
}

/* Born there: the child itself sees its group from its first instruction on. */
static void test_born_inside(void)
{
        _cleanup_free_ char *text = NULL;
        char expected[128];
        struct group group;
        int pidfd = -EBADF, fds[2];
        ssize_t n;
        pid_t pid;

        group_init(&group, "born");
        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        pid = cgroup_fork(group.fd, &pidfd);
        test_int(pid, >=, 0);
        if (pid == 0) {
                if (read_file_at(AT_FDCWD, "/proc/self/cgroup", &text, NULL) < 0 ||
                    write_all(fds[1], text, strlen(text)) < 0 || getpid() != gettid())
                        _exit(1);
                _exit(42);
        }
        close(fds[1]);
        reap(pid, &pidfd, 42);
        text = calloc(1, 65536);
        test_true(text);
        n = read_all(fds[0], text, 65535);
        test_int(n, >, 0);
        close(fds[0]);
        snprintf(expected, sizeof(expected), "%s/born\n", base_name);
        test_contains(text, expected);
        group_deinit(&group);
}

static void test_fork_plain(void)
{
        int pidfd = -EBADF;
        pid_t pid = cgroup_fork(-EBADF, &pidfd);

        test_int(pid, >=, 0);
        if (pid == 0)
                _exit(7);
        reap(pid, &pidfd, 7);
        pid = cgroup_fork(STDIN_FILENO, &pidfd); /* whatever it is, no group */
        if (pid == 0)
                _exit(0);
        test_int(pid, ==, -EBADF);
        test_int(pidfd, ==, -EBADF);
}

struct vforked {
        int out_fd, number;
};

static void vforked_child(void *userdata)
{
        struct vforked *vforked = userdata;
        char text[4096];
        int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

        if (n > 0 && write(vforked->out_fd, text, (size_t)n) == n)
                vforked->number = getpid();
        (void)syscall(SYS_exit_group, 42);
}

/* Its parent goes on where it was, after the child has ended, and sees what that wrote. */
static void test_vfork(void)
{
        struct vforked vforked = { 0 };
        _cleanup_free_ char *text = NULL;
        char expected[128];
        struct group group;
        int pidfd = -EBADF, fds[2];
        ssize_t n;
        pid_t pid;

        group_init(&group, "vforked");
        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        vforked.out_fd = fds[1];
        pid = cgroup_vfork(group.fd, &pidfd, vforked_child, &vforked);
        close(fds[1]);
        if (pid != -ENOSYS) {
                test_int(pid, >, 0);
                test_int(vforked.number, ==, pid);
                reap(pid, &pidfd, 42);
                text = calloc(1, 4096);
                test_true(text);
                n = read_all(fds[0], text, 4095);
                test_int(n, >, 0);
                snprintf(expected, sizeof(expected), "%s/vforked\n", base_name);
                test_contains(text, expected);
                test_int(cgroup_vfork(fds[0], &pidfd, vforked_child, &vforked), ==, -EBADF);
        }
        test_int(pidfd, ==, -EBADF);
        close(fds[0]);
        group_deinit(&group);
}

static void test_attach(void)
{
        struct group from, to;
        int pidfd = -EBADF;
        pid_t pid;

        group_init(&from, "from");
        group_init(&to, "to");
        pid = start_sleeper(from.fd, &pidfd);
        wait_events(&from, true, false);
        test_int(cgroup_attach(to.fd, pid), ==, 0);
        wait_events(&from, false, false);
        wait_events(&to, true, false);
        test_int(cgroup_kill(to.fd), ==, 0);
        wait_events(&to, false, false);
        reap(pid, &pidfd, SIGKILL);
        test_int(cgroup_attach(to.fd, pid), ==, -ESRCH);
        group_deinit(&from);
        group_deinit(&to);
}

static void test_freeze(void)
{
        struct group group;
        int pidfd = -EBADF;
        pid_t pid;

        group_init(&group, "freeze");
        pid = start_sleeper(group.fd, &pidfd);
        test_int(cgroup_freeze(group.fd, true), ==, 0);
        wait_events(&group, true, true);
        test_int(cgroup_freeze(group.fd, false), ==, 0);
        wait_events(&group, true, false);
        /* frozen processes can be killed */
        test_int(cgroup_freeze(group.fd, true), ==, 0);
        wait_events(&group, true, true);
        test_int(cgroup_kill(group.fd), ==, 0);
        reap(pid, &pidfd, SIGKILL);
        group_deinit(&group);
}

/* Burns a little CPU in the group, so that its counters count. */
static void burn(int cgroup_fd)
{
        int pidfd = -EBADF;
        pid_t pid = cgroup_fork(cgroup_fd, &pidfd);

        test_int(pid, >=, 0);
        if (pid == 0) {
                struct timespec ts;

                do
                        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
                while (ts.tv_sec == 0 && ts.tv_nsec < 20 * (long)NSEC_PER_MSEC);
                _exit(0);
        }
        reap(pid, &pidfd, 0);
}

static void test_counters(void)
{
        uint64_t usage, user, system, value = 77;
        struct group group;

        group_init(&group, "counters");
        burn(group.fd);
        test_int(cgroup_read_keyed(group.fd, "cpu.stat", "usage_usec", &usage), ==, 0);
        test_int(cgroup_read_keyed(group.fd, "cpu.stat", "user_usec", &user), ==, 0);
        test_int(cgroup_read_keyed(group.fd, "cpu.stat", "system_usec", &system), ==, 0);
        test_int(usage, >=, 20000);
        test_int(user + system, <=, usage + 1);
        test_int(cgroup_read_u64(group.fd, "cgroup.freeze", &value), ==, 0);
        test_int(value, ==, 0);
        test_int(cgroup_read_u64(group.fd, "cgroup.max.depth", &value), ==, 0);
        test_true(value == UINT64_MAX);

        value = 77;
        test_int(cgroup_read_keyed(group.fd, "cpu.stat", "user", &value), ==, -ENOENT);
        test_int(cgroup_read_keyed(group.fd, "cpu.stat", "usec", &value), ==, -ENOENT);
        test_int(cgroup_read_keyed(group.fd, "none.stat", "user_usec", &value), ==, -ENOENT);
        test_int(cgroup_read_u64(group.fd, "none.peak", &value), ==, -ENOENT);
        test_int(cgroup_read_u64(group.fd, "cgroup.events", &value), ==, -EBADMSG);
        test_int(value, ==, 77);
        group_deinit(&group);
}

static void test_pressure(void)
{
        struct group group;
        uint64_t value = 77;
        int r;

        group_init(&group, "pressure");
        r = cgroup_read_pressure(group.fd, "cpu.pressure", "some", &value);
        if (r == -ENOENT || r == -EOPNOTSUPP) {
                fprintf(stderr, "(this kernel has no PSI: not tested) ");
        } else {
                test_int(r, ==, 0);
                test_int(value, <, 77); /* nothing ran in there */
                value = 77;
                test_int(cgroup_read_pressure(group.fd, "memory.pressure", "full", &value), ==, 0);
                test_int(value, ==, 0);
                value = 77;
                r = cgroup_read_pressure(group.fd, "cpu.pressure", "none", &value);
                test_int(r, ==, -ENOENT);
        }
        test_int(cgroup_read_pressure(group.fd, "cpu.stat", "usage_usec", &value), ==, -EBADMSG);
        test_int(cgroup_read_pressure(group.fd, "none.pressure", "some", &value), ==, -ENOENT);
        test_int(value, ==, 77);
        group_deinit(&group);
}

static void test_controllers(void)
{
        _cleanup_free_ char *available = NULL;
        unsigned enabled = ~0u;
        struct group group;
        uint64_t value;
        int fd = -EBADF;

        group_init(&group, "controllers");
        test_int(read_file_at(group.fd, "cgroup.controllers", &available, NULL), ==, 0);
        test_int(cgroup_enable_controllers(group.fd, &enabled), ==, 0);
        test_int(!!(enabled & CGROUP_MEMORY), ==, !!strstr(available, "memory"));
        test_int(!!(enabled & CGROUP_PIDS), ==, !!strstr(available, "pids"));
        test_int(cgroup_make(group.fd, "child", &fd), ==, 0);
        test_int(cgroup_read_u64(fd, "memory.current", &value), ==,
                 enabled & CGROUP_MEMORY ? 0 : -ENOENT);
        fd = close_fd(fd);
        group_deinit(&group);
}

static void test_remove_tree(void)
{
        struct group group;

        group_init(&group, "tree");
        make_below(group.fd, 3, 4);
        group_deinit(&group);
        test_true(!exists(base_fd, "tree"));
        test_int(cgroup_remove(base_fd, "tree"), ==, 0); /* again */

        group_init(&group, "deep");
        make_below(group.fd, 100, 1);
        group_deinit(&group);
        test_true(!exists(base_fd, "deep"));
}

/*
 * The processes are in the depth: what is free of them may go, the way to them stays, and nobody
 * waits.
 */
static void test_remove_busy(void)
{
        _cleanup_close_ int inner = -EBADF;
        struct group group;
        int pidfd = -EBADF;
        pid_t pid;

        group_init(&group, "busy");
        make_below(group.fd, 2, 3);
        inner = openat(group.fd, "g1/g1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        pid = start_sleeper(inner, &pidfd);
        test_int(cgroup_remove(base_fd, "busy"), ==, -EBUSY);
        test_true(exists(group.fd, "g1/g1"));
        test_int(cgroup_kill(group.fd), ==, 0);
        wait_events(&group, false, false);
        group_deinit(&group);
        reap(pid, &pidfd, SIGKILL);
}

/* Two remove the same tree at the same time; what vanishes under one's hands is no error. */
static void test_remove_together(void)
{
        for (int round = 0; round < 20; ++round) {
                struct group group;
                int pidfd = -EBADF;
                pid_t pid;

                group_init(&group, "together");
                make_below(group.fd, 3, 5);
                pid = cgroup_fork(-EBADF, &pidfd);
                test_int(pid, >=, 0);
                if (pid == 0)
                        _exit(cgroup_remove(base_fd, "together") == 0 ? 0 : 1);
                group_deinit(&group);
                reap(pid, &pidfd, 0);
                test_true(!exists(base_fd, "together"));
        }
}

/* A descriptor that outlives its group. */
static void test_gone(void)
{
        bool populated = true, frozen = true;
        struct group group;
        uint64_t value;
        int pidfd = -EBADF;
        pid_t pid;

        group_init(&group, "gone");
        test_int(cgroup_remove(base_fd, "gone"), ==, 0);
        test_int(cgroup_events_read(group.events_fd, &populated, &frozen), ==, 0);
        test_true(!populated && !frozen);
        test_true(cgroup_read_u64(group.fd, "cgroup.freeze", &value) < 0);
        pid = cgroup_fork(group.fd, &pidfd);
        if (pid == 0)
                _exit(0);
        test_true(pid == -ENOENT || pid == -ENODEV);
        group_deinit(&group);
}

/* As systemd's RestrictNamespaces= does. */
static bool forbid_clone3(void)
{
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { ARRAY_SIZE(filter), filter };

        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool is_inside(int cgroup_fd, pid_t pid)
{
        _cleanup_free_ char *procs = NULL;

        return read_file_at(cgroup_fd, "cgroup.procs", &procs, NULL) >= 0 && atoi(procs) == pid;
}

/*
 * A group that takes no process: with a threaded sibling it is "domain invalid". Not so where the
 * test itself is below a threaded group.
 */
static int make_invalid(int group_fd)
{
        _cleanup_close_ int threaded = -EBADF;
        int fd = -EBADF;

        if (cgroup_make(group_fd, "threaded", &threaded) < 0 ||
            cgroup_write(threaded, "cgroup.type", "threaded") < 0 ||
            cgroup_make(group_fd, "invalid", &fd) < 0)
                return -1;
        return fd;
}

/* The reason is told, and no child is left. */
static bool is_refused(int cgroup_fd, int error)
{
        int pidfd = -EBADF;
        pid_t pid = cgroup_fork(cgroup_fd, &pidfd);

        if (pid == 0)
                _exit(1);
        return pid == error && pidfd < 0 && waitpid(-1, NULL, 0) < 0 && errno == ECHILD;
}

/* Exit status 0 when a child was made in the group, else the number of what went wrong. */
static __attribute__((noreturn)) void fork_without_clone3(int cgroup_fd, int invalid_fd)
{
        int pidfd = -EBADF, root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;
        pid_t pid;

        if (cgroup_clone3_is_forbidden() || !forbid_clone3() || !cgroup_clone3_is_forbidden())
                _exit(1);
        if (!is_refused(root_fd, -ENOENT))
                _exit(2);
        if (!is_refused(invalid_fd, -EOPNOTSUPP))
                _exit(3);
        pid = cgroup_fork(cgroup_fd, &pidfd);
        if (pid == 0)
                _exit(is_inside(cgroup_fd, getpid()) ? 42 : 1);
        if (pid < 0 || pidfd < 0 || waitpid(pid, &status, 0) != pid)
                _exit(4);
        _exit(WIFEXITED(status) && WEXITSTATUS(status) == 42 ? 0 : 5);
}

static void test_fork_filtered(void)
{
        _cleanup_close_ int invalid_fd = -EBADF;
        struct group group, parent;
        int pidfd = -EBADF;
        pid_t pid;

        group_init(&group, "filtered");
        group_init(&parent, "threads");
        invalid_fd = make_invalid(parent.fd);
        test_int(invalid_fd, >=, 0);
        pid = cgroup_fork(-EBADF, &pidfd);
        if (pid == 0)
                fork_without_clone3(group.fd, invalid_fd);
        test_int(pid, >, 0);
        reap(pid, &pidfd, 0);
        group_deinit(&parent);
        group_deinit(&group);
}

/* A supervisor that takes a child over learns from this which controllers the group has gained. */
static void test_child_group_has_a_note(void)
{
        struct child_group child;
        struct group base;
        _cleanup_close_ int leaf_fd = -EBADF;
        unsigned enabled;

        group_init(&base, "base");
        (void)cgroup_enable_controllers(base.fd, &enabled);
        test_int(child_group_make(base.fd, "job-12", "runner", &child, &leaf_fd), ==, 0);
        test_int(cgroup_read_enabled(child.fd, &enabled), ==, 0);
        test_int(cgroup_noted_controllers(child.fd), ==, enabled);
        test_int(child_group_remove(&child), ==, 0);
        group_deinit(&base);
}

int main(void)
{
        static const struct test_case cases[] = {
                { "locate", test_locate },
                { "make", test_make },
                { "delegated", test_delegated },
                { "from birth to removal", test_life },
                { "born inside", test_born_inside },
                { "fork without a group", test_fork_plain },
                { "vfork", test_vfork },
                { "fork where clone3 is forbidden", test_fork_filtered },
                { "attach", test_attach },
                { "freeze", test_freeze },
                { "counters", test_counters },
                { "pressure", test_pressure },
                { "controllers", test_controllers },
                { "the note of a child's group", test_child_group_has_a_note },
                { "remove a tree", test_remove_tree },
                { "remove what is busy", test_remove_busy },
                { "remove together", test_remove_together },
                { "a group that is gone", test_gone },
        };
        int r;

        r = set_up();
        if (r != 0)
                return r;
        r = test_main("cgroup", cases, ARRAY_SIZE(cases));
        if (tear_down() < 0)
                r = EXIT_FAILURE;
        return r;
}
