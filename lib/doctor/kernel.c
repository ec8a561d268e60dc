#include "lib/doctor/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/utsname.h>

#include "lib/proc.h"

void check_kernel(const struct patient *patient, struct finding *finding)
{
        unsigned major, minor;
        struct utsname name;

        (void)uname(&name);
        if (sscanf(name.release, "%u.%u", &major, &minor) != 2)
                major = minor = 0;
        if (major > 6 || (major == 6 && minor >= 1))
                finding_set(finding, CHECK_YES, NULL, "Linux %s", name.release);
        else
                finding_set(finding, CHECK_PARTLY, "boot Linux 6.1 or newer",
                            "Linux %s is older than 6.1, with which pppd is tested", name.release);
}

void check_proc(const struct patient *patient, struct finding *finding)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (proc_check(&fault) < 0)
                finding_set(finding, CHECK_NO, fault.advice, "%s", fault.why);
        else
                finding_set(finding, CHECK_YES, NULL,
                            "it shows the processes of this PID namespace");
}

void check_pidfd(const struct patient *patient, struct finding *finding)
{
        _cleanup_close_ int fd = pidfd_open(getpid(), 0);

        if (fd >= 0)
                finding_set(finding, CHECK_YES, NULL, "processes are watched by descriptor");
        else
                finding_set(finding, CHECK_NO,
                            "boot Linux 5.4 or newer, and allow pidfd_open in seccomp filters",
                            "pidfd_open(2): %s", strerrordesc_np(errno));
}

void check_psi(const struct patient *patient, struct finding *finding)
{
        uint64_t usec;
        int r;

        if (patient->try_fd >= 0)
                r = cgroup_read_pressure(patient->try_fd, "cpu.pressure", "some", &usec);
        else
                r = faccessat(AT_FDCWD, "/proc/pressure/cpu", R_OK, 0) < 0 ? -errno : 0;
        if (r >= 0)
                finding_set(finding, CHECK_YES, NULL, "stalls on CPU, memory and I/O are counted");
        else
                finding_set(finding, CHECK_NO, "boot with psi=1",
                            "the kernel does not account for pressure: %s", strerrordesc_np(-r));
}
