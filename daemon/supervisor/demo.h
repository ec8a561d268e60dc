#pragma once

/*
 * The demo server: pppd-web, which answers what "demo:" inputs name. It is started for the first job
 * that needs it, on a loopback port of the kernel's choice, and stopped when no job has needed it for
 * a while. When it dies while it is needed it is started again on the same port.
 *
 * The port is kept in the state directory, and the process is found by its cgroup ("web"), so that a
 * supervisor that takes over running jobs takes over their server too.
 */

#include <stdio.h>
#include <systemd/sd-event.h>

#include "daemon/supervisor/failure.h"
#include "daemon/supervisor/groups.h"

#define DEMO_URL_MAX 40

struct demo_server {
        sd_event *event;
        struct groups *groups;
        const char *program;
        int state_fd;                   /* where "demo-port" is kept; borrowed */

        int listen_fd;
        uint16_t port;                  /* 0: none */
        pid_t pid;
        int pidfd;                      /* -EBADF: it does not run */
        int group_fd;
        unsigned n_users;
        unsigned n_deaths;              /* in a row, soon after the start */
        uint64_t started_ns;
        bool stopping;
        sd_event_source *exit_source, *timer_source;
};

#define DEMO_SERVER_NULL                                                                           \
        { .state_fd = -EBADF, .listen_fd = -EBADF, .pidfd = -EBADF, .group_fd = -EBADF }

/* Finds a server that a former supervisor left. Pointers and @state_fd are borrowed. */
int demo_server_init(struct demo_server *server, sd_event *event, struct groups *groups,
                     const char *program, int state_fd);

/* Kills it, and removes its group. */
void demo_server_deinit(struct demo_server *server);

/* Sees that it runs, counts one user, says where it is ("http://127.0.0.1:4711"). */
int demo_server_acquire(struct demo_server *server, char ret_url[static DEMO_URL_MAX],
                        struct failure *failure);
void demo_server_release(struct demo_server *server);

/* Whether any line of the inputs begins with "demo:". */
bool demo_is_named(const char *inputs, size_t n);
