/* Results are read from their stream, checked, recorded, and removed from it. */

#include <stdio.h>

#include "daemon/runner/machines/coordinator.h"

#define READ_BYTES (1024 * 1024) /* about, of one reply */
#define READ_MAX   1024

/*
 * The workers' time that a chunk took: the sum of its tasks' times, or at async the time it used
 * the loop's CPU.
 */
static uint64_t worker_time(struct roster_node *node, const struct result_entry *entry,
                            uint64_t base, uint64_t received)
{
        uint64_t sum = 0, since = MAX(node->last_ns, base);
        struct ppp_record record;

        node->last_ns = received;
        if (node->has_loops)
                return received > since ? (received - since) * node->slots : 1;
        for (uint32_t i = 0; i < entry->n; ++i)
                if (result_record(entry, i, &record))
                        sum += record.end_ns - record.start_ns;
        return sum;
}

static uint64_t longest(const struct result_entry *entry)
{
        struct ppp_record record;
        uint64_t ns = 0;

        for (uint32_t i = 0; i < entry->n; ++i)
                if (result_record(entry, i, &record))
                        ns = MAX(ns, record.end_ns);
        return ns;
}

/* Returns how many of its tasks had been run. */
static uint32_t record_all(struct coordinator *c, const struct result_entry *entry,
                           const struct roster_node *node, uint64_t base, uint64_t received)
{
        uint64_t epoch = (uint64_t)c->runner->results.header->epoch_ns;
        struct ppp_record record;
        uint32_t n_run = 0;

        for (uint32_t i = 0; i < entry->n; ++i) {
                if (!result_record(entry, i, &record) || record.state == PPP_STATE_NONE)
                        continue;
                ++n_run;
                record.start_ns = MIN(base + record.start_ns, received) - epoch;
                record.end_ns = MIN(base + record.end_ns, received) - epoch;
                record.worker = node->number;
                (void)ledger_record(&c->ledger, entry->first + i, &record);
        }
        ledger_tell(&c->ledger);
        return n_run;
}

static void foreign(struct coordinator *c, const char *why)
{
        ++c->results.n_foreign;
        if (!c->results.foreign_said)
                log_error("an entry of the stream %s is not pppd's: %s; it is ignored, and others "
                          "like it without a word",
                          c->key_results, why);
        c->results.foreign_said = true;
}

static void take_result(struct coordinator *c, const struct result_entry *entry)
{
        struct outstanding *chunk = outstanding_find(&c->ledger.out, entry->first, entry->n);
        uint64_t received = now_monotonic(), base;
        int64_t offset = (int64_t)received - (int64_t)now_realtime();
        struct roster_node *node;
        uint32_t n_run;

        node = roster_get(&c->roster, entry->node.data, entry->node.size);
        if (!node)
                return; /* out of memory: it is sent again */
        node->seen = true;
        base = chunk_base(entry->taken_ns, offset, longest(entry),
                          chunk && chunk->sent_ns
                                  ? chunk->sent_ns
                                  : (uint64_t)MAX(c->runner->results.header->epoch_ns, 0),
                          received);
        n_run = record_all(c, entry, node, base, received);
        if (n_run == entry->n)
                sizing_note(&c->pace.sizing, n_run, worker_time(node, entry, base, received));
        if (chunk)
                ledger_close(&c->ledger, chunk);
        if (n_run > 0 && !c->pace.full)
                coordinator_condition(c, PPP_CONDITION_NONE);
}

static void take_entry(struct coordinator *c, const redisReply *reply)
{
        struct result_entry entry;
        struct entry_id id;
        const char *why;

        if (result_entry_parse(reply, &entry, &id, &why) < 0)
                foreign(c, why);
        else if (entry.first + entry.n > c->runner->results.n_tasks)
                foreign(c, "it is of tasks that the job does not have");
        else
                take_result(c, &entry);
        if (id.milliseconds || id.sequence)
                c->results.last = id;
}

/* A result that is in the results file need not stay in Redis. */
static void remove_entries(struct coordinator *c, const redisReply *entries)
{
        const char *argv[2 + READ_MAX] = { "XDEL", c->key_results };
        size_t sizes[2 + READ_MAX] = { 4, strlen(c->key_results) };
        int n = 2;

        for (size_t i = 0; i < MIN(entries->elements, (size_t)READ_MAX); ++i) {
                const redisReply *entry = entries->element[i];

                if (!redis_is_array(entry, 1) || !redis_is_string(entry->element[0]))
                        continue;
                argv[n] = entry->element[0]->str;
                sizes[n++] = entry->element[0]->len;
        }
        if (n > 2)
                redis_send_argv(&c->link.commands, redis_link_on_kept, &c->link, n, argv, sizes);
}

/*
 * The ids of entries grow. After the last possible one Redis takes no result; so the stream is
 * deleted, and made again.
 */
static void drop_if_at_end(struct coordinator *c)
{
        if (c->results.last.milliseconds < UINT64_MAX)
                return;
        c->results.last = (struct entry_id){ 0 };
        redis_send(&c->link.commands, NULL, NULL, "DEL %s", c->key_results);
}

static size_t take_stream(struct coordinator *c, const redisReply *reply)
{
        const redisReply *entries;

        if (!redis_is_array(reply, 1) || !redis_is_array(reply->element[0], 2) ||
            !redis_is_array(reply->element[0]->element[1], 0))
                return 0;
        entries = reply->element[0]->element[1];
        for (size_t i = 0; i < entries->elements; ++i)
                take_entry(c, entries->element[i]);
        remove_entries(c, entries);
        drop_if_at_end(c);
        return entries->elements;
}

static void on_read(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;

        c->results.reading = false;
        if (!reply)
                return;
        if (redis_is_error(reply)) {
                if (redis_trouble_is_final(redis_trouble_of(reply)) ||
                    redis_trouble_of(reply) == REDIS_TROUBLE_OTHER) {
                        redis_link_fail(&c->link, redis, reply, "read results");
                } else {
                        redis_note(redis, reply, "read results");
                        redis_link_reset(&c->link, redis->why);
                }
                return;
        }
        /*
         * A read that was sent before the scan's end says nothing about results that came in until
         * then.
         */
        if (take_stream(c, reply) == 0 && c->sync.settling && c->results.scan == c->sync.scan)
                coordinator_settle(c);
}

/*
 * While a scan still has to be settled, the read of an empty stream does not block: sending waits
 * for that.
 */
void coordinator_read(struct coordinator *c)
{
        char id[ENTRY_ID_SIZE];
        uint64_t size =
                sizing_next(&c->pace.sizing, UINT64_MAX, 1) * sizeof(struct ppp_record) + 256;
        unsigned count = (unsigned)MIN(MAX(READ_BYTES / size, UINT64_C(4)), (uint64_t)READ_MAX);
        int r;

        if (c->results.reading || (c->sync.state != SYNC_DONE && c->sync.state != SYNC_SETTLE))
                return;
        entry_id_format(c->results.last, id);
        c->results.scan = c->sync.settling ? c->sync.scan : 0;
        if (c->sync.settling)
                r = redis_send(&c->link.reader, on_read, c, "XREAD COUNT %u STREAMS %s %s", count,
                               c->key_results, id);
        else
                r = redis_send(&c->link.reader, on_read, c, "XREAD COUNT %u BLOCK %d STREAMS %s %s",
                               count, REDIS_LINK_BLOCK_MS, c->key_results, id);
        c->results.reading = r >= 0;
}
