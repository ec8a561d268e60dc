/* What is to be sent, how much of it, and how that is taken. */

#include "daemon/runner/machines/coordinator.h"

#define BATCH_CHUNKS 64
#define FULL_OVER_NS (5 * NSEC_PER_SEC) /* without a refusal */
#define PROBE_NS     (2 * NSEC_PER_MSEC)
#define PROBE_TASKS  8                  /* for each CPU */

int coordinator_send_again(struct coordinator *c, uint64_t first, uint64_t n)
{
        if (c->n_again == c->again_size) {
                size_t size = MAX(2 * c->again_size, (size_t)64);
                struct range *bigger = realloc(c->again, size * sizeof(*bigger));

                if (!bigger)
                        return -ENOMEM;
                c->again = bigger;
                c->again_size = size;
        }
        c->again[c->n_again++] = (struct range){ first, n };
        return 0;
}

void coordinator_fly(struct coordinator *c, uint64_t first, uint32_t n, bool flies)
{
        for (uint64_t i = first; i < first + n; ++i) {
                uint8_t bit = (uint8_t)(1U << (i % 8));

                c->in_flight[i / 8] = flies ? c->in_flight[i / 8] | bit :
                                              c->in_flight[i / 8] & (uint8_t)~bit;
        }
}

static bool wants_sending(const struct coordinator *c, uint64_t i)
{
        return !coordinator_flies(c, i) &&
               record_state(&c->runner->results.records[i]) == PPP_STATE_NONE;
}

/* The next tasks in a row that are to be sent, at most @max. False when there are none. */
static bool next_range(struct coordinator *c, uint32_t max, struct range *ret)
{
        uint64_t end, *from, n = 0;

        for (;;) {
                struct range *again = c->n_again > 0 ? &c->again[c->n_again - 1] : NULL;

                from = again ? &again->first : &c->cursor;
                end = again ? again->first + again->n : c->runner->results.n_tasks;
                while (*from < end && !wants_sending(c, *from)) {
                        ++*from;
                        if (again)
                                --again->n;
                }
                if (*from < end)
                        break;
                if (!again)
                        return false;
                --c->n_again;
        }
        while (n < max && *from + n < end && wants_sending(c, *from + n))
                ++n;
        *ret = (struct range){ *from, n };
        return true;
}

/* The inputs of these tasks, which lie one after the other in the list; fewer when that is too much. */
static const char *text_of(const struct coordinator *c, struct range *range, size_t *ret_size)
{
        const struct inputs *inputs = &c->runner->inputs;
        size_t n_first, n_last;
        const char *first = inputs_get(inputs, range->first, &n_first), *last;

        for (;;) {
                last = inputs_get(inputs, range->first + range->n - 1, &n_last);
                *ret_size = (size_t)(last - first) + n_last + 1;
                if (*ret_size <= CHUNK_BYTES_MAX || range->n == 1)
                        return first;
                range->n /= 2;
        }
}

void coordinator_full(struct coordinator *c, struct redis *redis, const redisReply *reply,
                      const char *attempted)
{
        redis_note(redis, reply, attempted);
        if (!c->full)
                log_error("%s; waiting until it takes more", redis->why);
        c->full = true;
        coordinator_condition(c, PPP_CONDITION_ENGINE_FULL);
        c->full_wait_ns = MIN(MAX(2 * c->full_wait_ns, REDIS_LINK_RETRY_MIN_NS), REDIS_LINK_RETRY_MAX_NS);
        c->refused_ns = now_monotonic();
        c->full_until_ns = c->refused_ns + c->full_wait_ns;
}

void coordinator_not_full(struct coordinator *c)
{
        c->full_until_ns = c->full_wait_ns = 0;
        /* One that is near its limit takes some and refuses some, many times a second. */
        if (!c->full || now_monotonic() - c->refused_ns < FULL_OVER_NS)
                return;
        c->full = false;
        log_error("Redis takes more again");
        coordinator_condition(c, PPP_CONDITION_NONE);
}

/*
 * Chunks go out in transactions. After each command Redis looks through all nodes that wait for a chunk, at
 * 0.1 us each: with a thousand of them that is several times what the chunk itself costs. A transaction is
 * one command.
 */
struct batch {
        struct coordinator *c;
        struct outstanding *chunks[BATCH_CHUNKS];
        unsigned n;
        unsigned n_replies;             /* that are to come; the last frees it */
        bool refused;                   /* and that was told */
};

static void reply_came(struct batch *batch)
{
        assert(batch->n_replies > 0);
        if (--batch->n_replies == 0)
                free(batch);
}

static void refuse(struct coordinator *c, struct redis *redis, const redisReply *reply)
{
        enum redis_trouble trouble = redis_trouble_of(reply);

        if (!redis_is_error(reply))
                redis_link_reset(&c->link, "Redis answers what it was not asked");
        else if (trouble == REDIS_TROUBLE_FULL || trouble == REDIS_TROUBLE_READONLY ||
                 trouble == REDIS_TROUBLE_LOADING)
                coordinator_full(c, redis, reply, "send a chunk");
        else
                redis_link_fail(&c->link, redis, reply, "send a chunk");
}

static void on_queued(struct redis *redis, redisReply *reply, void *userdata)
{
        struct batch *batch = userdata;

        if (reply && redis_is_error(reply) && !batch->refused) {
                batch->refused = true;
                refuse(batch->c, redis, reply);
        }
        reply_came(batch);
}

