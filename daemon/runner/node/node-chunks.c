/* The way of a chunk through a node: read, fed, finished, sent, let go. */

#include <stdio.h>

#include "daemon/runner/node/node.h"

/* Chunks of one transaction. */
#define BATCH_CHUNKS 64
#define BATCH_BYTES  (1024 * 1024)

static size_t held_size(const struct held *held)
{
        return held->size + held->n * sizeof(struct ppp_record);
}

static void held_link(struct node *node, struct held *held)
{
        held->previous = node->held_last;
        held->next = NULL;
        *(held->previous ? &held->previous->next : &node->held_first) = held;
        node->held_last = held;
        ++node->n_held;
        node->held_bytes += held_size(held);
}

static void held_free(struct node *node, struct held *held)
{
        *(held->previous ? &held->previous->next : &node->held_first) = held->next;
        *(held->next ? &held->next->previous : &node->held_last) = held->previous;
        --node->n_held;
        node->held_bytes -= held_size(held);
        if (held->number != FEED_NONE) {
                node->by_number[held->number] = NULL;
                /* One that ended without a word may still say so: its place is not used again. */
                if (!held->ended_ns)
                        feed_release(node->feed, held->number);
        }
        node_job_unref(held->job);
        free(held->text);
        free(held);
}

static bool is_held(const struct node *node, enum workload_id workload, struct entry_id id)
{
        for (const struct held *held = node->held_first; held; held = held->next)
                if (held->job->workload == workload && entry_id_equal(held->id, id))
                        return true;
        return false;
}

/* Takes an entry off the stream that nobody can do anything with. */
static void discard(struct node *node, enum workload_id workload, struct entry_id id)
{
        _cleanup_free_ char *key = key_chunks(&node->machines, workload);
        char text[ENTRY_ID_SIZE];

        if (!key)
                return;
        entry_id_format(id, text);
        redis_send(&node->link.commands, NULL, NULL, "XACK %s " MACHINES_GROUP " %s", key, text);
        redis_send(&node->link.commands, NULL, NULL, "XDEL %s %s", key, text);
}

static void refuse_entry(struct node *node, enum workload_id workload, struct entry_id id,
                         const char *why)
{
        char text[ENTRY_ID_SIZE];

        ++node->n_foreign;
        entry_id_format(id, text);
        if (!node->foreign_said)
                log_error("the entry %s of the stream of chunks for %s is not pppd's: %s; it is "
                          "removed, and others like it without a word", text,
                          workload_name(workload), why);
        node->foreign_said = true;
        if (id.milliseconds || id.sequence)
                discard(node, workload, id);
}

static void take_entry(struct node *node, enum workload_id workload, const redisReply *reply,
                       bool claimed)
{
        struct chunk_entry entry;
        struct entry_id id;
        struct held *held;
        const char *why;

        if (chunk_entry_parse(reply, &entry, &id, &why) < 0) {
                refuse_entry(node, workload, id, why);
                return;
        }
        /* Out of memory it stays ours until somebody claims it for our silence about it. */
        if ((claimed && is_held(node, workload, id)) || !(held = calloc(1, sizeof(*held))))
                return;
        *held = (struct held){
                .id = id, .first = entry.first, .n = entry.n, .number = FEED_NONE,
                .text = malloc(entry.inputs.size), .size = entry.inputs.size,
                .job = node_job_get(node, workload, entry.job.data, entry.job.size),
                .taken_ns = now_monotonic(), .taken_real_ns = now_realtime(),
        };
        if (!held->text || !held->job) {
                if (held->job)
                        node_job_unref(held->job);
                free(held->text);
                free(held);
                return;
        }
        memcpy(held->text, entry.inputs.data, entry.inputs.size);
        held_link(node, held);
        node->last_n = held->n;
        node->last_size = held->size;
        node_job_ask(held->job);
}

void chunks_take_entries(struct node *node, enum workload_id workload, const redisReply *entries,
                         bool claimed)
{
        if (entries->type != REDIS_REPLY_ARRAY)
                return;
        for (size_t i = 0; i < entries->elements; ++i)
                /* Redis 6.2 tells of entries that are gone by nothing in their place. */
                if (entries->element[i]->type != REDIS_REPLY_NIL)
                        take_entry(node, workload, entries->element[i], claimed);
}

