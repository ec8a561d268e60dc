/* Which nodes there are, and how much they take at once. */

#include <search.h>

#include "daemon/runner/machines/coordinator.h"

/* While there is none, as when all were started for this job. */
#define ASK_MIN_NS (5 * NSEC_PER_MSEC)
#define ASK_MAX_NS (100 * NSEC_PER_MSEC)

static int by_name(const void *a, const void *b)
{
        const struct coordinator_node *x = a, *y = b;
        int r = memcmp(x->name, y->name, MIN(x->n_name, y->n_name));

        return r ?: (x->n_name > y->n_name) - (x->n_name < y->n_name);
}

static struct coordinator_node *node_new(struct coordinator *c, const char *name, size_t n)
{
        struct coordinator_node *node = calloc(1, sizeof(*node)), **bigger;

        bigger = realloc(c->nodes, (c->n_nodes + 1) * sizeof(struct coordinator_node *));
        if (bigger)
                c->nodes = bigger;
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
        node->number = (uint16_t)MIN(c->n_nodes, (size_t)UINT16_MAX);
        return node;
}

/* Whoever may write to Redis may name any number. What came first is kept, and the rest is not asked. */
static struct coordinator_node *too_many(struct coordinator *c)
{
        if (!c->many_said)
                log_error("more than %d names of nodes are in Redis: others of them are not asked what they "
                          "take, and their records tell them not apart", COORDINATOR_NODES_MAX);
        c->many_said = true;
        c->others.number = UINT16_MAX;
        c->others.slots = 1;
        return &c->others;
}

struct coordinator_node *coordinator_node_get(struct coordinator *c, const char *name, size_t n)
{
        struct coordinator_node key = { .name = (char *)name, .n_name = n }, **found, *node;

        /* A tree: there may be thousands, and each result and each look at the list asks for one. */
        found = tfind(&key, &c->nodes_by_name, by_name);
        if (found)
                return *found;
        if (c->n_nodes >= COORDINATOR_NODES_MAX)
                return too_many(c);
        node = node_new(c, name, n);
        if (!node)
                return NULL;
        if (!tsearch(node, &c->nodes_by_name, by_name)) {
                free(node->name);
                free(node);
                return NULL;
        }
        c->nodes[c->n_nodes++] = node;
        return node;
}

static void free_node(void *p)
{
        struct coordinator_node *node = p;

        free(node->name);
        free(node);
}

void coordinator_nodes_free(struct coordinator *c)
{
        tdestroy(c->nodes_by_name, free_node);
        free(c->nodes);
}

/* That none is there yet is not worth a line: it may be about to start. */
static void no_node(struct coordinator *c)
{
        bool was_one = c->n_nodes > 0;

        if (was_one && c->runner->results.header->condition != PPP_CONDITION_NO_NODE)
                log_error("no node that takes %s is left; waiting for one",
                          workload_name(c->runner->spec.workload));
        coordinator_condition(c, PPP_CONDITION_NO_NODE);
}

static void count(struct coordinator *c)
{
        c->capacity = c->slots = 0;
        for (size_t i = 0; i < c->n_nodes; ++i) {
                if (!c->nodes[i]->alive)
                        continue;
                c->capacity += c->nodes[i]->workers;
                c->slots += c->nodes[i]->slots;
        }
        if (c->full)
                return;
        if (c->slots == 0)
                no_node(c);
        else if (c->runner->results.header->condition == PPP_CONDITION_NO_NODE)
                coordinator_condition(c, PPP_CONDITION_NONE);
}

static bool names(const redisReply *list, const char *word)
{
        size_t n = strlen(word);

        for (const char *at = list->str; at; at = strchr(at, ' ')) {
                at += *at == ' ';
                if (strncmp(at, word, n) == 0 && (at[n] == ' ' || !at[n]))
                        return true;
        }
        return false;
}

static uint32_t number_of(const redisReply *reply, uint32_t max)
{
        uint64_t n;

        return redis_is_string(reply) && parse_u64(reply->str, reply->len, max, &n) >= 0 && n > 0 ?
               (uint32_t)n : 1;
}

