/* The names of keys in Redis. All begin with the configured prefix. */

#include <stdio.h>

#include "daemon/runner/machines/keys.h"

static char *key(const struct machines *machines, const char *kind, const char *name)
{
        char *text;

        return asprintf(&text, "%s%s%s", machines->prefix, kind, name) < 0 ? NULL : text;
}

/* A key of one workload and one owner. */
static char *owned_key(const struct machines *machines, const char *kind, enum workload_id workload)
{
        char *text;

        return asprintf(&text, "%s%s%s:%s", machines->prefix, kind, workload_name(workload),
                        machines->owner) < 0
                       ? NULL
                       : text;
}

char *key_chunks(const struct machines *machines, enum workload_id workload)
{
        return owned_key(machines, "chunks:", workload);
}

char *key_job(const struct machines *machines, const char *job)
{
        return key(machines, "job:", job);
}

char *key_results(const struct machines *machines, const char *job)
{
        return key(machines, "results:", job);
}

char *key_nodes(const struct machines *machines)
{
        return key(machines, "nodes", "");
}

char *key_node(const struct machines *machines, const char *name)
{
        return key(machines, "node:", name);
}

char *key_look(const struct machines *machines, enum workload_id workload)
{
        return owned_key(machines, "look:", workload);
}

char *key_owners(const struct machines *machines)
{
        return key(machines, "owners", "");
}
