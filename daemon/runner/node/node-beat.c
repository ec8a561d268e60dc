/* The heartbeat: says what we hold. */

#include <stdio.h>

#include "daemon/runner/node/node.h"

#define CLAIM_IDS 128

/* Redis answers with an error, too, when it is there already. */
static void on_group(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;
        enum redis_trouble trouble = reply ? redis_trouble_of(reply) : REDIS_TROUBLE_NONE;

        if (redis_trouble_is_final(trouble))
                redis_link_fail(&node->link, redis, reply, "make the group of nodes");
        if (trouble != REDIS_TROUBLE_FULL)
                return;
        redis_note(redis, reply, "make the group of nodes");
        if (!node->full_said)
                log_error("%s; trying again until it takes it", redis->why);
        node->full_said = true;
        node->groups_ns = now_monotonic() + REDIS_LINK_RETRY_MAX_NS;
}

void node_groups_make(struct node *node)
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
                redis_send(&node->link.reader, on_group, node,
                           "XGROUP CREATE %s " MACHINES_GROUP " 0 MKSTREAM", key);
                redis_send(&node->link.reader, redis_link_on_kept, &node->link,
                           "EXPIRE %s " MACHINES_KEY_SECONDS, key);
        }
}

static void on_heard(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;

        redis_link_on_kept(redis, reply, &node->link);
        if (reply && !redis_is_error(reply))
                node->beaten_ns = now_monotonic();
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
                redis_send_argv(&node->link.commands, redis_link_on_kept, &node->link, 5 + n + 1, argv,
                                NULL);
                n = 0;
        }
        if (n > 0) {
                argv[5 + n] = "JUSTID";
                redis_send_argv(&node->link.commands, redis_link_on_kept, &node->link, 5 + n + 1, argv,
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
                redis_send(&node->link.commands, redis_link_on_kept, &node->link,
                           "EXPIRE %s " MACHINES_KEY_SECONDS, key);
        }
}

void node_beat(struct node *node)
{
        node->beat_ns = now_monotonic() + node->machines.heartbeat_ns / 4;
        __atomic_store_n(&node->share->load, load(node), __ATOMIC_RELAXED);
        if (!node->link.is_up)
                return;
        redis_send(&node->link.commands, on_heard, node, "TIME");
        find_out_lost(node);
        chunks_find_silent(node);
        keep_ours(node);
        if (!node->stopping)
                node->look_due = true;
}