/* Which stream of ours a key is; _WORKLOAD_N: none. */
static enum workload_id workload_of_key(const struct node *node, const redisReply *key)
{
        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                _cleanup_free_ char *ours = key_chunks(&node->machines, (enum workload_id)i);

                if (ours && redis_is_string(key) && strlen(ours) == key->len &&
                    memcmp(ours, key->str, key->len) == 0)
                        return (enum workload_id)i;
        }
        return _WORKLOAD_N;
}

static void take_streams(struct node *node, const redisReply *reply)
{
        size_t n = 0;

        for (size_t i = 0; i < reply->elements; ++i) {
                const redisReply *stream = reply->element[i];
                enum workload_id workload;

                if (!redis_is_array(stream, 2))
                        continue;
                workload = workload_of_key(node, stream->element[0]);
                if (workload == _WORKLOAD_N)
                        continue;
                n += stream->element[1]->elements;
                chunks_take_entries(node, workload, stream->element[1], false);
        }
        /* Who is quick asks for more at once, but the first chunks are for whoever is free. */
        node->burst = n >= node->burst ? MIN(2 * node->burst, (unsigned)NODE_CHUNKS_MAX) : node->burst;
}

static void on_read(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;
        enum redis_trouble trouble;

        node->reading = false;
        if (!reply)
                return;
        if (reply->type == REDIS_REPLY_ARRAY) {
                take_streams(node, reply);
                return;
        }
        node->burst = 1;
        trouble = redis_trouble_of(reply);
        if (trouble == REDIS_TROUBLE_NOGROUP && now_monotonic() < node->groups_ns)
                return;
        if (trouble == REDIS_TROUBLE_NOGROUP)
                node_groups_make(node);
        else if (trouble != REDIS_TROUBLE_NONE && redis_trouble_is_final(trouble))
                redis_link_fail(&node->link, redis, reply, "read chunks");
        else if (trouble != REDIS_TROUBLE_NONE && trouble != REDIS_TROUBLE_FULL) {
                redis_note(redis, reply, "read chunks");
                redis_link_reset(&node->link, redis->why);
        }
}

static void measure_rate(struct node *node)
{
        uint64_t now = now_monotonic(), took = now - node->rate_ns;
        double rate;

        if (took < 50 * NSEC_PER_MSEC)
                return;
        rate = (double)node->rate_n * 1e9 / (double)took;
        node->chunks_per_second += (rate - node->chunks_per_second) / 2;
        node->rate_ns = now;
        node->rate_n = 0;
}

/*
 * Room is what the workers that have nothing could begin at once, if chunks are as large as the last was,
 * and a little ahead: what is run in the time that reading takes. Where a chunk takes seconds that is none:
 * somebody else may be free.
 */
bool chunks_have_room(struct node *node, unsigned *ret)
{
        uint64_t unclaimed = 0, running = 0, free_workers;
        unsigned n_chunks = 0, lead, room;
        unsigned workers = node->runner->spec.workers;

        measure_rate(node);
        if (node->held_bytes >= NODE_BYTES_MAX || node->n_held >= FEED_CHUNKS / 2 || node->stopping ||
            __atomic_load_n(&node->share->yields, __ATOMIC_RELAXED))
                return false;
        for (const struct held *held = node->held_first; held; held = held->next) {
                uint32_t left = held->n;

                if (held->state == HELD_FED) {
                        uint32_t open = __atomic_load_n(&node->feed->chunks[held->number].n_left,
                                                        __ATOMIC_ACQUIRE);

                        /* Read after: what is claimed and ends in between may not make it negative. */
                        left = feed_unclaimed(node->feed, held->number);
                        running += open - left;
                } else if (held->state != HELD_READ) {
                        continue;
                }
                unclaimed += left;
                n_chunks += left > 0;
        }
        free_workers = workers - MIN(running, (uint64_t)workers);
        lead = (unsigned)(node->chunks_per_second * (double)NODE_LEAD_NS / 1e9 + 0.9);
        room = lead > n_chunks ? lead - n_chunks : 0;
        if (free_workers > unclaimed)
                room += (unsigned)(free_workers - unclaimed - 1) / MAX(node->last_n, 1U) + 1;
        *ret = MIN(MIN(room, node->burst), (unsigned)NODE_CHUNKS_MAX);
        *ret = (unsigned)MIN(*ret, NODE_READ_BYTES / MAX(node->last_size, (size_t)1) + 1);
        return room > 0;
}

