#include "daemon/runner/machines/roster.h"

#include <search.h>

#include "daemon/runner/runner.h"

static int by_name(const void *a, const void *b)
{
        const struct roster_node *x = a, *y = b;
        int r = memcmp(x->name, y->name, MIN(x->n_name, y->n_name));

        return r ?: (x->n_name > y->n_name) - (x->n_name < y->n_name);
}

static struct roster_node *node_new(struct roster *roster, const char *name, size_t n)
{
        struct roster_node *node = calloc(1, sizeof(*node)), **bigger;

        bigger = realloc(roster->nodes, (roster->n + 1) * sizeof(struct roster_node *));
        if (bigger)
                roster->nodes = bigger;
        if (node)
                node->name = strndup(name, n);
        if (!node || !bigger || !node->name) {
                if (node)
                        free(node->name);
                free(node);
                return NULL;
        }
        node->n_name = n;
        node->slots = 1;
        node->number = (uint16_t)MIN(roster->n, (size_t)UINT16_MAX);
        return node;
}

/*
 * Anybody who may write to Redis may add any number of names. The first ones are kept, and the rest
 * are not asked.
 */
static struct roster_node *too_many(struct roster *roster)
{
        if (!roster->many_said)
                log_error("more than %d names of nodes are in Redis: others of them are not asked "
                          "what they take, and their records tell them not apart",
                          ROSTER_NODES_MAX);
        roster->many_said = true;
        roster->others.number = UINT16_MAX;
        roster->others.slots = 1;
        return &roster->others;
}

struct roster_node *roster_get(struct roster *roster, const char *name, size_t n)
{
        struct roster_node key = { .name = (char *)name, .n_name = n }, **found, *node;

        /*
         * A tree: there may be thousands, and each result and each look at the list asks for one.
         */
        found = tfind(&key, &roster->by_name, by_name);
        if (found)
                return *found;
        if (roster->n >= ROSTER_NODES_MAX)
                return too_many(roster);
        node = node_new(roster, name, n);
        if (!node)
                return NULL;
        if (!tsearch(node, &roster->by_name, by_name)) {
                free(node->name);
                free(node);
                return NULL;
        }
        roster->nodes[roster->n++] = node;
        return node;
}

static void free_node(void *p)
{
        struct roster_node *node = p;

        free(node->name);
        free(node);
}

void roster_deinit(struct roster *roster)
{
        tdestroy(roster->by_name, free_node);
        free(roster->nodes);
}

void roster_call(struct roster *roster)
{
        for (size_t i = 0; i < roster->n; ++i)
                roster->nodes[i]->alive = false;
}

void roster_count(struct roster *roster)
{
        roster->capacity = roster->slots = 0;
        for (size_t i = 0; i < roster->n; ++i) {
                if (!roster->nodes[i]->alive)
                        continue;
                roster->capacity += roster->nodes[i]->workers;
                roster->slots += roster->nodes[i]->slots;
        }
}

void roster_count_seen(const struct roster *roster, uint64_t *ret_nodes, uint64_t *ret_workers)
{
        *ret_nodes = *ret_workers = 0;
        for (size_t i = 0; i < roster->n; ++i) {
                if (!roster->nodes[i]->seen)
                        continue;
                ++*ret_nodes;
                *ret_workers += roster->nodes[i]->workers;
        }
}
