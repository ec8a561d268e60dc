/* The heartbeat of the simulated nodes: they say that they are there, and take over from silent
 * ones. */

#include "tests/scale/nodes.h"

static void on_claimed(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;

        if (!reply || !redis_is_array(reply, 0))
                die("XCLAIM has no answer");
        for (size_t i = 0; i < reply->elements; ++i) {
                node_take(node, reply->element[i]);
                ++node->simulation->n_taken_over;
        }
        node_start_waiting(node);
}

static void on_pending(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;

        if (!reply || (redis_is_error(reply) && redis_trouble_of(reply) != REDIS_TROUBLE_NOGROUP))
                die("XPENDING has no answer");
        for (size_t i = 0; redis_is_array(reply, 0) && i < reply->elements; ++i)
                if (redis_send(redis, on_claimed, node, "XCLAIM %s " MACHINES_GROUP " %s %llu %s",
                               node->simulation->chunks_key, node->machines.name,
                               (unsigned long long)node->simulation->silence_ms,
                               reply->element[i]->element[0]->str) < 0)
                        die("cannot send");
        touch(node);
}

static void on_locked(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;
        unsigned room = node_room(node);

        if (!reply || redis_is_error(reply))
                die("SET has no answer");
        if (reply->type != REDIS_REPLY_NIL && room > 0 &&
            redis_send(redis, on_pending, node, "XPENDING %s " MACHINES_GROUP " IDLE %llu - + %u",
                       node->simulation->chunks_key,
                       (unsigned long long)node->simulation->silence_ms, room) < 0)
                die("cannot send");
        touch(node);
}

static void on_beaten(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;

        expect_no_error(redis, reply, NULL);
        if (!node->beaten && ++node->simulation->n_ready == node->simulation->n) {
                puts("ready");
                fflush(stdout);
        }
        node->beaten = true;
}

static void claim_ours(struct node *node)
{
        char ids[BATCH_MAX][ENTRY_ID_SIZE];
        const char *argv[6 + BATCH_MAX] = { "XCLAIM", node->simulation->chunks_key, MACHINES_GROUP,
                                            node->machines.name, "0" };
        const struct chunk *lists[] = { node->held, node->waiting };
        int n = 0;

        for (unsigned i = 0; i < ARRAY_SIZE(lists); ++i)
                for (const struct chunk *chunk = lists[i]; chunk && n < BATCH_MAX;
                     chunk = chunk->next) {
                        entry_id_format(chunk->id, ids[n]);
                        argv[5 + n] = ids[n];
                        ++n;
                }
        if (n == 0)
                return;
        argv[5 + n] = "JUSTID";
        if (redis_send_argv(&node->commands, expect_no_error, NULL, 6 + n, argv, NULL) < 0)
                die("cannot send");
}

static void beat(struct node *node)
{
        struct simulation *s = node->simulation;
        struct redis *redis = &node->commands;
        _cleanup_free_ char *key = must(key_node(&node->machines, node->machines.name));
        unsigned load = node->n_busy + node_n_waiting(node), room = node_room(node);

        node->beat_ns = now_monotonic() + s->heartbeat_ns / 4;
        COMMAND(redis, "TIME");
        COMMAND(redis, "HGET %s instance", key);
        COMMAND(redis,
                "HSET %s version %s level threads workers %u loops 1 workloads sleep load %u done "
                "%llu failed 0 instance %s",
                key, PPPCTL_VERSION, s->workers, load, (unsigned long long)node->n_done,
                node->machines.name);
        COMMAND(redis, "PEXPIRE %s %llu", key,
                (unsigned long long)(4 * s->heartbeat_ns / NSEC_PER_MSEC));
        COMMAND(redis, "ZADD %s %llu %s", s->nodes_key,
                (unsigned long long)(now_realtime() / NSEC_PER_MSEC), node->machines.name);
        COMMAND(redis, "EXPIRE %s " MACHINES_KEY_SECONDS, s->nodes_key);
        if (load > 0) {
                _cleanup_free_ char *job = must(key_job(&node->machines, node->job));

                COMMAND(redis, "EXISTS %s", job);
                claim_ours(node);
        }
        if (room > 0 && redis_send(redis, on_locked, node, "SET %s %s NX PX %llu", s->look_key,
                                   node->machines.name,
                                   (unsigned long long)(s->heartbeat_ns / 8 / NSEC_PER_MSEC)) < 0)
                die("cannot send");
        if (redis_send(redis, on_beaten, node, "EXPIRE %s " MACHINES_KEY_SECONDS, s->chunks_key) <
            0)
                die("cannot send");
        touch(node);
}

void node_go_up(struct node *node)
{
        node->up = true;
        ++node->simulation->n_up;
        COMMAND(&node->reader, "XGROUP CREATE %s " MACHINES_GROUP " 0 MKSTREAM",
                node->simulation->chunks_key);
        beat(node);
        node_read_more(node);
        touch(node);
}

/* All nodes beat equally often: who is due is the one that beat longest ago. */
void nodes_beat(struct simulation *s)
{
        uint64_t now = now_monotonic();

        for (size_t i = 0; i < s->n; ++i) {
                struct node *node = &s->nodes[s->next_beat];

                if (!node->up || node->beat_ns > now)
                        return;
                beat(node);
                s->next_beat = (s->next_beat + 1) % s->n;
        }
}
