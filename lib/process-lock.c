#include "lib/process-lock.h"

#include <fcntl.h>

#include "lib/util.h"

static pid_t find_holder(int fd)
{
        struct flock holder = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        if (fcntl(fd, F_GETLK, &holder) < 0 || holder.l_type == F_UNLCK)
                return 0;
        return MAX(holder.l_pid, 0);
}

int process_lock(int fd, pid_t *ret_holder)
{
        const struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        *ret_holder = 0;
        if (fcntl(fd, F_SETLK, &whole) >= 0)
                return 0;
        if (errno != EAGAIN && errno != EACCES)
                return -errno;
        *ret_holder = find_holder(fd);
        return -EBUSY;
}
