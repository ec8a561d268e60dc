#include "lib/proc.h"

#include <fcntl.h>

static const char remedy[] = "mount it first: mount -t proc proc /proc";

int proc_check(struct fault *fault)
{
        char text[16] = "";
        uint64_t pid;
        ssize_t n;
        int r;

        n = readlink("/proc/self", text, sizeof(text));
        if (n < 0)
                return fault_say(fault, -errno, remedy,
                                 "it is not mounted: there is no /proc/self");
        r = parse_u64(text, (size_t)n, UINT64_MAX, &pid);
        if (r >= 0 && pid == (uint64_t)getpid())
                return 0;
        return fault_say(fault, r < 0 ? r : -ESRCH, remedy,
                         "it shows the processes of another PID namespace");
}

/* A line "MemAvailable: 23411 kB"; the unit has never been another one. */
static int find_kib(const char *text, const char *name, uint64_t *ret)
{
        size_t n = strlen(name);

        for (const char *line = text; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, name, n) != 0 || line[n] != ':')
                        continue;
                line += n + 1 + strspn(line + n + 1, " ");
                return parse_u64(line, strspn(line, "0123456789"), UINT64_MAX >> 12, ret) < 0
                               ? -EBADMSG
                               : 0;
        }
        return -EBADMSG;
}

int meminfo_available(const char *text, uint64_t *ret)
{
        uint64_t memory, swap = 0;
        int r = find_kib(text, "MemAvailable", &memory);

        if (r < 0)
                return r;
        (void)find_kib(text, "SwapFree", &swap);
        *ret = (memory + swap) << 10;
        return 0;
}

int memory_available(uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        int r = read_file_at(AT_FDCWD, "/proc/meminfo", &text, NULL);

        return r < 0 ? r : meminfo_available(text, ret);
}
