#include "lib/doctor/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#define NO_GROUP   "no group can be made to try it in"
#define SEE_GROUPS "see groups for jobs"

void check_cgroup_mount(const struct patient *patient, struct finding *finding)
{
        if (!patient->mount)
                finding_set(finding, CHECK_NO,
                            "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified, or boot with "
                            "systemd.unified_cgroup_hierarchy=1",
                            "no cgroup v2 mount shows this process");
        else if (streq(patient->mount, "/sys/fs/cgroup"))
                finding_set(finding, CHECK_YES, NULL, "mounted at %s", patient->mount);
        else
                finding_set(finding, CHECK_PARTLY, "boot with systemd.unified_cgroup_hierarchy=1",
                            "mounted at %s, beside v1, which has the controllers", patient->mount);
}

void check_jobs_group(const struct patient *patient, struct finding *finding)
{
        bool delegated = patient->base_fd >= 0 && cgroup_is_delegated(patient->base_fd);

        if (patient->try_fd >= 0)
                finding_set(finding, CHECK_YES, NULL, "below %s, %s", patient->base,
                            delegated                    ? "which systemd delegated"
                            : patient->doctor->is_daemon ? "which is the daemon's own"
                                                         : "which may be written to");
        else if (patient->base)
                finding_set(finding, CHECK_NO,
                            patient->base_fd < 0 && patient->doctor->is_daemon
                                    ? "start the daemon again: somebody has removed its cgroup"
                                    : "start the daemon as a systemd service with Delegate=yes, or "
                                      "give it a group it may write to with --cgroup PATH",
                            "cannot make a group below %s: %s", patient->base,
                            strerrordesc_np(-patient->try_error));
        else
                finding_set(finding, CHECK_NO,
                            "start the daemon as a systemd service with Delegate=yes, or give it a "
                            "group it may write to with --cgroup PATH",
                            "%s",
                            patient->doctor->why_none ?: "there is no cgroup v2 to make it in");
}

/* Whether the control files exist depends on the kernel's version. */
static void check_file(const struct patient *patient, const char *file, const char *what,
                       const char *remedy, struct finding *finding)
{
        if (patient->try_fd < 0)
                finding_set(finding, CHECK_NO, SEE_GROUPS, NO_GROUP);
        else if (faccessat(patient->try_fd, file, W_OK, AT_EACCESS) < 0)
                finding_set(finding, CHECK_NO, remedy, "%s: %s", file, strerrordesc_np(errno));
        else
                finding_set(finding, CHECK_YES, NULL, "%s", what);
}

void check_cgroup_kill(const struct patient *patient, struct finding *finding)
{
        if (patient->try_fd >= 0 && faccessat(patient->try_fd, "cgroup.kill", F_OK, 0) < 0 &&
            errno == ENOENT)
                finding_set(finding, CHECK_PARTLY, "boot Linux 5.14 or newer",
                            "the kernel has none: a job's processes are killed one by one");
        else
                check_file(patient, "cgroup.kill", "a job is killed at one stroke",
                           "boot Linux 5.14 or newer", finding);
}

void check_cgroup_freeze(const struct patient *patient, struct finding *finding)
{
        if (patient->try_fd < 0)
                finding_set(finding, CHECK_PARTLY, SEE_GROUPS,
                            NO_GROUP "; a job is paused by stopping each of its processes");
        else
                check_file(patient, "cgroup.freeze", "a job can be paused",
                           "boot Linux 5.2 or newer", finding);
}

void check_clone(const struct patient *patient, struct finding *finding)
{
        _cleanup_close_ int pidfd = -EBADF;
        siginfo_t info;
        pid_t pid;

        if (patient->try_fd < 0) {
                finding_set(finding, CHECK_NO, SEE_GROUPS, NO_GROUP);
                return;
        }
        pid = cgroup_fork(patient->try_fd, &pidfd);
        if (pid == 0)
                _exit(EXIT_SUCCESS);
        if (pid < 0) {
                finding_set(finding, CHECK_NO,
                            "let the daemon write to cgroup.procs of that group and of the one it "
                            "is in itself: start it as a service with Delegate=yes",
                            "cannot make a process in the group: %s", strerrordesc_np(-pid));
                return;
        }
        while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
                ;
        if (cgroup_clone3_is_forbidden())
                finding_set(
                        finding, CHECK_PARTLY,
                        "nothing has to be done; a drop-in of the unit with RestrictNamespaces=no "
                        "makes starting a process some milliseconds shorter",
                        "a seccomp filter forbids clone3(2) (RestrictNamespaces= of the unit has "
                        "to): processes move into their group before they run");
        else
                finding_set(finding, CHECK_YES, NULL, "processes are born in their group");
}

void check_threaded(const struct patient *patient, struct finding *finding)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (patient->try_fd < 0) {
                finding_set(finding, CHECK_NO, SEE_GROUPS, NO_GROUP);
                return;
        }
        r = cgroup_make(patient->try_fd, "thread-0", &fd);
        if (r >= 0)
                r = cgroup_write(fd, "cgroup.type", "threaded");
        if (r >= 0)
                finding_set(finding, CHECK_YES, NULL, "run threads --threaded");
        else
                finding_set(finding, CHECK_NO, "boot Linux 4.14 or newer", "cannot make one: %s",
                            strerrordesc_np(-r));
}
