#include "lib/results-lock.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "lib/util.h"

/* The locks are advisory: it does not matter that there is data in these bytes. */
enum byte { BYTE_WRITERS, BYTE_RUNNER };

static int lock_byte(int fd, int command, short type, enum byte byte)
{
        struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

        if (fcntl(fd, command, &lock) >= 0)
                return 0;
        return errno == EACCES ? -EAGAIN : -errno;
}

int results_lock(int fd, int *ret_fd)
{
        _cleanup_close_ int own_fd = -EBADF;
        char path[32];
        int r;

        /* The open file description of @fd itself is shared with the process that passed it. */
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        own_fd = open(path, O_RDWR | O_CLOEXEC);
        if (own_fd < 0)
                return -errno;
        r = lock_byte(own_fd, F_OFD_SETLK, F_WRLCK, BYTE_WRITERS);
        if (r >= 0)
                r = lock_byte(own_fd, F_SETLK, F_WRLCK, BYTE_RUNNER);
        if (r < 0)
                return r;
        *ret_fd = steal_fd(&own_fd);
        return 0;
}

/* 0: no process that we can see has it. */
static pid_t find_pid(int fd)
{
        struct flock lock = {
                .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = BYTE_RUNNER, .l_len = 1
        };

        if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
                return 0;
        return MAX(lock.l_pid, 0);
}

int results_find_locker(int fd, pid_t *ret_pid, int *ret_pidfd)
{
        _cleanup_close_ int pidfd = -EBADF;
        pid_t pid = find_pid(fd);

        if (pid == 0)
                return -ESRCH;
        /* Between the name and the descriptor the number may have become another process's. */
        pidfd = pidfd_open(pid, 0);
        if (pidfd < 0)
                return -errno;
        if (find_pid(fd) != pid)
                return -ESRCH;
        *ret_pid = pid;
        *ret_pidfd = steal_fd(&pidfd);
        return 0;
}

int results_hold(int fd)
{
        return lock_byte(fd, F_OFD_SETLK, F_WRLCK, BYTE_WRITERS);
}

void results_release(int fd)
{
        (void)lock_byte(fd, F_OFD_SETLK, F_UNLCK, BYTE_WRITERS);
}
