#include "lib/machines.h"

bool machines_text_is_valid(const char *text, size_t n, size_t max)
{
        if (n == 0 || n > max)
                return false;
        for (size_t i = 0; i < n; ++i)
                if (text[i] <= ' ' || text[i] > '~' || strchr("*?[]\\\"'", text[i]))
                        return false;
        return true;
}

bool machines_name_is_valid(const char *name)
{
        return machines_text_is_valid(name, strlen(name), MACHINES_NAME_MAX);
}

static int copy(char **to, const char *from)
{
        *to = from ? strdup(from) : NULL;
        return from && !*to ? -ENOMEM : 0;
}

/* Members beside the URL take precedence over the parts of the URL. */
static int override(char **to, const char *from)
{
        if (!from)
                return 0;
        free(*to);
        return copy(to, from);
}

static int read_url(struct machines *machines, const char *url, const char *username,
                    const char *password, struct fault *fault)
{
        int r = redis_url_parse(url, &machines->url, fault);

        if (r == -EINVAL)
                r = -EBADMSG;
        if (r >= 0)
                r = override(&machines->url.username, username);
        if (r >= 0)
                r = override(&machines->url.password, password);
        return r;
}

int machines_from_json(json_t *json, struct machines *ret, struct fault *fault)
{
        const char *url, *username = NULL, *password = NULL, *ca_file = NULL, *name;
        const char *prefix = MACHINES_PREFIX, *owner = NULL;
        json_int_t heartbeat = (json_int_t)MACHINES_HEARTBEAT_NS, chunk_tasks_max = 0;
        struct machines machines = MACHINES_NULL;
        int r;

        if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s?s, s?s, s?s, s?s, s?I, s:s, s?s, s?I}",
                           "redis", &url, "username", &username, "password", &password, "ca_file",
                           &ca_file, "prefix", &prefix, "heartbeat_ns", &heartbeat, "name", &name,
                           "owner", &owner, "chunk_tasks_max", &chunk_tasks_max) < 0)
                return fault_say(fault, -EBADMSG, NULL,
                                 "\"machines\" is not an object of redis, username, password, "
                                 "ca_file, prefix, heartbeat_ns, name, owner and chunk_tasks_max");
        if (!machines_name_is_valid(name))
                return fault_say(fault, -EBADMSG, NULL,
                                 "the node's name is empty, longer than 128 bytes, or has "
                                 "characters other than letters, digits and most signs");
        if (!machines_name_is_valid(prefix))
                return fault_say(fault, -EBADMSG, NULL,
                                 "the prefix is empty, longer than 128 bytes, or has "
                                 "characters other than letters, digits and most signs");
        if (owner && !machines_text_is_valid(owner, strlen(owner), MACHINES_OWNER_MAX))
                return fault_say(fault, -EBADMSG, NULL,
                                 "the owner's name is empty, longer than 144 bytes, or has "
                                 "characters other than letters, digits and most signs");
        if (heartbeat < (json_int_t)MACHINES_HEARTBEAT_MIN ||
            heartbeat > (json_int_t)MACHINES_HEARTBEAT_MAX)
                return fault_say(fault, -EBADMSG, NULL,
                                 "the heartbeat is not between 100 ms and an hour");

        if (chunk_tasks_max < 0 || chunk_tasks_max > UINT32_MAX)
                return fault_say(fault, -EBADMSG, NULL, "chunk_tasks_max is no number of tasks");

        machines.heartbeat_ns = (uint64_t)heartbeat;
        machines.chunk_tasks_max = (uint32_t)chunk_tasks_max;
        r = read_url(&machines, url, username, password, fault);
        if (r >= 0)
                r = copy(&machines.ca_file, ca_file);
        if (r >= 0)
                r = copy(&machines.prefix, prefix);
        if (r >= 0)
                r = copy(&machines.name, name);
        if (r >= 0)
                r = copy(&machines.owner, owner ?: name);
        if (r < 0) {
                machines_deinit(&machines);
                return r;
        }
        *ret = machines;
        return 0;
}

void machines_deinit(struct machines *machines)
{
        redis_url_deinit(&machines->url);
        free(machines->ca_file);
        free(machines->prefix);
        free(machines->name);
        free(machines->owner);
        *machines = (struct machines)MACHINES_NULL;
}