/* @reply: its place among those of the transaction; NULL: not known, the scan will tell. */
static void sent(struct batch *batch, struct outstanding *chunk, struct redis *redis, bool is_known,
                 const redisReply *reply)
{
        struct coordinator *c = batch->c;

        chunk->asked = false;
        if (chunk->closed) {
                free(chunk);
                return;
        }
        if (!is_known)
                return;
        if (reply && redis_is_string(reply) &&
            entry_id_parse(reply->str, reply->len, &chunk->id) >= 0) {
                coordinator_not_full(c);
                return;
        }
        if (reply && !batch->refused) {
                batch->refused = true;
                refuse(c, redis, reply);
        }
        --c->n_sent;
        c->n_bytes -= chunk->bytes;
        coordinator_close(c, chunk);
}

static void on_exec(struct redis *redis, redisReply *reply, void *userdata)
{
        struct batch *batch = userdata;
        bool is_done = reply && redis_is_array(reply, batch->n);

        for (unsigned i = 0; i < batch->n; ++i)
                sent(batch, batch->chunks[i], redis, reply, is_done ? reply->element[i] : reply);
        reply_came(batch);
}

static struct batch *batch_begin(struct coordinator *c)
{
        struct batch *batch = calloc(1, sizeof(*batch));

        if (!batch)
                return NULL;
        batch->c = c;
        batch->n_replies = 1;
        if (redis_send(&c->link.commands, on_queued, batch, "MULTI") >= 0)
                return batch;
        free(batch);
        return NULL;
}

/* Half a transaction in the pipe is ended by a new connection only. */
static void batch_end(struct batch *batch)
{
        struct coordinator *c = batch->c;

        ++batch->n_replies;
        if (redis_send(&c->link.commands, on_exec, batch, "EXEC") >= 0)
                return;
        redis_link_reset(&c->link, "cannot send chunks: out of memory");
        on_exec(&c->link.commands, NULL, batch);
}

static int send_chunk(struct batch *batch, struct range range)
{
        struct coordinator *c = batch->c;
        size_t size;
        const char *text = text_of(c, &range, &size);
        struct outstanding *chunk = outstanding_add(&c->sent, range.first, (uint32_t)range.n,
                                                    (uint32_t)size);
        int r;

        if (!chunk)
                return -ENOMEM;
        r = redis_send(&c->link.commands, on_queued, batch,
                       "XADD %s * job %s first %llu n %u inputs %b", c->key_chunks, c->id,
                       (unsigned long long)range.first, (unsigned)range.n, text, size);
        if (r < 0) {
                outstanding_remove(&c->sent, chunk);
                return r;
        }
        ++batch->n_replies;
        batch->chunks[batch->n++] = chunk;
        chunk->asked = true;
        chunk->sent_ns = now_monotonic();
        coordinator_fly(c, range.first, (uint32_t)range.n, true);
        ++c->n_sent;
        c->n_bytes += size;
        return 0;
}

static uint64_t left_to_send(const struct coordinator *c)
{
        uint64_t n = c->runner->results.n_tasks - c->n_recorded;

        return n > c->sent.n_tasks ? n - c->sent.n_tasks : 0;
}

static void measure_rate(struct coordinator *c, uint64_t now)
{
        uint64_t took = now - c->rate_ns;

        if (took < COORDINATOR_LEAD_NS)
                return;
        c->tasks_per_second += ((double)(c->n_recorded - c->rate_n) * 1e9 / (double)took -
                                c->tasks_per_second) / 2;
        c->rate_ns = now;
        c->rate_n = c->n_recorded;
}

static bool probes(const struct coordinator *c, uint64_t now)
{
        return !sizing_knows(&c->sizing) && now < c->probe_until_ns;
}

/*
 * What is run, what keeps everybody busy meanwhile, and what will be run while chunks travel. At first
 * each chunk is of one task, for nobody knows how long they take, and a window of thousands would get as
 * many chunks: where tasks are short, a few of them tell that soon, and where they are long, a moment
 * is lost.
 */
static uint64_t tasks_out_max(const struct coordinator *c, uint32_t size, uint64_t now)
{
        if (probes(c, now))
                return PROBE_TASKS * c->slots;
        return c->capacity + 2 * c->slots * size +
               (uint64_t)(c->tasks_per_second * (double)COORDINATOR_LEAD_NS / 1e9);
}

void coordinator_send(struct coordinator *c)
{
        uint64_t now = now_monotonic();
        uint32_t max = c->runner->machines->chunk_tasks_max;
        struct batch *batch = NULL;
        struct range range;

        measure_rate(c, now);
        if (c->sync != SYNC_DONE || c->slots == 0 || now < c->full_until_ns)
                return;
        if (!c->probe_until_ns)
                c->probe_until_ns = now + PROBE_NS;
        for (;;) {
                uint32_t size = sizing_next(&c->sizing, left_to_send(c), c->slots);

                if (max)
                        size = MIN(size, max);
                if (c->sent.n_tasks >= tasks_out_max(c, size, now) ||
                    c->sent.n_bytes >= COORDINATOR_BYTES_MAX || !next_range(c, size, &range))
                        break;
                if (!batch && !(batch = batch_begin(c)))
                        break;
                if (send_chunk(batch, range) < 0)
                        break;
                if (batch->n == BATCH_CHUNKS) {
                        batch_end(batch);
                        batch = NULL;
                }
                /* One at first, so that a Redis that is full is not asked a thousand times. */
                if (c->full)
                        break;
        }
        if (batch)
                batch_end(batch);
        c->runner->results.header->next = c->cursor;
}
