/* The life of a child, with real processes and, where they can be made, real cgroups. */

#include "daemon/supervisor/child/child.h"

#include <poll.h>
#include <sys/stat.h>

#include "tests/unit/cgroup-group.h"

static bool has_groups;

struct life {
        sd_event *event;
        struct child child;
        int leaf_fd;
        int in[2], out[2]; /* pipes of the script's standard input and output */
        unsigned n_begun, n_ended;
};

static void on_begun(struct child *child)
{
        ++container_of(child, struct life, child)->n_begun;
}

static void on_ended(struct child *child)
{
        struct life *life = container_of(child, struct life, child);
        bool populated = false;

        ++life->n_ended;
        test_int(child->state, ==, CHILD_ENDED);
        if (child_group_exists(&child->group))
                test_int(cgroup_events_read(child->group.events_fd, &populated, NULL), ==, 0);
        test_true(!populated);
}

static void init(struct life *life, bool grouped)
{
        static const struct child_ops ops = { .begun = on_begun, .ended = on_ended };

        *life = (struct life){ .leaf_fd = -EBADF };
        test_int(sd_event_new(&life->event), >=, 0);
        test_int(pipe2(life->in, O_CLOEXEC), ==, 0);
        test_int(pipe2(life->out, O_CLOEXEC), ==, 0);
        child_init(&life->child, life->event, &ops, "a child of the test");
        if (grouped)
                test_int(child_group_make(base_fd, "child", NULL, &life->child.group,
                                          &life->leaf_fd),
                         ==, 0);
}

static int start(struct life *life, const char *path, const char *script)
{
        char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
        const struct spawn spawn = {
                .path = path,
                .argv = argv,
                .envp = environ,
                .cgroup_fd = life->child.group.fd,
                .fds = { life->in[0], life->out[1], STDERR_FILENO },
                .n_fds = 3,
                .die_with_parent = true,
        };
        const char *attempted;

        return child_start(&life->child, &spawn, &attempted);
}

static void begin(struct life *life, bool grouped, const char *script)
{
        init(life, grouped);
        test_int(start(life, "/bin/sh", script), ==, 0);
        test_true(child_is_up(&life->child));
}

/* The script has come so far that it writes a line. */
static void await_line(struct life *life)
{
        struct pollfd pollfd = { .fd = life->out[0], .events = POLLIN };
        char line[64];

        test_int(poll(&pollfd, 1, 60000), ==, 1);
        test_int(read(life->out[0], line, sizeof(line)), >, 0);
}

/* Its end is told once, and nothing is left to be told. */
static void await_end(struct life *life)
{
        while (life->n_ended == 0)
                test_int(sd_event_run(life->event, 60 * UINT64_C(1000000)), >, 0);
        while (sd_event_run(life->event, 0) > 0)
                ;
        test_int(life->n_ended, ==, 1);
        test_true(child_is_over(&life->child));
        test_true(!life->child.group_source && !life->child.exit_source);
        test_true(!life->child.begin_source && !life->child.kill_source);
}

static void finish(struct life *life)
{
        child_clear(&life->child);
        test_int(life->child.state, ==, CHILD_NONE);
        if (has_groups)
                test_int(faccessat(base_fd, "child", F_OK, 0), <, 0);
        for (size_t i = 0; i < 2; ++i) {
                close_fd(life->in[i]);
                close_fd(life->out[i]);
        }
        sd_event_unref(life->event);
}

static void expect_status(const struct life *life, int code, int status)
{
        test_true(life->child.has_status && life->child.has_usage);
        test_int(life->child.status.si_code, ==, code);
        test_int(life->child.status.si_status, ==, status);
        test_true(!life->child.start_attempted);
}

static void exit_with(bool grouped)
{
        struct life life;

        begin(&life, grouped, "exit 7");
        await_end(&life);
        expect_status(&life, CLD_EXITED, 7);
        test_int(life.n_begun, ==, 1);
        finish(&life);
}

static void test_exits(void)
{
        exit_with(false);
        if (has_groups)
                exit_with(true);
}

/* Returns the value that is in force: lowering it takes a privilege. */
static int set_oom_score(int value)
{
        FILE *file = fopen("/proc/self/oom_score_adj", "r+");

        test_true(file);
        (void)(fprintf(file, "%d", value) < 0 || fflush(file) < 0);
        clearerr(file);
        rewind(file);
        test_int(fscanf(file, "%d", &value), ==, 1);
        (void)fclose(file);
        return value;
}

/* What protects the supervisor from the OOM killer protects no child; what exposes it does them. */
static void oom_score(int ours)
{
        struct life life;

        ours = set_oom_score(ours);
        begin(&life, false, "read score </proc/self/oom_score_adj; exit $score");
        await_end(&life);
        expect_status(&life, CLD_EXITED, MAX(ours, 0));
        finish(&life);
}

static void test_oom_score(void)
{
        oom_score(-10);
        oom_score(10);
        (void)set_oom_score(0);
}

static void test_killed(void)
{
        struct life life;

        begin(&life, has_groups, "echo; read line");
        await_line(&life);
        child_kill(&life.child);
        await_end(&life);
        expect_status(&life, CLD_KILLED, SIGKILL);
        finish(&life);
}

