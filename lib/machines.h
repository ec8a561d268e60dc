#pragma once

/*
 * Tells a node or the coordinator of a job where its Redis is, and how to behave there: the part of
 * the configuration that the supervisor hands to pppd-runner (lib/runner-abi.h), as JSON:
 *
 *   {"redis": URL, "username"?, "password"?, "ca_file"?, "prefix": "pppctl:",
 *    "heartbeat_ns": 5000000000, "name": NODE, "owner": NAME, "chunk_tasks_max": 16384}
 */

#include <jansson.h>

#include "lib/redis-url.h"

#define MACHINES_PREFIX        "pppctl:"
#define MACHINES_HEARTBEAT_NS  (5 * NSEC_PER_SEC)
#define MACHINES_HEARTBEAT_MIN (100 * NSEC_PER_MSEC)
#define MACHINES_HEARTBEAT_MAX (3600 * NSEC_PER_SEC)
#define MACHINES_NAME_MAX      128 /* bytes of a node's name, and of a prefix */
#define MACHINES_OWNER_MAX     144 /* of an owner's name: a node's, a colon, a user's number */

/*
 * Owners whose chunks a node runs at once, each in a runner of its own: the default, and the most.
 */
#define NODE_OWNERS_MAX     256
#define NODE_OWNERS_DEFAULT 4

struct machines {
        struct redis_url url;     /* with user name and password, wherever they were given */
        char *ca_file;            /* NULL: the system's authorities; of a rediss: URL */
        char *prefix;             /* of every key */
        char *name;               /* of this node, or of the host a job is coordinated on */
        char *owner;              /* whose chunks these are; absent: @name */
        uint32_t chunk_tasks_max; /* of one chunk; 0: as many as there may be */
        uint64_t heartbeat_ns;    /* a node that was silent for that long has lost its chunks */
};

#define MACHINES_NULL                 \
        {                             \
                .url = REDIS_URL_NULL \
        }

/*
 * Strict, as spec_from_json(): -EBADMSG and @fault, which names the member, or -ENOMEM. prefix,
 * heartbeat_ns, owner and chunk_tasks_max may be absent.
 */
int machines_from_json(json_t *json, struct machines *ret, struct fault *fault);
void machines_deinit(struct machines *machines);

/*
 * The time that a leaving node gives its running tasks: until others would take it for dead, but
 * not so long that a stopping daemon would have to kill it.
 */
static inline uint64_t machines_leave_ns(uint64_t heartbeat_ns)
{
        return MIN(heartbeat_ns, 7 * NSEC_PER_SEC);
}

/*
 * A name of a node, or a prefix: 1 to MACHINES_NAME_MAX bytes, printable ASCII without space and
 * without the special characters of an ACL's patterns (* ? [ ] \) and quotes.
 */
bool machines_name_is_valid(const char *name);

/* Whether the @n bytes, at most @max, are such characters. */
bool machines_text_is_valid(const char *text, size_t n, size_t max);
