#include "lib/priority.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/resource.h>

static bool has_sys_nice(void)
{
        _cleanup_free_ char *text = NULL;
        unsigned long long effective;
        const char *at;

        if (read_file_at(AT_FDCWD, "/proc/self/status", &text, NULL) < 0)
                return false;
        at = strstr(text, "\nCapEff:");
        return at && sscanf(at + strlen("\nCapEff:"), "%llx", &effective) == 1 &&
               effective >> CAP_SYS_NICE & 1;
}

/* getrlimit(2): the ceiling is 20 - rlim_cur. */
static bool may_lower_to(int nice)
{
        struct rlimit limit;

        return has_sys_nice() ||
               (getrlimit(RLIMIT_NICE, &limit) >= 0 && limit.rlim_cur >= (rlim_t)(20 - nice));
}

bool priority_may_set(int nice, struct fault *fault)
{
        int current;

        if (priority_get(0, &current) < 0)
                current = 0;
        /* Sets the value that it has already: only a filter can forbid that. */
        if (setpriority(PRIO_PROCESS, 0, current) < 0) {
                (void)fault_say(fault, -EPERM,
                                "allow setpriority in SystemCallFilter= of the service, or let it "
                                "have the cpu controller, if it can (pppctl doctor): then the "
                                "weight of the job's cgroup stands for it",
                                "the daemon's system call filter forbids setpriority(2)");
                return false;
        }
        if (nice >= current || may_lower_to(nice))
                return true;
        (void)fault_say(fault, -EPERM, "give a value from 0 to 19, or the service LimitNICE=",
                        "the daemon may not raise the priority of a process (RLIMIT_NICE, "
                        "CAP_SYS_NICE)");
        return false;
}

/* autogroup has the kernel's text form; without one there is nothing to set, and no file. */
static int set_session(int nice)
{
        char text[8] = "-", *at = text + (nice < 0);
        unsigned v = (unsigned)(nice < 0 ? -nice : nice);
        int fd, r = 0;

        if (v >= 10)
                *at++ = (char)('0' + v / 10);
        *at++ = (char)('0' + v % 10);
        fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (write(fd, text, (size_t)(at - text)) < 0)
                r = -errno;
        close(fd);
        return r;
}

int priority_set(int nice)
{
        int r;

        if (setpriority(PRIO_PROCESS, 0, nice) < 0)
                return -errno;
        r = set_session(nice);
        /*
         * Without privileges, it may be set only ten times a second by all users together, or not
         * at all where /proc is protected; the process's own value is in force in any case.
         */
        return r == -EAGAIN || r == -EACCES || r == -EPERM || r == -EROFS ? 0 : r;
}

int priority_get(int pid, int *ret)
{
        int nice;

        errno = 0;
        nice = getpriority(PRIO_PROCESS, (id_t)pid);
        if (nice == -1 && errno != 0)
                return -errno;
        *ret = nice;
        return 0;
}
