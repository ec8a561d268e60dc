#include "daemon/runner/node/beat.h"

#define CLAIM_IDS 128

static void on_heard(struct redis *redis, redisReply *reply, void *userdata)
{
        struct beat *beat = userdata;

        redis_link_on_kept(redis, reply, &beat->streams->link);
        if (reply && !redis_is_error(reply))
                beat->heard_ns = now_monotonic();
}

/* XCLAIM to ourselves resets the idle time of the chunks that we hold. */
static void claim_ours(struct beat *beat, const struct stream *stream)
{
        struct redis_link *link = &beat->streams->link;
        char ids[CLAIM_IDS][ENTRY_ID_SIZE];
        const char *argv[5 + CLAIM_IDS + 1] = {
                "XCLAIM", stream->key, MACHINES_GROUP, beat->streams->machines.name, "0",
        };
        int n = 0;

        for (const struct held *held = beat->chunks->first; held; held = held->next) {
                if (held->job->stream == stream && !held->lost) {
                        entry_id_format(held->id, ids[n]);
                        argv[5 + n] = ids[n];
                        ++n;
                }
                if (n == 0 || (n < CLAIM_IDS && held->next))
                        continue;
                argv[5 + n] = "JUSTID";
                redis_send_argv(&link->commands, redis_link_on_kept, link, 5 + n + 1, argv, NULL);
                n = 0;
        }
}

/*
 * Chunks that we held while nobody heard us belong to another node by now: we finish them, but do
 * not claim them any more.
 */
static void find_out_lost(struct beat *beat)
{
        if (!beat->heard_ns ||
            now_monotonic() - beat->heard_ns <= streams_silence_ms(beat->streams) * NSEC_PER_MSEC)
                return;
        for (struct held *held = beat->chunks->first; held; held = held->next)
                held->lost = true;
}

bool beat_send(struct beat *beat)
{
        struct streams *streams = beat->streams;

        beat->due_ns = now_monotonic() + streams->machines.heartbeat_ns / 4;
        if (!streams->link.is_up)
                return false;
        redis_send(&streams->link.commands, on_heard, beat, "TIME");
        find_out_lost(beat);
        chunks_find_silent(beat->chunks);
        /* The chunks that we hold stay ours, also while we are leaving. */
        for (unsigned i = 0; i < streams->n; ++i) {
                claim_ours(beat, &streams->list[i]);
                redis_send(&streams->link.commands, redis_link_on_kept, &streams->link,
                           "EXPIRE %s " MACHINES_KEY_SECONDS, streams->list[i].key);
        }
        return true;
}
