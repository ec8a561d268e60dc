#pragma once

/*
 * The address of a Redis:
 *
 *   unix:/path/to/socket[?db=N]
 *   redis://[[user]:password@]host[:port][/db]       host may be [::1]; the default port is 6379
 *   rediss://…                                       the same over TLS
 *
 * User name and password may be percent-encoded. Knows nothing of hiredis.
 */

#include "lib/fault.h"

#define REDIS_PORT   6379
#define REDIS_DB_MAX 16383

struct redis_url {
        char *path; /* of a Unix socket, absolute; NULL: host and port count */
        char *host; /* without brackets */
        uint16_t port;
        bool tls;
        uint32_t db;
        char *username; /* NULL: none given */
        char *password;
};

#define REDIS_URL_NULL             \
        {                          \
                .port = REDIS_PORT \
        }

/* Returns 0, -EINVAL and @fault (what is wrong and how it should look), or -ENOMEM. */
int redis_url_parse(const char *text, struct redis_url *ret, struct fault *fault);
void redis_url_deinit(struct redis_url *url);

/*
 * For messages: "unix:/path", "redis://host:6379/0"; never the password. NULL when out of memory.
 */
char *redis_url_to_text(const struct redis_url *url);
