#pragma once

/*
 * The HTTP server: libmicrohttpd on an sd-event loop, one thread. It serves the demo pages, or what
 * scrape.h gets from pppd.
 *
 * libmicrohttpd keeps its sockets in an epoll of its own, whose descriptor the loop watches. A
 * request for a demo page is suspended when its headers have been read, put at the end of a
 * queue, and resumed when it is due. All wait for the same time, so the queue is in order and one
 * timer serves. Requests for the metrics wait in the same queue, until pppd has answered.
 */

#include <systemd/sd-event.h>

#include "daemon/web/pages.h"

struct server;

struct server_options {
        int listen_fd;          /* non-blocking */
        unsigned n_connections; /* at most */
        uint64_t delay_ns;      /* between a demo page's request and its answer */
        const char *socket;     /* of the pppd whose metrics are served; NULL: demo pages */
};

/*
 * Serves @pages, which must outlive the server; NULL where options->socket is given. The listening
 * socket is the server's from now on. Returns 0 or a negative errno; -EIO when libmicrohttpd does
 * not start (it has said why on standard error).
 */
int server_new(sd_event *event, const struct pages *pages, const struct server_options *options,
               struct server **ret);

/* Drops all connections. */
struct server *server_free(struct server *server);
DEFINE_CLEANUP(struct server *, server_free)
