/* The coordinator's view of the nodes: which there are, and how much they take at once. */

#include "daemon/runner/machines/coordinator.h"

/* Used while there is no node, as when all were started for this job. */
#define ASK_MIN_NS (5 * NSEC_PER_MSEC)
#define ASK_MAX_NS (100 * NSEC_PER_MSEC)

/* If there is no node yet, that is not worth a line: one may be about to start. */
static void no_node(struct coordinator *c)
{
        bool was_one = c->roster.n > 0;

        if (was_one && c->runner->results.header->condition != PPP_CONDITION_NO_NODE)
                log_error("no node that takes %s is left; waiting for one",
                          workload_name(c->runner->spec.workload));
        coordinator_condition(c, PPP_CONDITION_NO_NODE);
}

static void count(struct coordinator *c)
{
        roster_count(&c->roster);
        if (c->pace.full)
                return;
        if (c->roster.slots == 0)
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

        return redis_is_string(reply) && parse_u64(reply->str, reply->len, max, &n) >= 0 && n > 0
                       ? (uint32_t)n
                       : 1;
}

struct asked {
        struct coordinator *c;
        struct roster_node *node;
        bool last;
};

/* HMGET level workers loops workloads; a node that has been silent for long has none. */
static void on_node(struct redis *redis, redisReply *reply, void *userdata)
{
        struct asked asked = *(struct asked *)userdata;
        struct roster_node *node = asked.node;

        free(userdata);
        if (!reply)
                return;
        if (redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&asked.c->link, redis, reply, "ask what a node takes");
        node->alive = redis_is_array(reply, 4) && redis_is_string(reply->element[0]) &&
                      redis_is_string(reply->element[3]) &&
                      names(reply->element[3], workload_name(asked.c->runner->spec.workload));
        if (node->alive) {
                node->has_loops = level_named_has(reply->element[0]->str, LEVEL_LOOPS);
                node->workers = number_of(reply->element[1], SPEC_WORKERS_MAX);
                node->slots = node->has_loops ? number_of(reply->element[2], SPEC_LOOPS_MAX)
                                              : node->workers;
        }
        if (asked.last)
                count(asked.c);
}

static void ask_node(struct coordinator *c, struct roster_node *node, bool last)
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
        struct roster_node *last = NULL;

        c->roster.asked = false;
        if (!reply)
                return;
        if (redis_is_error(reply)) {
                /* If something else has the name of the list, it does not go away by itself. */
                if (redis_trouble_is_final(redis_trouble_of(reply)) ||
                    redis_trouble_of(reply) == REDIS_TROUBLE_OTHER)
                        redis_link_fail(&c->link, redis, reply, "look for nodes");
                return;
        }
        roster_call(&c->roster);
        for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
                const redisReply *name = reply->element[i], *score = reply->element[i + 1];
                struct roster_node *node;

                if (!redis_is_string(name) || !redis_is_string(score) ||
                    !machines_text_is_valid(name->str, name->len, MACHINES_NAME_MAX) ||
                    atof(score->str) + (double)limit < (double)c->roster.redis_ms)
                        continue;
                node = roster_get(&c->roster, name->str, name->len);
                if (!node || node == &c->roster.others)
                        continue;
                if (last)
                        ask_node(c, last, false);
                last = node;
        }
        if (last)
                ask_node(c, last, true);
        else
                count(c);
        c->roster.ask_wait_ns =
                last ? 0 : MIN(MAX(2 * c->roster.ask_wait_ns, ASK_MIN_NS), ASK_MAX_NS);
        c->roster.ask_ns = now_monotonic() +
                           (last ? c->runner->machines->heartbeat_ns / 4 : c->roster.ask_wait_ns);
}

static void on_time(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;
        uint64_t seconds;

        redis_link_on_kept(redis, reply, &c->link);
        if (reply && redis_is_array(reply, 2) && redis_is_string(reply->element[0]) &&
            parse_u64(reply->element[0]->str, reply->element[0]->len, INT64_MAX / 1000, &seconds) >=
                    0)
                c->roster.redis_ms = seconds * 1000;
}

void coordinator_ask_nodes(struct coordinator *c)
{
        /*
         * This is set even when nothing is sent now: a Redis that is slow to answer is not asked
         * more often.
         */
        c->roster.ask_ns = now_monotonic() + ASK_MAX_NS;
        if (c->roster.asked || !c->link.is_up)
                return;
        redis_send(&c->link.commands, on_time, c, "TIME");
        c->roster.asked = redis_send(&c->link.commands, on_nodes, c, "ZRANGE %s -%d -1 WITHSCORES",
                                     c->key_nodes, ROSTER_NODES_MAX) >= 0;
}