static char *block_text(const struct node *node)
{
        uint64_t ms = MIN(node->machines.heartbeat_ns / 4 / NSEC_PER_MSEC, (uint64_t)REDIS_LINK_BLOCK_MS);
        char *text;

        return asprintf(&text, "%llu", (unsigned long long)MAX(ms, UINT64_C(1))) < 0 ? NULL : text;
}

void chunks_read(struct node *node)
{
        const char *argv[8 + 2 * _WORKLOAD_N] = {
                "XREADGROUP", "GROUP", MACHINES_GROUP, node->machines.name, "COUNT", NULL, "BLOCK", NULL,
        };
        _cleanup_free_ char *block = NULL;
        char *keys[_WORKLOAD_N], count[16];
        const char *all[9 + 2 * _WORKLOAD_N];
        unsigned room, n = 0, argc = 8;
        bool ok = true;

        if (node_look_first(node) || node->reading || !node->link.is_up ||
            now_monotonic() < node->groups_ns || !chunks_have_room(node, &room))
                return;
        block = block_text(node);
        snprintf(count, sizeof(count), "%u", room);
        memcpy(all, argv, sizeof(argv));
        all[5] = count;
        all[7] = block;
        all[argc++] = "STREAMS";
        for (unsigned i = 0; i < _WORKLOAD_N; ++i)
                if (node->workloads >> i & 1)
                        ok = (keys[n++] = key_chunks(&node->machines, (enum workload_id)i)) && ok;
        for (unsigned i = 0; i < n; ++i)
                all[argc + i] = keys[i];
        for (unsigned i = 0; i < n; ++i)
                all[argc + n + i] = ">";
        if (ok && block)
                node->reading = redis_send_argv(&node->link.reader, on_read, node,
                                                (int)(argc + 2 * n), all, NULL) >= 0;
        for (unsigned i = 0; i < n; ++i)
                free(keys[i]);
}

static void feed_one(struct node *node, struct held *held)
{
        int number = feed_push(node->feed, held->text, held->size, held->n, &held->job->terms);

        if (number < 0)
                return;
        held->number = (uint32_t)number;
        held->state = HELD_FED;
        held->taken_ns = node->feed->chunks[number].taken_ns;
        held->taken_real_ns = now_realtime() - (now_monotonic() - held->taken_ns);
        node->by_number[number] = held;
        free(held->text);
        held->text = NULL;
}

void chunks_feed(struct node *node)
{
        for (struct held *held = node->held_first; held; held = held->next) {
                if (held->state != HELD_READ)
                        continue;
                if (node->stopping || held->job->gone)
                        held->state = HELD_FINISHED;
                else if (held->job->known)
                        feed_one(node, held);
                else
                        node_job_ask(held->job);
        }
}

static void finish(struct node *node, struct held *held)
{
        if (held->state != HELD_FED)
                return;
        held->state = HELD_FINISHED;
        ++node->rate_n;
}

void chunks_collect(struct node *node)
{
        uint32_t number;

        while ((number = feed_next_done(node->feed)) != FEED_NONE)
                if (node->by_number[number]) {
                        node->by_number[number]->ended_ns = 0;
                        finish(node, node->by_number[number]);
                }
}

/* A worker may have been killed between the end of a chunk and its word about it. */
void chunks_find_silent(struct node *node)
{
        uint64_t now = now_monotonic();

        for (struct held *held = node->held_first; held; held = held->next) {
                if (held->state != HELD_FED ||
                    __atomic_load_n(&node->feed->chunks[held->number].n_left, __ATOMIC_ACQUIRE) > 0)
                        continue;
                if (held->ended_ns == 0)
                        held->ended_ns = now;
                else if (now - held->ended_ns > node->machines.heartbeat_ns)
                        finish(node, held);
        }
}

