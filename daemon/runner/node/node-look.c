/*
 * Looking for chunks of nodes that fell silent, to take them over: XPENDING with IDLE, then XCLAIM, which
 * looks again at how long a chunk was not spoken for, so of two that found it one gets it.
 *
 * Not XAUTOCLAIM: that stops after ten entries for each it may return, so what long tasks of live nodes
 * stand before would not be found, and it looks up each entry in the stream, which costs a hundred times
 * as much as its place in the list of what is pending.
 *
 * The list is as long as there are nodes, and each of them looks: so as not to cost the square of that, one
 * looks for all. Who does is who sets the key look:<workload>, which lasts an eighth of the heartbeat;
 * who finds as much as it can take gives it up at once, for there may be more.
 *
 * A node looks when it has room, before it reads new chunks: who waited longest comes first.
 */

#include <stdio.h>

#include "daemon/runner/node/node.h"

struct look {
        struct node *node;
        enum workload_id workload;
        unsigned room;
};

static void look_end(struct look *look)
{
        --look->node->n_looks;
        free(look);
}

static void on_claimed(struct redis *redis, redisReply *reply, void *userdata)
{
        struct look *look = userdata;
        struct node *node = look->node;

        if (reply && redis_is_array(reply, 0))
                chunks_take_entries(node, look->workload, reply, true);
        else if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&node->link, redis, reply, "take over chunks of silent nodes");
        look_end(look);
}

static void leave_to_others(struct look *look)
{
        _cleanup_free_ char *key = key_look(&look->node->machines, look->workload);

        if (key)
                redis_send(&look->node->link.commands, NULL, NULL, "DEL %s", key);
        look->node->look_due = true;
}

/* Each entry is [id, consumer, idle, deliveries]. */
static int claim(struct look *look, const redisReply *entries)
{
        struct node *node = look->node;
        _cleanup_free_ char *key = key_chunks(&node->machines, look->workload);
        _cleanup_free_ const char **argv = calloc(5 + entries->elements, sizeof(*argv));
        char idle[24];
        int argc = 0;

        if (!key || !argv)
                return -ENOMEM;
        snprintf(idle, sizeof(idle), "%llu", (unsigned long long)node_silence_ms(node));
        argv[argc++] = "XCLAIM";
        argv[argc++] = key;
        argv[argc++] = MACHINES_GROUP;
        argv[argc++] = node->machines.name;
        argv[argc++] = idle;
        for (size_t i = 0; i < entries->elements; ++i)
                if (redis_is_array(entries->element[i], 1) &&
                    redis_is_string(entries->element[i]->element[0]))
                        argv[argc++] = entries->element[i]->element[0]->str;
        return argc == 5 ? -ENOENT :
                           redis_send_argv(&node->link.commands, on_claimed, look, argc, argv, NULL);
}

static void on_pending(struct redis *redis, redisReply *reply, void *userdata)
{
        struct look *look = userdata;

        if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&look->node->link, redis, reply, "look for chunks of silent nodes");
        if (!reply || !redis_is_array(reply, 1)) {
                look_end(look);
                return;
        }
        if (reply->elements >= look->room)
                leave_to_others(look);
        if (claim(look, reply) < 0)
                look_end(look);
}

/* A Redis that is full takes no key, and is looked through all the same. */
static void on_locked(struct redis *redis, redisReply *reply, void *userdata)
{
        struct look *look = userdata;
        struct node *node = look->node;
        _cleanup_free_ char *key = key_chunks(&node->machines, look->workload);

        if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&node->link, redis, reply, "look for chunks of silent nodes");
        if (!reply || reply->type == REDIS_REPLY_NIL || node->link.failed || !key ||
            redis_send(redis, on_pending, look, "XPENDING %s " MACHINES_GROUP " IDLE %llu - + %u", key,
                       (unsigned long long)node_silence_ms(node), look->room) < 0)
                look_end(look);
}

static void look_at(struct node *node, enum workload_id workload, unsigned room)
{
        _cleanup_free_ char *key = key_look(&node->machines, workload);
        struct look *look = malloc(sizeof(*look));

        if (!key || !look) {
                free(look);
                return;
        }
        *look = (struct look){ node, workload, room };
        ++node->n_looks;
        if (redis_send(&node->link.commands, on_locked, look, "SET %s %s NX PX %llu", key,
                       node->machines.name, (unsigned long long)
                       MAX(node->machines.heartbeat_ns / 8 / NSEC_PER_MSEC, UINT64_C(1))) < 0)
                look_end(look);
}

bool node_look_first(struct node *node)
{
        unsigned room;

        if (node->n_looks > 0)
                return true;
        if (!node->look_due || !node->link.is_up || !chunks_have_room(node, &room))
                return false;
        node->look_due = false;
        for (unsigned i = 0; i < _WORKLOAD_N; ++i)
                if (node->workloads >> i & 1)
                        look_at(node, (enum workload_id)i, room);
        return node->n_looks > 0;
}
