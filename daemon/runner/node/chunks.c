#include "daemon/runner/node/chunks.h"

void chunks_init(struct chunks *chunks, struct streams *streams, struct node_jobs *jobs,
                 struct feed *feed, const struct spec *spec)
{
        *chunks = (struct chunks){
                .streams = streams,
                .jobs = jobs,
                .feed = feed,
                .spec = spec,
                .burst = 1,
                .rate_ns = now_monotonic(),
        };
}

static void held_link(struct chunks *chunks, struct held *held)
{
        held->previous = chunks->last;
        held->next = NULL;
        *(held->previous ? &held->previous->next : &chunks->first) = held;
        chunks->last = held;
        ++chunks->n;
        chunks->bytes += held_size(held);
}

void held_free(struct chunks *chunks, struct held *held)
{
        *(held->previous ? &held->previous->next : &chunks->first) = held->next;
        *(held->next ? &held->next->previous : &chunks->last) = held->previous;
        --chunks->n;
        chunks->bytes -= held_size(held);
        if (held->number != FEED_NONE) {
                chunks->by_number[held->number] = NULL;
                /* A chunk whose end was not signalled may still signal it: its place is not used
                 * again. */
                if (!held->ended_ns)
                        feed_release(chunks->feed, held->number);
        }
        node_job_unref(held->job);
        free(held->text);
        free(held);
}

static bool is_held(const struct chunks *chunks, const struct stream *stream, struct entry_id id)
{
        for (const struct held *held = chunks->first; held; held = held->next)
                if (held->job->stream == stream && entry_id_equal(held->id, id))
                        return true;
        return false;
}

/* Removes from the stream an entry that nobody can use. */
static void discard(struct chunks *chunks, const struct stream *stream, struct entry_id id)
{
        struct redis *redis = &chunks->streams->link.commands;
        char text[ENTRY_ID_SIZE];

        entry_id_format(id, text);
        redis_send(redis, NULL, NULL, "XACK %s " MACHINES_GROUP " %s", stream->key, text);
        redis_send(redis, NULL, NULL, "XDEL %s %s", stream->key, text);
}

static void refuse_entry(struct chunks *chunks, const struct stream *stream, struct entry_id id,
                         const char *why)
{
        char text[ENTRY_ID_SIZE];

        ++chunks->n_foreign;
        entry_id_format(id, text);
        if (!chunks->foreign_said)
                log_error("the entry %s of the stream of chunks for %s is not pppd's: %s; it is "
                          "removed, and others like it without a word",
                          text, workload_name(stream->workload), why);
        chunks->foreign_said = true;
        if (id.milliseconds || id.sequence)
                discard(chunks, stream, id);
}

static void take_entry(struct chunks *chunks, const struct stream *stream, const redisReply *reply,
                       bool claimed)
{
        struct chunk_entry entry;
        struct entry_id id;
        struct held *held;
        const char *why;

        if (chunk_entry_parse(reply, &entry, &id, &why) < 0) {
                refuse_entry(chunks, stream, id, why);
                return;
        }
        /* When out of memory, it stays ours until another node claims it because we are silent
         * about it. */
        if ((claimed && is_held(chunks, stream, id)) || !(held = calloc(1, sizeof(*held))))
                return;
        *held = (struct held){
                .id = id,
                .first = entry.first,
                .n = entry.n,
                .number = FEED_NONE,
                .text = malloc(entry.inputs.size),
                .size = entry.inputs.size,
                .job = node_job_get(chunks->jobs, stream, entry.job.data, entry.job.size),
                .taken_ns = now_monotonic(),
                .taken_real_ns = now_realtime(),
        };
        if (!held->text || !held->job) {
                if (held->job)
                        node_job_unref(held->job);
                free(held->text);
                free(held);
                return;
        }
        memcpy(held->text, entry.inputs.data, entry.inputs.size);
        held_link(chunks, held);
        chunks->last_n = held->n;
        chunks->last_size = held->size;
        node_job_ask(held->job);
}

void chunks_take_entries(struct chunks *chunks, const struct stream *stream,
                         const redisReply *entries, bool claimed)
{
        if (entries->type != REDIS_REPLY_ARRAY)
                return;
        for (size_t i = 0; i < entries->elements; ++i)
                /* Redis 6.2 replies with nil in the place of entries that are gone. */
                if (entries->element[i]->type != REDIS_REPLY_NIL)
                        take_entry(chunks, stream, entries->element[i], claimed);
}

