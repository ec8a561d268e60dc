#include "lib/proc.h"

int proc_check(const char **ret_why)
{
        char text[16] = "";
        uint64_t pid;
        ssize_t n;
        int r;

        n = readlink("/proc/self", text, sizeof(text));
        if (n < 0) {
                r = -errno;
                *ret_why = "it is not mounted: there is no /proc/self";
                return r;
        }
        r = parse_u64(text, (size_t)n, UINT64_MAX, &pid);
        if (r >= 0 && pid == (uint64_t)getpid())
                return 0;
        *ret_why = "it shows the processes of another PID namespace";
        return r < 0 ? r : -ESRCH;
}
