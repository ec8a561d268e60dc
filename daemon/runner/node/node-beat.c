/* The heartbeat: says that we are there and what we hold. */

#include <stdio.h>

#include "daemon/runner/node/node.h"

#define CLAIM_IDS 128

/* Redis answers with an error, too, when it is there already. */
static void on_group(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;
        enum redis_trouble trouble = reply ? redis_trouble_of(reply) : REDIS_TROUBLE_NONE;

        if (redis_trouble_is_final(trouble))
                engine_fail(&node->engine, redis, reply, "make the group of nodes");
        if (trouble != REDIS_TROUBLE_FULL)
                return;
        redis_note(redis, reply, "make the group of nodes");
        if (!node->full_said)
                log_error("%s; trying again until it takes it", redis->why);
        node->full_said = true;
        node->groups_ns = now_monotonic() + ENGINE_RETRY_MAX_NS;
}

void groups_make(struct node *node)
{
        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                _cleanup_free_ char *key = NULL;

                if (!(node->workloads >> i & 1))
                        continue;
                key = key_chunks(&node->machines, (enum workload_id)i);
                if (!key)
                        continue;
                /* From the beginning: what was sent before there was a node is for us. On the reading
                 * connection, so that it is there when that reads. */
                redis_send(&node->engine.reader, on_group, node,
                           "XGROUP CREATE %s " MACHINES_GROUP " 0 MKSTREAM", key);
                redis_send(&node->engine.reader, engine_on_kept, &node->engine,
                           "EXPIRE %s " MACHINES_KEY_SECONDS, key);
        }
}

static void on_time(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;
        uint64_t seconds, us;

        engine_on_kept(redis, reply, &node->engine);
        if (!reply || !redis_is_array(reply, 2) || !redis_is_string(reply->element[0]) ||
            !redis_is_string(reply->element[1]) ||
            parse_u64(reply->element[0]->str, reply->element[0]->len, INT64_MAX / 1000, &seconds) < 0 ||
            parse_u64(reply->element[1]->str, reply->element[1]->len, 999999, &us) < 0)
                return;
        node->clock_ms = (int64_t)(seconds * 1000 + us / 1000) -
                         (int64_t)(now_monotonic() / NSEC_PER_MSEC);
        if (!node->clock_known)
                node->beat_ns = 0;
        node->clock_known = true;
        node->beaten_ns = now_monotonic();
}

/* The place to find out that another node has our name. */
static void on_instance(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;

        if (!reply)
                return;
        if (redis_is_error(reply)) {
                if (redis_trouble_is_final(redis_trouble_of(reply)))
                        engine_fail(&node->engine, redis, reply, "tell of this node");
                return;
        }
        if (redis_is_string(reply) && node->told && !node->twin_said &&
            (reply->len != strlen(node->instance) ||
             memcmp(reply->str, node->instance, reply->len) != 0)) {
                node->twin_said = true;
                log_error("another node is named \"%s\" too; give each a name of its own (name = in "
                          "pppctl.conf(5), section [machines])", node->machines.name);
        }
        node->told = true;
}

static char *workloads_text(const struct node *node)
{
        char *text = strdup("");

        for (unsigned i = 0; i < _WORKLOAD_N && text; ++i) {
                char *longer;

                if (!(node->workloads >> i & 1))
                        continue;
                if (asprintf(&longer, "%s%s%s", text, *text ? " " : "",
                             workload_name((enum workload_id)i)) < 0)
                        longer = NULL;
                free(text);
                text = longer;
        }
        return text;
}

static uint64_t load(const struct node *node)
{
        uint64_t n = 0;

        for (const struct held *held = node->held_first; held; held = held->next)
                if (held->state == HELD_FED)
                        n += __atomic_load_n(&node->feed->chunks[held->number].n_left,
                                             __ATOMIC_RELAXED);
                else if (held->state == HELD_READ)
                        n += held->n;
        return n;
}

