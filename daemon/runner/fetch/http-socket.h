#pragma once

/*
 * The transport of a worker that blocks, a thread or a process: sockets, and ppoll(2) to wait,
 * which also polls the descriptor of the interrupt that may end the wait (interrupt.h).
 */

#include "daemon/runner/fetch/http-transport.h"

struct interrupt;

/* @interrupt has to outlive it. 0 or -ENOMEM. */
int http_socket_new(struct runner *runner, struct interrupt *interrupt,
                    struct http_transport **ret);
struct http_transport *http_socket_free(struct http_transport *transport);
