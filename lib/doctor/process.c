#include "lib/doctor/check.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "lib/priority.h"

#define DESCRIPTORS_GOOD 65536
#define SPACE_GOOD       (UINT64_C(256) << 20)

void check_descriptors(const struct patient *patient, struct finding *finding)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                finding_set(finding, CHECK_NO, NULL, "getrlimit(2): %s", strerrordesc_np(errno));
        else
                finding_set(finding, limit.rlim_max >= DESCRIPTORS_GOOD ? CHECK_YES : CHECK_PARTLY,
                            "raise LimitNOFILE= of the service (ulimit -Hn): a task in flight "
                            "takes one or two",
                            "at most %llu in a runner", (unsigned long long)limit.rlim_max);
}

void check_queue(const struct patient *patient, struct finding *finding)
{
        unsigned long long wanted = patient->doctor->max_queued,
                           limit = patient->doctor->queue_limit;

        if (!patient->doctor->is_daemon)
                finding_set(finding, CHECK_PARTLY,
                            "ask a daemon: start it, then pppctl doctor again",
                            "it is the daemon's to tell");
        else if (limit < wanted)
                finding_set(finding, CHECK_PARTLY,
                            "raise the daemon's limit on open files (LimitNOFILE= of the service, "
                            "ulimit -Hn) to four times max_queued, or lower max_queued",
                            "at most %llu, and not max_queued = %llu: each holds two open files, "
                            "and half of those that the daemon may have are for that",
                            limit, wanted);
        else
                finding_set(finding, CHECK_YES, NULL, "at most %llu (max_queued)", limit);
}

void check_nice(const struct patient *patient, struct finding *finding)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        unsigned available;

        if (patient->try_fd >= 0 && cgroup_read_available(patient->try_fd, &available) >= 0 &&
            available & CGROUP_CPU)
                finding_set(finding, CHECK_YES, NULL,
                            "--nice -20 to 19, by the weight of the job's cgroup%s",
                            priority_may_set(19, &fault) ? "" : " alone");
        else if (priority_may_set(-20, &fault))
                finding_set(finding, CHECK_YES, NULL, "--nice -20 to 19");
        else if (priority_may_set(19, &fault))
                finding_set(finding, CHECK_PARTLY, "give the service LimitNICE=-20",
                            "--nice takes values that lower the priority");
        else
                finding_set(finding, CHECK_NO, fault.advice, "%s", fault.why);
}

void check_state(const struct patient *patient, struct finding *finding)
{
        const char *path = patient->doctor->state;
        unsigned long long free_bytes;
        struct statvfs fs;

        if (!path) {
                finding_set(finding, CHECK_PARTLY,
                            "ask a daemon: start it, then pppctl doctor again",
                            "it is the daemon's to tell");
                return;
        }
        if (statvfs(path, &fs) < 0) {
                finding_set(finding, CHECK_NO,
                            "see that the daemon may use it, or give another with --state DIR",
                            "%s: %s", path, strerrordesc_np(errno));
                return;
        }
        free_bytes = (unsigned long long)fs.f_bavail * fs.f_frsize;
        finding_set(finding,
                    fs.f_flag & ST_RDONLY     ? CHECK_NO
                    : free_bytes < SPACE_GOOD ? CHECK_PARTLY
                                              : CHECK_YES,
                    fs.f_flag & ST_RDONLY ? "mount it for writing"
                                          : "make room, or keep fewer jobs (pppctl.conf)",
                    "%s, %llu MiB are free", path, free_bytes >> 20);
}