struct asked {
        struct coordinator *c;
        struct coordinator_node *node;
        bool last;
};

/* HMGET level workers loops workloads; of a node that has said nothing for long there are none. */
static void on_node(struct redis *redis, redisReply *reply, void *userdata)
{
        struct asked asked = *(struct asked *)userdata;
        struct coordinator_node *node = asked.node;

        free(userdata);
        if (!reply)
                return;
        if (redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&asked.c->link, redis, reply, "ask what a node takes");
        node->alive = redis_is_array(reply, 4) && redis_is_string(reply->element[0]) &&
                      redis_is_string(reply->element[3]) &&
                      names(reply->element[3], workload_name(asked.c->runner->spec.workload));
        if (node->alive) {
                node->is_async = streq(reply->element[0]->str, level_name(LEVEL_ASYNC));
                node->workers = number_of(reply->element[1], SPEC_WORKERS_MAX);
                node->slots = node->is_async ? number_of(reply->element[2], SPEC_LOOPS_MAX) :
                                               node->workers;
        }
        if (asked.last)
                count(asked.c);
}

static void ask_node(struct coordinator *c, struct coordinator_node *node, bool last)
{
        _cleanup_free_ char *key = key_node(c->runner->machines, node->name);
        struct asked *asked = malloc(sizeof(*asked));

        if (!asked)
                return;
        *asked = (struct asked){ c, node, last };
        if (!key || redis_send(&c->link.commands, on_node, asked,
                               "HMGET %s level workers loops workloads", key) < 0)
                free(asked);
}

static void on_nodes(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;
        uint64_t limit = c->runner->machines->heartbeat_ns * 3 / 2 / NSEC_PER_MSEC;
        struct coordinator_node *last = NULL;

        c->nodes_asked = false;
        if (!reply)
                return;
        if (redis_is_error(reply)) {
                /* Something else that has the name of the list does not go away by itself. */
                if (redis_trouble_is_final(redis_trouble_of(reply)) ||
                    redis_trouble_of(reply) == REDIS_TROUBLE_OTHER)
                        redis_link_fail(&c->link, redis, reply, "look for nodes");
                return;
        }
        for (size_t i = 0; i < c->n_nodes; ++i)
                c->nodes[i]->alive = false;
        for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
                const redisReply *name = reply->element[i], *score = reply->element[i + 1];
                struct coordinator_node *node;

                if (!redis_is_string(name) || !redis_is_string(score) ||
                    !machines_text_is_valid(name->str, name->len, MACHINES_NAME_MAX) ||
                    atof(score->str) + (double)limit < (double)c->redis_ms)
                        continue;
                node = coordinator_node_get(c, name->str, name->len);
                if (!node || node == &c->others)
                        continue;
                if (last)
                        ask_node(c, last, false);
                last = node;
        }
        if (last)
                ask_node(c, last, true);
        else
                count(c);
        c->ask_wait_ns = last ? 0 : MIN(MAX(2 * c->ask_wait_ns, ASK_MIN_NS), ASK_MAX_NS);
        c->nodes_ns = now_monotonic() + (last ? c->runner->machines->heartbeat_ns / 4 : c->ask_wait_ns);
}

static void on_time(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;
        uint64_t seconds;

        redis_link_on_kept(redis, reply, &c->link);
        if (reply && redis_is_array(reply, 2) && redis_is_string(reply->element[0]) &&
            parse_u64(reply->element[0]->str, reply->element[0]->len, INT64_MAX / 1000, &seconds) >= 0)
                c->redis_ms = seconds * 1000;
}

void coordinator_ask_nodes(struct coordinator *c)
{
        /* In any case: who is late in answering is not asked more often. */
        c->nodes_ns = now_monotonic() + ASK_MAX_NS;
        if (c->nodes_asked || !c->link.is_up)
                return;
        redis_send(&c->link.commands, on_time, c, "TIME");
        c->nodes_asked = redis_send(&c->link.commands, on_nodes, c, "ZRANGE %s -%d -1 WITHSCORES",
                                    c->key_nodes, COORDINATOR_NODES_MAX) >= 0;
}
