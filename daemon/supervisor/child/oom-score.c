#include "daemon/supervisor/child/oom-score.h"

#include <fcntl.h>

#include "lib/util.h"

int oom_score_reset(void)
{
        int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC), r = 0;
        char sign;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        /* proc(5): from -1000 to 1000; raising one's own takes no privilege. */
        if (read(fd, &sign, 1) < 0 || (sign == '-' && pwrite(fd, "0", 1, 0) < 0))
                r = -errno;
        close(fd);
        return r;
}
