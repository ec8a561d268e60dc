#include "daemon/web/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

static int set_nonblocking(int fd)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return 0;
}

int listen_inherited(int *ret_fd)
{
        int n = sd_listen_fds(true), fd = SD_LISTEN_FDS_START, r;

        if (n < 0)
                return n;
        if (n == 0)
                return -ENOENT;
        if (n > 1)
                return -E2BIG;
        r = sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, true);
        if (r <= 0)
                return r < 0 ? r : -ENOTSOCK;
        r = set_nonblocking(fd);
        if (r < 0)
                return r;
        *ret_fd = fd;
        return 0;
}

int listen_loopback(uint16_t port, int *ret_fd)
{
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
            bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0)
                return -errno;
        *ret_fd = steal_fd(&fd);
        return 0;
}

int listen_port(int fd, uint16_t *ret_port)
{
        struct sockaddr_in address;
        socklen_t n = sizeof(address);

        if (getsockname(fd, (struct sockaddr *)&address, &n) < 0)
                return -errno;
        if (address.sin_family != AF_INET)
                return -EAFNOSUPPORT;
        *ret_port = ntohs(address.sin_port);
        return 0;
}
