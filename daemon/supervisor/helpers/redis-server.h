#pragma once

/*
 * The private Redis: a redis-server (or valkey-server) of our own for the level machines where no
 * Redis is configured. A helper in the cgroup "redis", on a Unix socket in the state directory that
 * only our own user may use; it keeps nothing on disk.
 */

#include "daemon/supervisor/helpers/helper.h"

struct redis_server {
        struct helper helper;
        char *directory; /* <state>/redis, absolute */
        char *socket;    /* in it */
};

#define REDIS_SERVER_NULL             \
        {                             \
                .helper = HELPER_NULL \
        }

/* Finds one that a former supervisor left. @state: the state directory. */
int redis_server_init(struct redis_server *server, sd_event *event, struct groups *groups,
                      const char *state);
void redis_server_deinit(struct redis_server *server);

/* Whether there is a program to start, and a path that a socket may have. False: @fault tells. */
bool redis_server_is_available(const struct redis_server *server, struct fault *fault);
