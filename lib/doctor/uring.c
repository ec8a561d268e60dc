/*
 * io_uring, tried in a child by its three system calls, since a seccomp filter may answer to any of
 * them with a signal. The ladder is the runner's (daemon/runner/loop/ring-setup.c).
 */

#include "lib/doctor/check.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* Newer than the headers of Debian 12. */
#define OP_WAITID 50
#define OPS       64

static const struct {
        const char *name;
        unsigned flags;
} rungs[] = {
        { "single-issuer+defer-taskrun", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN },
        { "coop-taskrun", IORING_SETUP_COOP_TASKRUN },
        { "plain", 0 },
};

/* The child's report. */
struct uring {
        int error; /* negative errno of the first call that failed */
        unsigned rung;
        bool has_msg, has_waitid;
};

static bool has_op(const struct io_uring_probe *probe, unsigned op)
{
        return op <= probe->last_op && op < probe->ops_len &&
               probe->ops[op].flags & IO_URING_OP_SUPPORTED;
}

static int set_up(struct uring *uring)
{
        int fd = -1;

        for (uring->rung = 0; uring->rung < ARRAY_SIZE(rungs); ++uring->rung) {
                struct io_uring_params params = { .flags = rungs[uring->rung].flags };

                fd = (int)syscall(SYS_io_uring_setup, 8, &params);
                if (fd >= 0 || errno != EINVAL)
                        break;
        }
        return fd < 0 ? -errno : fd;
}

static int try(struct uring *uring)
{
        _Alignas(struct io_uring_probe) char memory[sizeof(struct io_uring_probe) +
                                                    OPS * sizeof(struct io_uring_probe_op)] = { 0 };
        struct io_uring_probe *list = (struct io_uring_probe *)memory;
        int fd;

        fd = set_up(uring);
        if (fd < 0)
                return fd;
        if (syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0) < 0 ||
            syscall(SYS_io_uring_register, fd, IORING_REGISTER_PROBE, list, OPS) < 0)
                return -errno;
        uring->has_msg = has_op(list, IORING_OP_MSG_RING);
        uring->has_waitid = has_op(list, OP_WAITID);
        return 0;
}

static void work(int fd)
{
        struct uring uring = { 0 };

        uring.error = try(&uring);
        (void)write_all(fd, &uring, sizeof(uring));
}

static int find(struct uring *ret, int *ret_signal)
{
        ssize_t n = check_in_child(work, ret, sizeof(*ret), ret_signal);

        if (n < 0)
                return (int)n;
        return n == sizeof(*ret) ? ret->error : -EIO;
}

static int sysctl_disabled(void)
{
        _cleanup_free_ char *text = NULL;

        if (read_file_at(AT_FDCWD, "/proc/sys/kernel/io_uring_disabled", &text, NULL) < 0)
                return 0;
        return atoi(text);
}

static const char *remedy_for(int error)
{
        if (error == -EPERM && sysctl_disabled() > 0)
                return "sysctl kernel.io_uring_disabled=0, or, where that is 1, put the daemon's "
                       "user in the group of kernel.io_uring_group";
        if (error == -EPERM || error == -EACCES || error == -ECHILD || error == -ENOSYS)
                return "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp "
                       "filter (a container's default profile forbids them), or boot Linux 5.17 or "
                       "newer";
        if (error == -ENOMEM)
                return "raise LimitMEMLOCK= of the service (ulimit -l)";
        return "boot Linux 5.17 or newer";
}

void check_uring(const struct patient *patient, struct finding *finding)
{
        struct uring uring;
        int signal = 0, r;

        r = find(&uring, &signal);
        if (r >= 0)
                finding_set(finding, CHECK_YES, NULL, "run async");
        else if (r == -ECHILD)
                finding_set(finding, CHECK_NO, remedy_for(r), "who tries it is killed (%s)",
                            sigdescr_np(signal) ?: "by a signal");
        else if (r == -EPERM && sysctl_disabled() > 0)
                finding_set(finding, CHECK_NO, remedy_for(r), "kernel.io_uring_disabled is %d",
                            sysctl_disabled());
        else
                finding_set(finding, CHECK_NO, remedy_for(r), "%s", strerrordesc_np(-r));
}

bool doctor_try_uring(struct fault *fault)
{
        struct finding finding = { CHECK_NO, NULL, NULL };

        check_uring(NULL, &finding);
        if (finding.status != CHECK_YES)
                (void)fault_say(fault, -EOPNOTSUPP, finding.remedy,
                                "io_uring cannot be used here: %s", fault_text(finding.detail));
        finding_deinit(&finding);
        return finding.status == CHECK_YES;
}

void check_uring_setup(const struct patient *patient, struct finding *finding)
{
        struct uring uring;
        int signal;

        if (find(&uring, &signal) < 0)
                finding_set(finding, CHECK_NO, "see above", "io_uring cannot be used");
        else
                finding_set(finding, uring.rung == 0 ? CHECK_YES : CHECK_PARTLY,
                            "boot Linux 6.1 or newer for fewer interruptions", "%s",
                            rungs[uring.rung].name);
}

static void check_op(bool (*has)(const struct uring *), const char *what, const char *remedy,
                     struct finding *finding)
{
        struct uring uring;
        int signal;

        if (find(&uring, &signal) < 0)
                finding_set(finding, CHECK_NO, "see above", "io_uring cannot be used");
        else if (has(&uring))
                finding_set(finding, CHECK_YES, NULL, "%s", what);
        else
                finding_set(finding, CHECK_NO, remedy, "this kernel does not have it");
}

static bool has_msg(const struct uring *uring)
{
        return uring->has_msg;
}

static bool has_waitid(const struct uring *uring)
{
        return uring->has_waitid;
}

void check_uring_msg(const struct patient *patient, struct finding *finding)
{
        check_op(has_msg, "rings can wake each other", "boot Linux 5.18 or newer", finding);
}

void check_uring_waitid(const struct patient *patient, struct finding *finding)
{
        check_op(has_waitid, "a ring can wait for a process",
                 "boot Linux 6.7 or newer; until then a pidfd does", finding);
}
