/* Sending chunks: which tasks, how many at a time, and how Redis replies. */

#include "daemon/runner/machines/coordinator.h"

#define BYTES_MAX    (16 * 1024 * 1024) /* of inputs in Redis */
#define BATCH_CHUNKS 64
#define LEAD_NS      (20 * NSEC_PER_MSEC) /* of work on the way */
#define FULL_OVER_NS (5 * NSEC_PER_SEC)   /* without a refusal */
#define PROBE_NS     (2 * NSEC_PER_MSEC)
#define PROBE_TASKS  8 /* for each CPU */

/* The inputs of these tasks, which are consecutive in the list; fewer of them when that is too
 * much. */
static const char *text_of(const struct coordinator *c, struct task_range *range, size_t *ret_size)
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
        if (!c->pace.full)
                log_error("%s; waiting until it takes more", redis->why);
        c->pace.full = true;
        coordinator_condition(c, PPP_CONDITION_ENGINE_FULL);
        c->pace.full_wait_ns = MIN(MAX(2 * c->pace.full_wait_ns, REDIS_LINK_RETRY_MIN_NS),
                                   REDIS_LINK_RETRY_MAX_NS);
        c->pace.refused_ns = now_monotonic();
        c->pace.full_until_ns = c->pace.refused_ns + c->pace.full_wait_ns;
}

void coordinator_not_full(struct coordinator *c)
{
        c->pace.full_until_ns = c->pace.full_wait_ns = 0;
        /* A Redis near its limit takes some and refuses some, many times a second. */
        if (!c->pace.full || now_monotonic() - c->pace.refused_ns < FULL_OVER_NS)
                return;
        c->pace.full = false;
        log_error("Redis takes more again");
        coordinator_condition(c, PPP_CONDITION_NONE);
}

/*
 * Chunks go out in transactions. After each command Redis looks through all nodes that wait for a
 * chunk, at 0.1 us each: with a thousand of them that is several times what the chunk itself costs.
 * A transaction is one command.
 */
struct batch {
        struct coordinator *c;
        struct outstanding *chunks[BATCH_CHUNKS];
        unsigned n;
        unsigned n_replies; /* that are to come; the last frees it */
        bool refused;       /* and that was told */
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

/* @reply: its place among those of the transaction; NULL: not known, the scan will show it. */
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
        --c->ledger.n_sent;
        c->ledger.n_bytes -= chunk->bytes;
        ledger_close(&c->ledger, chunk);
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

/* Only a new connection ends half a transaction in the pipe. */
static void batch_end(struct batch *batch)
{
        struct coordinator *c = batch->c;

        ++batch->n_replies;
        if (redis_send(&c->link.commands, on_exec, batch, "EXEC") >= 0)
                return;
        redis_link_reset(&c->link, "cannot send chunks: out of memory");
        on_exec(&c->link.commands, NULL, batch);
}

static int send_chunk(struct batch *batch, struct task_range range)
{
        struct coordinator *c = batch->c;
        size_t size;
        const char *text = text_of(c, &range, &size);
        struct outstanding *chunk =
                ledger_enter(&c->ledger, range.first, (uint32_t)range.n, (uint32_t)size);
        int r;

        if (!chunk)
                return -ENOMEM;
        r = redis_send(&c->link.commands, on_queued, batch,
                       "XADD %s * job %s first %llu n %u inputs %b", c->key_chunks, c->id,
                       (unsigned long long)range.first, (unsigned)range.n, text, size);
        if (r < 0) {
                ledger_strike(&c->ledger, chunk);
                return r;
        }
        ++batch->n_replies;
        batch->chunks[batch->n++] = chunk;
        chunk->asked = true;
        chunk->sent_ns = now_monotonic();
        ++c->ledger.n_sent;
        c->ledger.n_bytes += size;
        return 0;
}

static void measure_rate(struct coordinator *c, uint64_t now)
{
        uint64_t took = now - c->pace.rate_ns;

        if (took < LEAD_NS)
                return;
        c->pace.tasks_per_second +=
                ((double)(c->ledger.n_recorded - c->pace.rate_n) * 1e9 / (double)took -
                 c->pace.tasks_per_second) /
                2;
        c->pace.rate_ns = now;
        c->pace.rate_n = c->ledger.n_recorded;
}

static bool probes(const struct coordinator *c, uint64_t now)
{
        return !sizing_knows(&c->pace.sizing) && now < c->pace.probe_until_ns;
}

/*
 * As many tasks may be out as run at once, plus those that keep all workers busy while further
 * chunks travel. At first each chunk has one task, since nobody knows how long tasks take, and a
 * window of thousands would become as many chunks. So a few are sent first: where tasks are short,
 * these show it soon, and where they are long, only a moment is lost.
 */
static uint64_t tasks_out_max(const struct coordinator *c, uint32_t size, uint64_t now)
{
        if (probes(c, now))
                return PROBE_TASKS * c->roster.slots;
        return c->roster.capacity + 2 * c->roster.slots * size +
               (uint64_t)(c->pace.tasks_per_second * (double)LEAD_NS / 1e9);
}

void coordinator_send(struct coordinator *c)
{
        uint64_t now = now_monotonic();
        uint32_t max = c->runner->machines->chunk_tasks_max;
        struct batch *batch = NULL;
        struct task_range range;

        measure_rate(c, now);
        if (c->sync.state != SYNC_DONE || c->roster.slots == 0 || now < c->pace.full_until_ns)
                return;
        if (!c->pace.probe_until_ns)
                c->pace.probe_until_ns = now + PROBE_NS;
        for (;;) {
                uint32_t size =
                        sizing_next(&c->pace.sizing, ledger_left(&c->ledger), c->roster.slots);

                if (max)
                        size = MIN(size, max);
                if (c->ledger.out.n_tasks >= tasks_out_max(c, size, now) ||
                    c->ledger.out.n_bytes >= BYTES_MAX || !ledger_next(&c->ledger, size, &range))
                        break;
                if (!batch && !(batch = batch_begin(c)))
                        break;
                if (send_chunk(batch, range) < 0)
                        break;
                if (batch->n == BATCH_CHUNKS) {
                        batch_end(batch);
                        batch = NULL;
                }
                /* Only one at first, so that a Redis that is full is not asked a thousand times. */
                if (c->pace.full)
                        break;
        }
        if (batch)
                batch_end(batch);
        c->runner->results.header->next = c->ledger.cursor;
}
