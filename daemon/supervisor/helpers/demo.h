#pragma once

/*
 * The demo server: pppd-web, which answers what "demo:" inputs name. A helper in the cgroup "web",
 * on a loopback port of the kernel's choice. When it dies while it is needed it is started again on
 * the same port, which is kept in the state directory for a supervisor that takes over running
 * jobs.
 */

#include "daemon/supervisor/helpers/helper.h"

#define DEMO_URL_MAX 40

struct demo_server {
        struct helper helper;
        const char *program;
        int state_fd; /* where "demo-port" is kept; borrowed */
        int listen_fd;
        uint16_t port; /* 0: none */
};

#define DEMO_SERVER_NULL                                                       \
        {                                                                      \
                .helper = HELPER_NULL, .state_fd = -EBADF, .listen_fd = -EBADF \
        }

/* Finds a server that a former supervisor left. Pointers and @state_fd are borrowed. */
int demo_server_init(struct demo_server *server, sd_event *event, struct groups *groups,
                     const char *program, int state_fd);

/* Kills it, and removes its group. */
void demo_server_deinit(struct demo_server *server);

/* Sees that it runs, counts one user, says where it is ("http://127.0.0.1:4711"). */
int demo_server_acquire(struct demo_server *server, char ret_url[static DEMO_URL_MAX],
                        struct fault *fault);
void demo_server_release(struct demo_server *server);

/* Whether any line of the inputs begins with "demo:". */
bool demo_is_named(const char *inputs, size_t n);
