#include "daemon/supervisor/base/notify.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATIENCE_MSEC 1000

/* @name is a path, or an abstract name with an @ in place of its first byte, which is NUL. */
static int make_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_size)
{
        size_t n = strlen(name);

        if ((name[0] != '/' && name[0] != '@') || name[1] == 0)
                return -EINVAL;
        if (n >= sizeof(ret->sun_path))
                return -ENAMETOOLONG;
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(ret->sun_path, name, n);
        if (name[0] == '@')
                ret->sun_path[0] = 0;
        /* The size includes the NUL byte at the end of a path; an abstract name has none there. */
        *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (name[0] == '/'));
        return 0;
}

static int try_send(int fd, const char *text)
{
        return send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int notify_send(const char *text, bool must)
{
        const char *name = getenv("NOTIFY_SOCKET");
        _cleanup_close_ int fd = -EBADF;
        struct sockaddr_un address;
        struct pollfd room;
        socklen_t size;
        int r;

        if (!name || !*name)
                return 0;
        r = make_address(name, &address, &size);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, size) < 0)
                return -errno;
        r = try_send(fd, text);
        if (r != -EAGAIN || !must)
                return r;
        room = (struct pollfd){ .fd = fd, .events = POLLOUT };
        (void)poll(&room, 1, PATIENCE_MSEC);
        return try_send(fd, text);
}