/* Sending */

struct batch {
        struct node *node;
        struct held *chunks[BATCH_CHUNKS];
        unsigned n;
        size_t bytes;
        enum redis_trouble trouble;
};

static void refused(struct node *node, const struct redis *redis, enum redis_trouble trouble)
{
        if (!node->full_said && trouble != REDIS_TROUBLE_NONE)
                log_error("%s; the results are kept and sent again until it takes them", redis->why);
        node->full_said = true;
        node->retry_after_ns = MIN(MAX(2 * node->retry_after_ns, REDIS_LINK_RETRY_MIN_NS),
                                   REDIS_LINK_RETRY_MAX_NS);
        node->retry_ns = now_monotonic() + node->retry_after_ns;
}

/* What is confirmed is let go; else it is to be sent again. */
static void batch_end(struct batch *batch, bool confirmed)
{
        for (unsigned i = 0; i < batch->n; ++i) {
                struct held *held = batch->chunks[i];

                if (confirmed)
                        held_free(batch->node, held);
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
                redis_link_fail(&batch->node->link, redis, reply, "send results");
}

static void make_room(struct node *node, const struct batch *batch);

static void on_exec(struct redis *redis, redisReply *reply, void *userdata)
{
        struct batch *batch = userdata;
        struct node *node = batch->node;
        bool confirmed = reply && reply->type == REDIS_REPLY_ARRAY;

        if (confirmed) {
                node->full_said = false;
                node->retry_ns = node->retry_after_ns = 0;
        } else if (reply && !node->link.failed) {
                if (batch->trouble == REDIS_TROUBLE_NONE && redis_is_error(reply))
                        batch->trouble = redis_note(redis, reply, "send results");
                if (batch->trouble == REDIS_TROUBLE_FULL)
                        make_room(node, batch);
                refused(node, redis, batch->trouble);
        }
        batch_end(batch, confirmed);
}

static int send_result(struct node *node, struct batch *batch, struct held *held)
{
        _cleanup_free_ char *key = key_results(&node->machines, held->job->name);
        size_t size = held->n * sizeof(struct ppp_record);
        _cleanup_free_ char *records = calloc(1, size);
        char chunk[ENTRY_ID_SIZE];

        if (!key || !records)
                return -ENOMEM;
        if (held->number != FEED_NONE)
                records_pack(node->feed->chunks[held->number].tasks.records, held->n, held->taken_ns, records);
        entry_id_format(held->id, chunk);
        return redis_send(&node->link.commands, on_queued, batch,
                          "XADD %s NOMKSTREAM * chunk %s first %llu n %u node %s taken %llu records %b",
                          key, chunk, (unsigned long long)held->first, held->n, node->machines.name,
                          (unsigned long long)held->taken_real_ns, records, size);
}

/* XACK and XDEL of all chunks of one workload. */
static int send_removal(struct node *node, struct batch *batch, enum workload_id workload,
                        redis_reply_fn *fn)
{
        _cleanup_free_ char *key = key_chunks(&node->machines, workload);
        char ids[BATCH_CHUNKS][ENTRY_ID_SIZE];
        const char *argv[3 + BATCH_CHUNKS];
        int n = 0, r;

        if (!key)
                return -ENOMEM;
        for (unsigned i = 0; i < batch->n; ++i)
                if (batch->chunks[i]->job->workload == workload) {
                        entry_id_format(batch->chunks[i]->id, ids[n]);
                        argv[3 + n] = ids[n];
                        ++n;
                }
        if (n == 0)
                return 0;
        argv[0] = "XACK";
        argv[1] = key;
        argv[2] = MACHINES_GROUP;
        r = redis_send_argv(&node->link.commands, fn, batch, 3 + n, argv, NULL);
        if (r < 0)
                return r;
        argv[1] = "XDEL";
        argv[2] = key;
        return redis_send_argv(&node->link.commands, fn, batch, 2 + n, argv + 1, NULL);
}

/*
 * A Redis that is full of chunks would take no result, and results are what empties it: the chunks are
 * taken off before their results are in. Should we die now, the coordinator misses them and sends them
 * again.
 */
static void make_room(struct node *node, const struct batch *batch)
{
        struct batch copy = *batch;

        for (unsigned i = 0; i < _WORKLOAD_N; ++i)
                (void)send_removal(node, &copy, (enum workload_id)i, NULL);
}

static int batch_send(struct node *node, struct batch *batch)
{
        struct redis *redis = &node->link.commands;
        int r = redis_send(redis, on_queued, batch, "MULTI");

        /* Of a job that is gone nobody wants results. */
        for (unsigned i = 0; i < batch->n && r >= 0; ++i)
                if (!batch->chunks[i]->job->gone)
                        r = send_result(node, batch, batch->chunks[i]);
        for (unsigned i = 0; i < _WORKLOAD_N && r >= 0; ++i)
                r = send_removal(node, batch, (enum workload_id)i, on_queued);
        if (r >= 0)
                r = redis_send(redis, on_exec, batch, "EXEC");
        return r;
}

static bool batch_takes(const struct batch *batch, const struct held *held)
{
        return batch->n < BATCH_CHUNKS &&
               (batch->n == 0 || batch->bytes + held_size(held) <= BATCH_BYTES);
}

void chunks_send(struct node *node)
{
        struct batch *batch = NULL;

        if (!node->link.is_up || now_monotonic() < node->retry_ns)
                return;
        node->retry_ns = 0;
        for (struct held *held = node->held_first; held; held = held->next) {
                if (held->state != HELD_FINISHED)
                        continue;
                if (batch && !batch_takes(batch, held)) {
                        if (batch_send(node, batch) < 0)
                                goto broken;
                        batch = NULL;
                }
                if (!batch && !(batch = calloc(1, sizeof(*batch))))
                        return;
                batch->node = node;
                batch->chunks[batch->n++] = held;
                batch->bytes += held_size(held);
                held->state = HELD_SENT;
        }
        if (batch && batch_send(node, batch) < 0)
                goto broken;
        return;
broken:
        /* Half a transaction is in the pipe: only a new connection ends that. Its replies would go to
         * @batch, so that stays until they were called off. */
        redis_link_reset(&node->link, "cannot send results: out of memory");
}

/* Every reply that was outstanding has been answered with NULL: what was sent may be in or not. */
void chunks_unsend(struct node *node)
{
        for (struct held *held = node->held_first; held; held = held->next)
                if (held->state == HELD_SENT)
                        held->state = HELD_FINISHED;
        node->reading = false;
}

/* Leaving and losing */

static void withdraw(struct node *node, struct held *held, bool drop)
{
        bool ended;

        if (held->state == HELD_READ) {
                held->state = HELD_FINISHED;
                return;
        }
        if (held->state != HELD_FED)
                return;
        ended = drop ? feed_drop(node->feed, held->number) : feed_withdraw(node->feed, held->number);
        if (ended)
                finish(node, held);
}

void chunks_drop_job(struct node *node, struct node_job *job)
{
        job->gone = true;
        for (struct held *held = node->held_first; held; held = held->next)
                if (held->job == job)
                        withdraw(node, held, true);
        feed_tell_dropped(node->feed);
}

void chunks_give_back(struct node *node)
{
        for (struct held *held = node->held_first; held; held = held->next)
                withdraw(node, held, false);
}

/* The level's process is gone. @death: of what was in progress; NULL: it is given back like the rest. */
void chunks_end_all(struct node *node, const struct ppp_record *death)
{
        chunks_collect(node);
        for (struct held *held = node->held_first; held; held = held->next) {
                struct ppp_record *records;

                if (held->state != HELD_FED)
                        continue;
                records = node->feed->chunks[held->number].tasks.records;
                for (uint32_t i = 0; i < held->n && death; ++i) {
                        struct ppp_record record = *death;

                        if (record_state(&records[i]) != PPP_STATE_NONE || records[i].start_ns == 0)
                                continue;
                        record.start_ns = records[i].start_ns;
                        record_publish(&records[i], &record);
                        __atomic_fetch_add(&node->feed->header.n_failed, 1, __ATOMIC_RELAXED);
                }
                finish(node, held);
        }
}

void chunks_free(struct node *node)
{
        while (node->held_first)
                held_free(node, node->held_first);
}
