#include "daemon/supervisor/identity.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/pidfd.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

/* Field 22 of /proc/PID/stat. The name in field 2 may hold anything: count from its end. */
static int read_start_time(pid_t pid, uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        char path[32], *at;
        int r;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        r = read_file_at(AT_FDCWD, path, &text, NULL);
        if (r < 0)
                return r;
        at = strrchr(text, ')');
        for (int field = 2; at && field < 22; ++field)
                at = strchr(at + 1, ' ');
        return at ? parse_u64(at + 1, strcspn(at + 1, " \n"), UINT64_MAX, ret) : -EBADMSG;
}

/* "PID START-TIME BOOT-ID": what the file of a runner that lives must hold. */
static int format_identity(pid_t pid, char **ret)
{
        _cleanup_free_ char *boot = NULL;
        uint64_t start;
        int r;

        r = read_start_time(pid, &start);
        if (r >= 0)
                r = read_file_at(AT_FDCWD, BOOT_ID_FILE, &boot, NULL);
        if (r < 0)
                return r;
        if (asprintf(ret, "%d %" PRIu64 " %s", pid, start, boot) < 0)
                return -ENOMEM;
        return 0;
}

int identity_write(const struct directory *directory, pid_t pid)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = format_identity(pid, &text);
        if (r < 0)
                return r;
        fd = openat(directory->fd, "runner", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                    0600);
        return fd < 0 ? -errno : write_all(fd, text, strlen(text));
}

int identity_find(const struct directory *directory, pid_t *ret_pid, int *ret_pidfd)
{
        _cleanup_free_ char *text = NULL, *now = NULL;
        _cleanup_close_ int pidfd = -EBADF;
        uint64_t pid;
        int r;

        r = read_file_at(directory->fd, "runner", &text, NULL);
        if (r < 0 || parse_u64(text, strcspn(text, " "), INT32_MAX, &pid) < 0 || pid == 0)
                return -ESRCH;
        /* Held first and looked at then: it can't become another process in between. */
        pidfd = pidfd_open((pid_t)pid, 0);
        if (pidfd < 0 || format_identity((pid_t)pid, &now) < 0 || !streq(text, now))
                return -ESRCH;
        *ret_pid = (pid_t)pid;
        *ret_pidfd = steal_fd(&pidfd);
        return 0;
}
