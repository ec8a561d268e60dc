/*
 * Finding out which parts of the job are in Redis: at the beginning, after a loss, and when a chunk
 * stays out for long.
 */

#include <stdio.h>

#include "daemon/runner/machines/coordinator.h"

#include "lib/json-text.h"
#include "lib/patience.h"

#define SCAN_COUNT "32" /* chunks, so at most 32 MiB or so */
#define N_KEYS     2    /* of the job alone: itself and its results */

static void on_made(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;
        enum redis_trouble trouble;

        if (!reply || !redis_is_error(reply))
                return;
        trouble = redis_trouble_of(reply);
        if (trouble == REDIS_TROUBLE_FULL || trouble == REDIS_TROUBLE_READONLY) {
                coordinator_full(c, redis, reply, "make the job's keys");
                c->sync.state = SYNC_JOB;
                c->sync.again = true;
        } else if (redis_trouble_is_final(trouble) ||
                   (trouble == REDIS_TROUBLE_OTHER && strncmp(reply->str, "BUSYGROUP", 9) != 0)) {
                /* Except for the error that the stream exists already, none of this goes away by
                 * waiting. */
                redis_link_fail(&c->link, redis, reply, "make the job's keys");
        }
}

static int add_term(json_t *json, const char *name, uint64_t value)
{
        return value ? json_object_set_new(json, name, json_integer((json_int_t)value)) : 0;
}

/* NULL when out of memory. */
static char *terms_text(const struct spec *spec)
{
        json_t *json = json_object();
        char *text = NULL;

        if (add_term(json, "task_timeout_ns", spec->task_timeout_ns) >= 0 &&
            add_term(json, "retries", spec->retries) >= 0)
                text = json_text(json, JSON_COMPACT);
        json_decref(json);
        return text;
}

/*
 * The stream exists from now on: nodes add to it only if it does, so that nothing is left of a job.
 */
static void make_keys(struct coordinator *c)
{
        const struct spec *spec = &c->runner->spec;
        _cleanup_free_ char *terms = terms_text(spec);
        struct redis *redis = &c->link.commands;

        if (!terms)
                return;
        redis_send(redis, on_made, c, "XGROUP CREATE %s coordinator 0 MKSTREAM", c->key_results);
        redis_send(redis, on_made, c,
                   "HSET %s v " MACHINES_VERSION
                   " workload %s spec %s owner %s coordinator %s state running",
                   c->key_job, workload_name(spec->workload), terms, c->runner->machines->owner,
                   c->runner->machines->name);
        redis_send(redis, on_made, c, "EXPIRE %s " MACHINES_JOB_SECONDS, c->key_job);
        redis_send(redis, on_made, c, "EXPIRE %s " MACHINES_JOB_SECONDS, c->key_results);
}

static void scan_from(struct coordinator *c, const char *from);
static void scan(struct coordinator *c);

static void say_lost(struct coordinator *c)
{
        log_error("Redis has lost what it had of this job (it was started anew without its data, "
                  "emptied, or told to evict); what has no result is sent again");
}

static void on_exists(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;

        if (!reply || c->sync.state != SYNC_JOB || c->sync.again)
                return;
        if (reply->type != REDIS_REPLY_INTEGER) {
                if (redis_is_error(reply) && redis_trouble_is_final(redis_trouble_of(reply)))
                        redis_link_fail(&c->link, redis, reply, "look for the job");
                else
                        redis_link_reset(&c->link, "Redis answers what it was not asked");
                return;
        }
        if (reply->integer < N_KEYS) {
                if (c->sync.created && !c->pace.full)
                        say_lost(c);
                make_keys(c);
        }
        /* Where the stream does not exist, there is nothing to look for. */
        if (reply->integer == 0 && !c->sync.created && c->ledger.out.n == 0) {
                c->sync.created = true;
                c->sync.state = SYNC_DONE;
                return;
        }
        c->sync.created = true;
        c->sync.state = SYNC_SCAN;
        scan(c);
}

void coordinator_sync_down(struct coordinator *c)
{
        c->sync.state = SYNC_DOWN;
        c->sync.scanning = c->sync.settling = false;
}

void coordinator_sync(struct coordinator *c)
{
        c->sync.state = SYNC_JOB;
        c->sync.scanning = c->sync.settling = c->roster.asked = c->sync.again = false;
        /*
         * Results that were read have been removed. And this may be another Redis by now, whose
         * clock is behind.
         */
        c->results.last = (struct entry_id){ 0 };
        if (redis_send(&c->link.commands, on_exists, c, "EXISTS %s %s", c->key_job,
                       c->key_results) < 0)
                redis_link_reset(&c->link, "out of memory");
        coordinator_announce(c);
        coordinator_ask_nodes(c);
}

/* The scan */

/* A chunk of ours that is on the stream: one that we know, or one sent before this process was
 * started. */
static void found(struct coordinator *c, const struct chunk_entry *entry)
{
        struct outstanding *chunk;

        if (entry->first + entry->n > c->runner->results.n_tasks)
                return;
        chunk = outstanding_find(&c->ledger.out, entry->first, entry->n);
        if (!chunk) {
                chunk = ledger_enter(&c->ledger, entry->first, entry->n,
                                     (uint32_t)entry->inputs.size);
                if (!chunk)
                        return;
        }
        chunk->id = entry->id;
        chunk->seen = c->sync.scan;
}

