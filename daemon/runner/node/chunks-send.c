/* Results go back in transactions of some chunks each, which take the chunks off their streams. */

#include "daemon/runner/node/chunks.h"

#define BATCH_CHUNKS 64
#define BATCH_BYTES  (1024 * 1024)

struct batch {
        struct chunks *owner;
        struct held *held[BATCH_CHUNKS];
        unsigned n;
        size_t bytes;
        enum redis_trouble trouble;
};

static void refused(struct chunks *chunks, const struct redis *redis, enum redis_trouble trouble)
{
        if (!chunks->streams->full_said && trouble != REDIS_TROUBLE_NONE)
                log_error("%s; the results are kept and sent again until it takes them",
                          redis->why);
        chunks->streams->full_said = true;
        chunks->retry_pause_ns = MIN(MAX(2 * chunks->retry_pause_ns, REDIS_LINK_RETRY_MIN_NS),
                                     REDIS_LINK_RETRY_MAX_NS);
        chunks->retry_ns = now_monotonic() + chunks->retry_pause_ns;
}

/* Chunks whose results are confirmed are freed; the others are sent again. */
static void batch_end(struct batch *batch, bool confirmed)
{
        for (unsigned i = 0; i < batch->n; ++i) {
                struct held *held = batch->held[i];

                if (confirmed)
                        held_free(batch->owner, held);
                else
                        held->state = HELD_FINISHED;
        }
        free(batch);
}

static void on_queued(struct redis *redis, redisReply *reply, void *userdata)
{
        struct batch *batch = userdata;

        if (!reply || !redis_is_error(reply) || batch->trouble != REDIS_TROUBLE_NONE)
                return;
        batch->trouble = redis_note(redis, reply, "send results");
        if (redis_trouble_is_final(batch->trouble))
                redis_link_fail(&batch->owner->streams->link, redis, reply, "send results");
}

static void make_room(struct chunks *chunks, const struct batch *batch);

static void on_exec(struct redis *redis, redisReply *reply, void *userdata)
{
        struct batch *batch = userdata;
        struct chunks *chunks = batch->owner;
        bool confirmed = reply && reply->type == REDIS_REPLY_ARRAY;

        if (confirmed) {
                chunks->streams->full_said = false;
                chunks->retry_ns = chunks->retry_pause_ns = 0;
        } else if (reply && !chunks->streams->link.failed) {
                if (batch->trouble == REDIS_TROUBLE_NONE && redis_is_error(reply))
                        batch->trouble = redis_note(redis, reply, "send results");
                if (batch->trouble == REDIS_TROUBLE_FULL)
                        make_room(chunks, batch);
                refused(chunks, redis, batch->trouble);
        }
        batch_end(batch, confirmed);
}

static int send_result(struct chunks *chunks, struct batch *batch, struct held *held)
{
        _cleanup_free_ char *key = key_results(&chunks->streams->machines, held->job->name);
        size_t size = held->n * sizeof(struct ppp_record);
        _cleanup_free_ char *records = calloc(1, size);
        char chunk[ENTRY_ID_SIZE];

        if (!key || !records)
                return -ENOMEM;
        if (held->number != FEED_NONE)
                records_pack(chunks->feed->chunks[held->number].tasks.records, held->n,
                             held->taken_ns, records);
        entry_id_format(held->id, chunk);
        return redis_send(
                &chunks->streams->link.commands, on_queued, batch,
                "XADD %s NOMKSTREAM * chunk %s first %llu n %u node %s taken %llu records %b", key,
                chunk, (unsigned long long)held->first, held->n, chunks->streams->machines.name,
                (unsigned long long)held->taken_real_ns, records, size);
}

/* XACK and XDEL of all chunks of one stream. */
static int send_removal(struct chunks *chunks, struct batch *batch, const struct stream *stream,
                        redis_reply_fn *fn)
{
        char ids[BATCH_CHUNKS][ENTRY_ID_SIZE];
        const char *argv[3 + BATCH_CHUNKS];
        int n = 0, r;

        for (unsigned i = 0; i < batch->n; ++i)
                if (batch->held[i]->job->stream == stream) {
                        entry_id_format(batch->held[i]->id, ids[n]);
                        argv[3 + n] = ids[n];
                        ++n;
                }
        if (n == 0)
                return 0;
        argv[0] = "XACK";
        argv[1] = stream->key;
        argv[2] = MACHINES_GROUP;
        r = redis_send_argv(&chunks->streams->link.commands, fn, batch, 3 + n, argv, NULL);
        if (r < 0)
                return r;
        argv[1] = "XDEL";
        argv[2] = stream->key;
        return redis_send_argv(&chunks->streams->link.commands, fn, batch, 2 + n, argv + 1, NULL);
}

/*
 * A Redis that is full of chunks would take no result, and only results empty it: so the chunks are
 * taken off before their results are in. If we die now, the coordinator misses them and sends them
 * again.
 */
static void make_room(struct chunks *chunks, const struct batch *batch)
{
        struct batch copy = *batch;

        for (unsigned i = 0; i < chunks->streams->n; ++i)
                (void)send_removal(chunks, &copy, &chunks->streams->list[i], NULL);
}

static int batch_send(struct chunks *chunks, struct batch *batch)
{
        struct redis *redis = &chunks->streams->link.commands;
        int r = redis_send(redis, on_queued, batch, "MULTI");

        /* Nobody wants results of a job that is gone. */
        for (unsigned i = 0; i < batch->n && r >= 0; ++i)
                if (!batch->held[i]->job->gone)
                        r = send_result(chunks, batch, batch->held[i]);
        for (unsigned i = 0; i < chunks->streams->n && r >= 0; ++i)
                r = send_removal(chunks, batch, &chunks->streams->list[i], on_queued);
        if (r >= 0)
                r = redis_send(redis, on_exec, batch, "EXEC");
        return r;
}

static bool batch_takes(const struct batch *batch, const struct held *held)
{
        return batch->n < BATCH_CHUNKS &&
               (batch->n == 0 || batch->bytes + held_size(held) <= BATCH_BYTES);
}

void chunks_send(struct chunks *chunks)
{
        struct batch *batch = NULL;

        if (!chunks->streams->link.is_up || now_monotonic() < chunks->retry_ns)
                return;
        chunks->retry_ns = 0;
        for (struct held *held = chunks->first; held; held = held->next) {
                if (held->state != HELD_FINISHED)
                        continue;
                if (batch && !batch_takes(batch, held)) {
                        if (batch_send(chunks, batch) < 0)
                                goto broken;
                        batch = NULL;
                }
                if (!batch && !(batch = calloc(1, sizeof(*batch))))
                        return;
                batch->owner = chunks;
                batch->held[batch->n++] = held;
                batch->bytes += held_size(held);
                held->state = HELD_SENT;
        }
        if (batch && batch_send(chunks, batch) < 0)
                goto broken;
        return;
broken:
        /*
         * Half a transaction is in the pipe, and only a new connection ends that. The replies would
         * go to @batch, so it stays until they were cancelled.
         */
        redis_link_reset(&chunks->streams->link, "cannot send results: out of memory");
}

/* Every outstanding command has been answered with NULL: the results that were sent may be in or
 * not. */
void chunks_unsend(struct chunks *chunks)
{
        for (struct held *held = chunks->first; held; held = held->next)
                if (held->state == HELD_SENT)
                        held->state = HELD_FINISHED;
        chunks->reading = false;
}