static void tell_of_us(struct node *node)
{
        const struct spec *spec = &node->runner->spec;
        const struct ppp_results_header *header = &node->feed->header;
        _cleanup_free_ char *workloads = workloads_text(node), *nodes = key_nodes(&node->machines);
        _cleanup_free_ char *key = key_node(&node->machines, node->machines.name);
        int64_t now_ms = (int64_t)(now_monotonic() / NSEC_PER_MSEC) + node->clock_ms;
        struct redis *redis = &node->engine.commands;

        if (!workloads || !nodes || !key)
                return;
        redis_send(redis, on_instance, node, "HGET %s instance", key);
        redis_send(redis, engine_on_kept, &node->engine,
                   "HSET %s version %s level %s workers %u loops %u workloads %s load %llu done %llu "
                   "failed %llu instance %s", key, PPPCTL_VERSION, level_name(spec->level),
                   spec->workers, MAX(spec->loops, 1U), workloads, (unsigned long long)load(node),
                   (unsigned long long)__atomic_load_n(&header->n_done, __ATOMIC_RELAXED),
                   (unsigned long long)__atomic_load_n(&header->n_failed, __ATOMIC_RELAXED),
                   node->instance);
        redis_send(redis, engine_on_kept, &node->engine, "PEXPIRE %s %llu", key,
                   (unsigned long long)(4 * node->machines.heartbeat_ns / NSEC_PER_MSEC));
        redis_send(redis, engine_on_kept, &node->engine, "ZADD %s %lld %s", nodes, (long long)now_ms,
                   node->machines.name);
        /* Nodes whose names are never seen again. */
        redis_send(redis, engine_on_kept, &node->engine, "ZREMRANGEBYSCORE %s -inf (%lld", nodes,
                   (long long)(now_ms - MACHINES_KEY_MS));
        redis_send(redis, engine_on_kept, &node->engine, "EXPIRE %s " MACHINES_KEY_SECONDS, nodes);
}

/* XCLAIM to ourselves sets the idle time of what we hold to nothing. */
static void claim_ours(struct node *node, enum workload_id workload, const char *key)
{
        char ids[CLAIM_IDS][ENTRY_ID_SIZE];
        const char *argv[5 + CLAIM_IDS + 1] = {
                "XCLAIM", key, MACHINES_GROUP, node->machines.name, "0",
        };
        int n = 0;

        for (const struct held *held = node->held_first; held; held = held->next) {
                if (held->job->workload != workload || held->lost)
                        continue;
                entry_id_format(held->id, ids[n]);
                argv[5 + n] = ids[n];
                if (++n < CLAIM_IDS && held->next)
                        continue;
                argv[5 + n] = "JUSTID";
                redis_send_argv(&node->engine.commands, engine_on_kept, &node->engine, 5 + n + 1, argv,
                                NULL);
                n = 0;
        }
        if (n > 0) {
                argv[5 + n] = "JUSTID";
                redis_send_argv(&node->engine.commands, engine_on_kept, &node->engine, 5 + n + 1, argv,
                                NULL);
        }
}

/* What we held while nobody heard us is another's by now: we end it, and claim it no more. */
static void find_out_lost(struct node *node)
{
        if (!node->beaten_ns || now_monotonic() - node->beaten_ns <= node_silence_ms(node) * NSEC_PER_MSEC)
                return;
        for (struct held *held = node->held_first; held; held = held->next)
                held->lost = true;
}

/* What we hold stays ours, also while we are leaving. */
static void keep_ours(struct node *node)
{
        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                _cleanup_free_ char *key = NULL;

                if (!(node->workloads >> i & 1))
                        continue;
                key = key_chunks(&node->machines, (enum workload_id)i);
                if (!key)
                        continue;
                claim_ours(node, (enum workload_id)i, key);
                redis_send(&node->engine.commands, engine_on_kept, &node->engine,
                           "EXPIRE %s " MACHINES_KEY_SECONDS, key);
        }
}

void beat(struct node *node)
{
        node->beat_ns = now_monotonic() + node->machines.heartbeat_ns / 4;
        if (!node->engine.is_up)
                return;
        redis_send(&node->engine.commands, on_time, node, "TIME");
        if (!node->clock_known)
                return;
        find_out_lost(node);
        chunks_find_silent(node);
        keep_ours(node);
        if (node->stopping)
                return;
        tell_of_us(node);
        node->look_due = true;
}

void beat_say_goodbye(struct node *node)
{
        _cleanup_free_ char *nodes = key_nodes(&node->machines);
        _cleanup_free_ char *key = key_node(&node->machines, node->machines.name);

        if (!node->engine.is_up || !nodes || !key)
                return;
        redis_send(&node->engine.commands, NULL, NULL, "ZREM %s %s", nodes, node->machines.name);
        redis_send(&node->engine.commands, NULL, NULL, "DEL %s", key);
}
