#pragma once

/*
 * Where the listening socket comes from: handed over by the LISTEN_FDS protocol
 * (sd_listen_fds(3)), or opened on the loopback address. Always non-blocking and close-on-exec.
 */

#include "lib/util.h"

/*
 * Takes the one socket that was handed over. -ENOENT when there is none, -E2BIG when there are
 * several, -ENOTSOCK when it is no listening stream socket; another errno when LISTEN_PID or
 * LISTEN_FDS is no number, or there is no such descriptor.
 */
int listen_inherited(int *ret_fd);

/* Opens one on 127.0.0.1:@port, 0 for any port. */
int listen_loopback(uint16_t port, int *ret_fd);

/* The port a socket of listen_loopback() has. */
int listen_port(int fd, uint16_t *ret_port);
