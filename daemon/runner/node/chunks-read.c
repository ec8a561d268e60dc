/*
 * How much a node reads: as much as its workers can begin, and nothing that other nodes could run
 * sooner.
 */

#include <inttypes.h>
#include <stdio.h>

#include "daemon/runner/node/chunks.h"

#define LEAD_NS         (20 * NSEC_PER_MSEC) /* what is read ahead */
#define BYTES_MAX       (64 * 1024 * 1024)   /* of inputs and records in hand */
#define READ_CHUNKS_MAX 1024                 /* read at once */
#define READ_BYTES_MAX                                                             \
        (16 * 1024 * 1024) /* of inputs, read at once, if chunks are like the last \
                            */

static void take_streams(struct chunks *chunks, const redisReply *reply)
{
        size_t n = 0;

        for (size_t i = 0; i < reply->elements; ++i) {
                const redisReply *one = reply->element[i];
                const struct stream *stream =
                        redis_is_array(one, 2) ? streams_find(chunks->streams, one->element[0])
                                               : NULL;

                if (!stream)
                        continue;
                n += one->element[1]->elements;
                chunks_take_entries(chunks, stream, one->element[1], false);
        }
        /*
         * A quick node asks for more at once, but the first chunks are for any node that is free.
         */
        chunks->burst = n >= chunks->burst ? MIN(2 * chunks->burst, (unsigned)READ_CHUNKS_MAX)
                                           : chunks->burst;
}

static void on_read(struct redis *redis, redisReply *reply, void *userdata)
{
        struct chunks *chunks = userdata;
        enum redis_trouble trouble;

        chunks->reading = false;
        if (!reply)
                return;
        if (reply->type == REDIS_REPLY_ARRAY) {
                take_streams(chunks, reply);
                return;
        }
        chunks->burst = 1;
        trouble = redis_trouble_of(reply);
        if (trouble == REDIS_TROUBLE_NOGROUP && now_monotonic() < chunks->streams->groups_ns)
                return;
        if (trouble == REDIS_TROUBLE_NOGROUP)
                streams_make_groups(chunks->streams);
        else if (trouble != REDIS_TROUBLE_NONE && redis_trouble_is_final(trouble))
                redis_link_fail(&chunks->streams->link, redis, reply, "read chunks");
        else if (trouble != REDIS_TROUBLE_NONE && trouble != REDIS_TROUBLE_FULL) {
                redis_note(redis, reply, "read chunks");
                redis_link_reset(&chunks->streams->link, redis->why);
        }
}

static void measure_rate(struct chunks *chunks)
{
        uint64_t now = now_monotonic(), took = now - chunks->rate_ns;
        double rate;

        if (took < 50 * NSEC_PER_MSEC)
                return;
        rate = (double)chunks->rate_n * 1e9 / (double)took;
        chunks->chunks_per_second += (rate - chunks->chunks_per_second) / 2;
        chunks->rate_ns = now;
        chunks->rate_n = 0;
}

/*
 * The room is for chunks that idle workers could begin at once, if chunks are as large as the last
 * one was, and for a few ahead: those that are run in the time that reading takes. Where a chunk
 * takes seconds there are none ahead, since another node may be free.
 */
bool chunks_have_room(struct chunks *chunks, unsigned *ret)
{
        uint64_t unclaimed = 0, running = 0, free_workers;
        unsigned n_chunks = 0, lead, room;
        unsigned workers = chunks->spec->workers;

        measure_rate(chunks);
        if (chunks->bytes >= BYTES_MAX || chunks->n >= FEED_CHUNKS / 2 || chunks->closed ||
            chunks->yields)
                return false;
        for (const struct held *held = chunks->first; held; held = held->next) {
                uint32_t left = held->n;

                if (held->state == HELD_FED) {
                        uint32_t open = __atomic_load_n(&chunks->feed->chunks[held->number].n_left,
                                                        __ATOMIC_ACQUIRE);

                        /*
                         * This is read afterwards: chunks that are claimed and end in between must
                         * not make it negative.
                         */
                        left = feed_unclaimed(chunks->feed, held->number);
                        running += open - left;
                } else if (held->state != HELD_READ) {
                        continue;
                }
                unclaimed += left;
                n_chunks += left > 0;
        }
        free_workers = workers - MIN(running, (uint64_t)workers);
        lead = (unsigned)(chunks->chunks_per_second * (double)LEAD_NS / 1e9 + 0.9);
        room = lead > n_chunks ? lead - n_chunks : 0;
        if (free_workers > unclaimed)
                room += (unsigned)(free_workers - unclaimed - 1) / MAX(chunks->last_n, 1U) + 1;
        *ret = MIN(MIN(room, chunks->burst), (unsigned)READ_CHUNKS_MAX);
        *ret = (unsigned)MIN(*ret, READ_BYTES_MAX / MAX(chunks->last_size, (size_t)1) + 1);
        return room > 0;
}

void chunks_read(struct chunks *chunks)
{
        const struct machines *machines = &chunks->streams->machines;
        uint64_t block_ms =
                MIN(machines->heartbeat_ns / 4 / NSEC_PER_MSEC, (uint64_t)REDIS_LINK_BLOCK_MS);
        char count[16], block[24];
        const char *argv[9 + 2 * _WORKLOAD_N] = {
                "XREADGROUP", "GROUP", MACHINES_GROUP, machines->name, "COUNT",
                count,        "BLOCK", block,          "STREAMS",
        };
        unsigned room, n = 9;

        if (chunks->reading || !chunks->streams->link.is_up ||
            now_monotonic() < chunks->streams->groups_ns || !chunks_have_room(chunks, &room))
                return;
        snprintf(count, sizeof(count), "%u", room);
        snprintf(block, sizeof(block), "%" PRIu64, MAX(block_ms, UINT64_C(1)));
        for (unsigned i = 0; i < chunks->streams->n; ++i)
                argv[n++] = chunks->streams->list[i].key;
        for (unsigned i = 0; i < chunks->streams->n; ++i)
                argv[n++] = ">";
        chunks->reading = redis_send_argv(&chunks->streams->link.reader, on_read, chunks, (int)n,
                                          argv, NULL) >= 0;
}
