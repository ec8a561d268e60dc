#include "daemon/supervisor/jobs/levels.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>

#include "lib/doctor/doctor.h"

#define DISABLED "/proc/sys/kernel/io_uring_disabled"
#define GROUP    "/proc/sys/kernel/io_uring_group"

/* The number in a file of /proc/sys; -1 where there is none. */
static long read_number(const char *path)
{
        _cleanup_free_ char *text = NULL;
        uint64_t v;

        if (read_file_at(AT_FDCWD, path, &text, NULL) < 0 ||
            parse_u64(text, strcspn(text, "\n"), LONG_MAX, &v) < 0)
                return -1;
        return (long)v;
}

static bool is_member(long group)
{
        gid_t groups[NGROUPS_MAX];
        int n = getgroups(NGROUPS_MAX, groups);

        if (group < 0)
                return false;
        if (getegid() == (gid_t)group)
                return true;
        for (int i = 0; i < n; ++i)
                if (groups[i] == (gid_t)group)
                        return true;
        return false;
}

/*
 * What a seccomp filter forbids shows only when it is tried, and by who may be killed for it: a
 * child. A filter that lets it pass does so for ever; what fails may also be for want of memory.
 */
static bool uring_works(struct fault *fault)
{
        static bool worked;

        worked = worked || doctor_try_uring(fault);
        if (!worked)
                (void)fault_advise(fault, "%s; or use another level, the others work without it",
                                   fault->advice);
        return worked;
}

/* The switch is there since Linux 6.6, and can be turned at any time. */
static bool uring_is_available(struct fault *fault)
{
        long disabled = read_number(DISABLED);

        if (disabled == 2) {
                (void)fault_say(
                        fault, -EOPNOTSUPP,
                        "sysctl kernel.io_uring_disabled=0, or use another level",
                        "io_uring is switched off on this machine (kernel.io_uring_disabled is 2)");
                return false;
        }
        if (disabled == 1 && geteuid() != 0 && !is_member(read_number(GROUP))) {
                (void)fault_say(fault, -EOPNOTSUPP,
                                "add that user to the group named by kernel.io_uring_group, or "
                                "sysctl kernel.io_uring_disabled=0, or use another level",
                                "io_uring is for members of one group only "
                                "(kernel.io_uring_disabled is 1), and the daemon's user is not "
                                "one");
                return false;
        }
        return uring_works(fault);
}

bool level_is_available(enum level level, const struct engine *engine, struct fault *fault)
{
        if (!level_has(level, LEVEL_LOCAL))
                return engine_is_available(engine, fault);
        return !level_has(level, LEVEL_LOOPS) || uring_is_available(fault);
}