/* It may not be in its group, and is not yet its program. */
static void test_killed_at_once(void)
{
        struct life life;

        begin(&life, has_groups, "read line");
        child_kill(&life.child);
        await_end(&life);
        expect_status(&life, CLD_KILLED, SIGKILL);
        finish(&life);
}

static void test_stops(void)
{
        struct life life;

        begin(&life, has_groups, "trap 'exit 3' TERM; echo; read line");
        await_line(&life);
        child_stop(&life.child);
        await_end(&life);
        expect_status(&life, CLD_EXITED, 3);
        test_true(!life.child.killed);
        finish(&life);
}

static void test_ignores_sigterm(void)
{
        struct life life;
        uint64_t began_ns;

        begin(&life, has_groups, "trap '' TERM; echo; read line");
        await_line(&life);
        life.child.grace_usec = 50000;
        began_ns = now_monotonic();
        child_stop(&life.child);
        await_end(&life);
        test_int(now_monotonic() - began_ns, >=, 50 * NSEC_PER_MSEC);
        expect_status(&life, CLD_KILLED, SIGKILL);
        finish(&life);
}

/* The process has ended, and one that it started has not: with the pipe's end that one is gone. */
static void leave_rest(uint64_t rest_usec)
{
        struct life life;
        uint64_t began_ns;
        char byte;

        begin(&life, true, "sleep 1000 & exit 4");
        life.child.rest_usec = rest_usec;
        life.out[1] = close_fd(life.out[1]);
        began_ns = now_monotonic();
        await_end(&life);
        test_int(now_monotonic() - began_ns, >=, rest_usec * NSEC_PER_USEC);
        test_true(life.child.killed);
        expect_status(&life, CLD_EXITED, 4);
        test_int(read(life.out[0], &byte, 1), ==, 0);
        finish(&life);
}

static void test_rest(void)
{
        if (!has_groups)
                return;
        leave_rest(0);
        leave_rest(50000);
}

/* The rest ends by itself before it would be killed, and that is the end. */
static void test_rest_ends(void)
{
        struct life life;

        if (!has_groups)
                return;
        begin(&life, true, "exec 3<&0; read line <&3 & exit 0");
        life.child.rest_usec = 60 * UINT64_C(1000000);
        while (child_is_up(&life.child))
                test_true(sd_event_run(life.event, UINT64_MAX) >= 0);
        test_int(life.n_ended, ==, 0);
        test_true(!child_is_over(&life.child));
        test_int(write(life.in[1], "\n", 1), ==, 1);
        await_end(&life);
        test_true(!life.child.killed);
        finish(&life);
}

/* A look at it before the event of its end is taken does not lose that event. */
static void test_looked_at(void)
{
        struct pollfd pollfd = { .events = POLLPRI };
        struct life life;
        bool populated;

        if (!has_groups)
                return;
        begin(&life, true, "exec 3<&0; read line <&3 & exit 0");
        life.child.rest_usec = 60 * UINT64_C(1000000);
        while (child_is_up(&life.child))
                test_true(sd_event_run(life.event, UINT64_MAX) >= 0);
        test_int(cgroup_events_open(life.child.group.fd, &pollfd.fd), ==, 0);
        test_int(cgroup_events_read(pollfd.fd, &populated, NULL), ==, 0);
        test_true(populated);
        test_int(write(life.in[1], "\n", 1), ==, 1);
        test_int(poll(&pollfd, 1, 60000), ==, 1);
        test_true(child_is_over(&life.child));
        test_int(life.n_ended, ==, 0);
        await_end(&life);
        close_fd(pollfd.fd);
        finish(&life);
}

static void test_cannot_start(void)
{
        struct life life;

        init(&life, has_groups);
        test_int(start(&life, "/nonexistent/program", ""), ==, -ENOENT);
        test_int(life.child.state, ==, CHILD_NONE);
        finish(&life);
}

/* What is no program is found out by the process that was to become it. */
static void test_cannot_become(void)
{
        char path[] = "/tmp/test-child.XXXXXX";
        struct life life;
        int fd = mkostemp(path, O_CLOEXEC);

        test_int(fd, >=, 0);
        test_int(write(fd, "\177ELF", 4), ==, 4);
        test_int(fchmod(fd, 0700), ==, 0);
        close(fd);
        init(&life, has_groups);
        test_int(start(&life, path, ""), ==, 0);
        await_end(&life);
        test_str(life.child.start_attempted, "execute");
        test_int(life.child.start_error, ==, -ENOEXEC);
        test_int(life.n_begun, ==, 1);
        finish(&life);
        test_int(unlink(path), ==, 0);
}

/* It is started anew after its end, in a fresh group. */
static void test_again(void)
{
        struct life life;

        begin(&life, has_groups, "exit 1");
        await_end(&life);
        child_clear(&life.child);
        life.n_ended = 0;
        if (has_groups)
                test_int(child_group_make(base_fd, "child", NULL, &life.child.group, &life.leaf_fd),
                         ==, 0);
        test_int(start(&life, "/bin/sh", "exit 2"), ==, 0);
        await_end(&life);
        expect_status(&life, CLD_EXITED, 2);
        finish(&life);
}