static void on_scan(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;
        struct entry_id id = { 0 };
        char from[ENTRY_ID_SIZE + 1] = "(";

        if (!reply || !c->sync.scanning)
                return;
        if (redis_is_error(reply)) {
                if (redis_trouble_is_final(redis_trouble_of(reply)))
                        redis_link_fail(&c->link, redis, reply, "look for chunks");
                else
                        redis_link_reset(&c->link, reply->str);
                return;
        }
        for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; ++i) {
                struct chunk_entry entry;
                const char *why;

                if (chunk_entry_parse(reply->element[i], &entry, &id, &why) >= 0 &&
                    strlen(c->id) == entry.job.size &&
                    memcmp(c->id, entry.job.data, entry.job.size) == 0)
                        found(c, &entry);
        }
        if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
            (id.milliseconds || id.sequence)) {
                entry_id_format(id, from + 1);
                scan_from(c, from);
                return;
        }
        c->sync.scanning = false;
        c->sync.settling = true;
        /* Nothing is sent before it is known what nodes did in the meantime. */
        if (c->sync.state == SYNC_SCAN)
                c->sync.state = SYNC_SETTLE;
}

static void scan_from(struct coordinator *c, const char *from)
{
        if (redis_send(&c->link.commands, on_scan, c, "XRANGE %s %s + COUNT " SCAN_COUNT,
                       c->key_chunks, from) < 0)
                redis_link_reset(&c->link, "out of memory");
}

/* How long a chunk is out before it is looked for: by then a node that fell silent has lost it. */
static uint64_t scan_age(const struct coordinator *c)
{
        return 2 * c->runner->machines->heartbeat_ns;
}

static void scan(struct coordinator *c)
{
        ++c->sync.scan;
        c->sync.scan_begin_ns = now_monotonic();
        c->sync.scanning = true;
        c->sync.settling = false;
        c->sync.scan_after_ns = c->sync.scan_begin_ns + scan_age(c);
        scan_from(c, "-");
}

/*
 * A chunk leaves the stream in the same transaction that adds its result. So a chunk that was not
 * on the stream, and has no result now that all earlier results were read, is lost.
 */
void coordinator_settle(struct coordinator *c)
{
        struct outstanding *chunk, *next;

        if (!c->sync.settling)
                return;
        c->sync.settling = false;
        if (c->sync.state == SYNC_SETTLE)
                c->sync.state = SYNC_DONE;
        for (chunk = c->ledger.out.first; chunk; chunk = next) {
                next = chunk->next;
                if (chunk->seen == c->sync.scan || chunk->sent_ns >= c->sync.scan_begin_ns ||
                    chunk->asked)
                        continue;
                ++c->ledger.n_resent;
                ledger_close(&c->ledger, chunk);
        }
}

/* The heartbeat */

/*
 * Nodes start a runner for an owner who is announced, and end it when there was no announcement for
 * a while. To announce the owner again and again is cheaper than to keep a list of what each node
 * knows.
 */
void coordinator_announce(struct coordinator *c)
{
        struct redis *redis = &c->link.commands;

        c->sync.announce_ns = now_monotonic() + patience(MACHINES_ANNOUNCE_NS);
        if (!c->link.is_up)
                return;
        redis_send(redis, redis_link_on_kept, &c->link,
                   "XADD %s MAXLEN ~ " MACHINES_OWNERS_LENGTH " * workload %s owner %s",
                   c->key_owners, workload_name(c->runner->spec.workload),
                   c->runner->machines->owner);
        redis_send(redis, redis_link_on_kept, &c->link, "EXPIRE %s " MACHINES_KEY_SECONDS,
                   c->key_owners);
}

/* Asks whether Redis takes anything: it may be the nodes that cannot send. */
static void on_probed(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;

        if (!reply)
                return;
        if (redis_trouble_of(reply) == REDIS_TROUBLE_FULL ||
            redis_trouble_of(reply) == REDIS_TROUBLE_READONLY)
                coordinator_full(c, redis, reply, "refresh the job's keys");
        else
                coordinator_not_full(c);
}

static void keys_lost(struct coordinator *c)
{
        if (c->sync.state != SYNC_DONE || c->sync.scanning)
                return;
        say_lost(c);
        c->results.last = (struct entry_id){ 0 };
        make_keys(c);
        scan(c);
}

static bool is_gone(const redisReply *reply)
{
        return reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0;
}

static void on_refreshed(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;

        redis_link_on_kept(redis, reply, &c->link);
        if (is_gone(reply))
                keys_lost(c);
        else if (reply && c->sync.state == SYNC_DONE && !c->sync.scanning)
                redis_send(redis, on_probed, c, "HSET %s state running", c->key_job);
}

/* Without these keys nodes would run chunks again and again, and could not deliver the results. */
static void on_results_refreshed(struct redis *redis, redisReply *reply, void *userdata)
{
        if (is_gone(reply))
                keys_lost(userdata);
}

void coordinator_beat(struct coordinator *c)
{
        uint64_t now = now_monotonic();
        struct redis *redis = &c->link.commands;

        c->sync.beat_ns = now + c->runner->machines->heartbeat_ns / 4;
        if (c->sync.state != SYNC_DONE)
                return;
        redis_send(redis, on_refreshed, c, "EXPIRE %s " MACHINES_JOB_SECONDS, c->key_job);
        redis_send(redis, on_results_refreshed, c, "EXPIRE %s " MACHINES_JOB_SECONDS,
                   c->key_results);
        redis_send(redis, redis_link_on_kept, &c->link, "EXPIRE %s " MACHINES_KEY_SECONDS,
                   c->key_chunks);
        if (c->ledger.out.first && !c->sync.scanning && !c->sync.settling &&
            now >= c->sync.scan_after_ns && now - c->ledger.out.first->sent_ns >= scan_age(c))
                scan(c);
}
