#include "daemon/runner/node/streams.h"

#include "daemon/runner/runner.h"

int streams_init(struct streams *streams, const struct machines *machines, char *owner,
                 unsigned workloads, const struct redis_link_ops *ops)
{
        *streams = (struct streams){ .machines = *machines };
        streams->machines.owner = owner;
        redis_link_init(&streams->link, &streams->machines, ops);
        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                struct stream *stream = &streams->list[streams->n];

                if (!(workloads >> i & 1))
                        continue;
                ++streams->n;
                stream->workload = (enum workload_id)i;
                stream->key = key_chunks(&streams->machines, stream->workload);
                stream->key_look = key_look(&streams->machines, stream->workload);
                if (!stream->key || !stream->key_look)
                        return -ENOMEM;
        }
        return 0;
}

void streams_deinit(struct streams *streams)
{
        redis_link_deinit(&streams->link);
        for (unsigned i = 0; i < streams->n; ++i) {
                free(streams->list[i].key);
                free(streams->list[i].key_look);
        }
}

const struct stream *streams_find(const struct streams *streams, const redisReply *key)
{
        for (unsigned i = 0; i < streams->n && redis_is_string(key); ++i)
                if (strlen(streams->list[i].key) == key->len &&
                    memcmp(streams->list[i].key, key->str, key->len) == 0)
                        return &streams->list[i];
        return NULL;
}

/* Redis answers with an error also when the group exists already. */
static void on_group(struct redis *redis, redisReply *reply, void *userdata)
{
        struct streams *streams = userdata;
        enum redis_trouble trouble = reply ? redis_trouble_of(reply) : REDIS_TROUBLE_NONE;

        if (redis_trouble_is_final(trouble))
                redis_link_fail(&streams->link, redis, reply, "make the group of nodes");
        if (trouble != REDIS_TROUBLE_FULL)
                return;
        redis_note(redis, reply, "make the group of nodes");
        if (!streams->full_said)
                log_error("%s; trying again until it takes it", redis->why);
        streams->full_said = true;
        streams->groups_ns = now_monotonic() + REDIS_LINK_RETRY_MAX_NS;
}

void streams_make_groups(struct streams *streams)
{
        struct redis *redis = &streams->link.reader;

        for (unsigned i = 0; i < streams->n; ++i) {
                const char *key = streams->list[i].key;

                /*
                 * The group begins at the first entry: chunks that were sent before there was a
                 * node are for us. It is made on the reading connection, so that it exists when
                 * that reads.
                 */
                redis_send(redis, on_group, streams,
                           "XGROUP CREATE %s " MACHINES_GROUP " 0 MKSTREAM", key);
                redis_send(redis, redis_link_on_kept, &streams->link,
                           "EXPIRE %s " MACHINES_KEY_SECONDS, key);
        }
}