/* One that another supervisor has started is no child of ours. */
static void test_adopted(void)
{
        struct child_group group;
        struct life life, former;
        int pidfd;
        pid_t pid;

        if (!has_groups)
                return;
        begin(&former, true, "echo; read line");
        await_line(&former);
        test_int(child_group_open(base_fd, "child", &group), ==, 0);
        test_int(child_group_open_process(&group, NULL, &pid, &pidfd), ==, 0);
        test_int(pid, ==, former.child.pid);
        init(&life, false);
        life.child.group = group;
        test_int(child_adopt(&life.child, pid, pidfd), ==, 0);
        child_leave(&former.child);
        test_int(former.child.state, ==, CHILD_NONE);
        child_kill(&life.child);
        await_end(&life);
        test_true(!life.child.is_ours && !life.child.has_status);
        test_int(life.n_begun, ==, 0);
        test_int(waitpid(pid, NULL, 0), ==, pid);
        finish(&life);
        finish(&former);
        test_int(former.n_ended, ==, 0);
}

/* Its process ended with the supervisor, and one of that one's own is left. */
static void test_adopted_rest(void)
{
        struct life life;
        int pidfd;
        pid_t pid;

        if (!has_groups)
                return;
        init(&life, true);
        pid = start_sleeper(life.child.group.fd, &pidfd);
        test_int(child_adopt(&life.child, 0, -EBADF), ==, 0);
        test_int(life.n_ended, ==, 0);
        test_true(!child_is_up(&life.child));
        /* The pidfd of a zombie that nobody reaps keeps no group populated. */
        await_end(&life);
        reap(pid, &pidfd, SIGKILL);
        finish(&life);
}

/* Frozen, it would not act on the signal. */
static void stop_frozen(bool grouped)
{
        struct life life;

        begin(&life, grouped, "trap 'exit 3' TERM; echo; read line");
        await_line(&life);
        while (life.n_begun == 0)
                test_int(sd_event_run(life.event, UINT64_MAX), >=, 0);
        test_int(child_freeze(&life.child, true), ==, 0);
        while (life.child.freeze_source && !child_is_frozen(&life.child))
                test_int(sd_event_run(life.event, UINT64_MAX), >=, 0);
        test_true(life.child.frozen);
        life.child.grace_usec = 60 * UINT64_C(1000000);
        child_stop(&life.child);
        test_true(!life.child.frozen);
        await_end(&life);
        expect_status(&life, CLD_EXITED, 3);
        finish(&life);
}

static void test_stops_frozen(void)
{
        stop_frozen(false);
        if (has_groups)
                stop_frozen(true);
}

/*
 * A child that cannot be let continue, here for want of descriptors, is still known to be frozen:
 * so its stop lets it continue later, and it ends in order.
 */
static void test_stays_frozen(void)
{
        struct rlimit limit, none;
        struct life life;

        if (!has_groups)
                return;
        begin(&life, true, "trap 'exit 3' TERM; echo; read line");
        await_line(&life);
        while (life.n_begun == 0)
                test_int(sd_event_run(life.event, UINT64_MAX), >=, 0);
        test_int(child_freeze(&life.child, true), ==, 0);
        test_int(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        none = (struct rlimit){ 0, limit.rlim_max };
        test_int(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
        test_int(child_freeze(&life.child, false), ==, -EMFILE);
        test_true(life.child.frozen);
        test_int(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        life.child.grace_usec = 60 * UINT64_C(1000000);
        child_stop(&life.child);
        await_end(&life);
        expect_status(&life, CLD_EXITED, 3);
        finish(&life);
}

/* Nobody waits for it. */
static void test_forced(void)
{
        struct life life;

        begin(&life, has_groups, "trap '' TERM; echo; sleep 1000 & read line");
        await_line(&life);
        child_force(&life.child);
        test_int(life.child.state, ==, CHILD_ENDED);
        test_int(life.n_ended, ==, 0);
        expect_status(&life, CLD_KILLED, SIGKILL);
        finish(&life);
}

int main(void)
{
        static const struct test_case cases[] = {
                { "exits", test_exits },
                { "may be killed for memory", test_oom_score },
                { "is killed", test_killed },
                { "is killed at once", test_killed_at_once },
                { "stops", test_stops },
                { "ignores SIGTERM", test_ignores_sigterm },
                { "leaves others behind", test_rest },
                { "leaves others that end", test_rest_ends },
                { "is looked at", test_looked_at },
                { "cannot be started", test_cannot_start },
                { "cannot become its program", test_cannot_become },
                { "is started again", test_again },
                { "is adopted", test_adopted },
                { "left others to the next", test_adopted_rest },
                { "stops though it is frozen", test_stops_frozen },
                { "stays frozen", test_stays_frozen },
                { "is forced", test_forced },
        };
        int r;

        has_groups = set_up() == 0;
        r = test_main("child", cases, ARRAY_SIZE(cases));
        if (has_groups && tear_down() < 0)
                r = EXIT_FAILURE;
        return r;
}