static void feed_one(struct chunks *chunks, struct held *held)
{
        int number = feed_push(chunks->feed, held->text, held->size, held->n, &held->job->terms);

        if (number < 0)
                return;
        held->number = (uint32_t)number;
        held->state = HELD_FED;
        held->taken_ns = chunks->feed->chunks[number].taken_ns;
        held->taken_real_ns = now_realtime() - (now_monotonic() - held->taken_ns);
        chunks->by_number[number] = held;
        free(held->text);
        held->text = NULL;
}

void chunks_feed(struct chunks *chunks)
{
        for (struct held *held = chunks->first; held; held = held->next) {
                if (held->state != HELD_READ)
                        continue;
                if (chunks->closed || held->job->gone)
                        held->state = HELD_FINISHED;
                else if (held->job->known)
                        feed_one(chunks, held);
                else
                        node_job_ask(held->job);
        }
}

static void finish(struct chunks *chunks, struct held *held)
{
        if (held->state != HELD_FED)
                return;
        held->state = HELD_FINISHED;
        ++chunks->rate_n;
}

void chunks_collect(struct chunks *chunks)
{
        uint32_t number;

        while ((number = feed_next_done(chunks->feed)) != FEED_NONE)
                if (chunks->by_number[number]) {
                        chunks->by_number[number]->ended_ns = 0;
                        finish(chunks, chunks->by_number[number]);
                }
}

/* A worker may have been killed between the end of a chunk and its signal about it. */
void chunks_find_silent(struct chunks *chunks)
{
        uint64_t now = now_monotonic();

        for (struct held *held = chunks->first; held; held = held->next) {
                if (held->state != HELD_FED ||
                    __atomic_load_n(&chunks->feed->chunks[held->number].n_left, __ATOMIC_ACQUIRE) >
                            0)
                        continue;
                if (held->ended_ns == 0)
                        held->ended_ns = now;
                else if (now - held->ended_ns > chunks->streams->machines.heartbeat_ns)
                        finish(chunks, held);
        }
}

static void withdraw(struct chunks *chunks, struct held *held, bool drop)
{
        bool ended;

        if (held->state == HELD_READ) {
                held->state = HELD_FINISHED;
                return;
        }
        if (held->state != HELD_FED)
                return;
        ended = drop ? feed_drop(chunks->feed, held->number)
                     : feed_withdraw(chunks->feed, held->number);
        if (ended)
                finish(chunks, held);
}

void chunks_drop_job(struct chunks *chunks, const struct node_job *job)
{
        for (struct held *held = chunks->first; held; held = held->next)
                if (held->job == job)
                        withdraw(chunks, held, true);
        feed_tell_dropped(chunks->feed);
}

void chunks_close(struct chunks *chunks)
{
        chunks->closed = true;
        for (struct held *held = chunks->first; held; held = held->next)
                withdraw(chunks, held, false);
}

/*
 * The level's process is gone. @death: the record of tasks in progress; NULL: they are given back
 * like the rest.
 */
void chunks_end_all(struct chunks *chunks, const struct ppp_record *death)
{
        chunks_collect(chunks);
        for (struct held *held = chunks->first; held; held = held->next) {
                struct ppp_record *records;

                if (held->state != HELD_FED)
                        continue;
                records = chunks->feed->chunks[held->number].tasks.records;
                for (uint32_t i = 0; i < held->n && death; ++i) {
                        struct ppp_record record = *death;

                        if (record_state(&records[i]) != PPP_STATE_NONE || records[i].start_ns == 0)
                                continue;
                        record.start_ns = records[i].start_ns;
                        record_publish(&records[i], &record);
                        __atomic_fetch_add(&chunks->feed->header.n_failed, 1, __ATOMIC_RELAXED);
                }
                finish(chunks, held);
        }
}

void chunks_free(struct chunks *chunks)
{
        while (chunks->first)
                held_free(chunks, chunks->first);
}

uint64_t chunks_load(const struct chunks *chunks)
{
        uint64_t n = 0;

        for (const struct held *held = chunks->first; held; held = held->next)
                if (held->state == HELD_FED)
                        n += __atomic_load_n(&chunks->feed->chunks[held->number].n_left,
                                             __ATOMIC_RELAXED);
                else if (held->state == HELD_READ)
                        n += held->n;
        return n;
}
