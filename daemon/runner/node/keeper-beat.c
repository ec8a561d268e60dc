/* The keeper and Redis: the node in the list, and the owners that have chunks. */

#include <stdio.h>
#include <sys/random.h>

#include "daemon/runner/node/keeper.h"

#define READ_COUNT 64
#define HEARD_NS   (3 * MACHINES_ANNOUNCE_NS)

int keeper_make_instance(struct keeper *keeper)
{
        uint64_t random[2];

        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                return -errno;
        snprintf(keeper->instance, sizeof(keeper->instance), "%016llx%016llx",
                 (unsigned long long)random[0], (unsigned long long)random[1]);
        return 0;
}

/* The reply to a command that only shows whether Redis takes it. */
static void on_told(struct redis *redis, redisReply *reply, void *userdata)
{
        struct keeper *keeper = userdata;
        enum redis_trouble trouble = reply ? redis_trouble_of(reply) : REDIS_TROUBLE_NONE;

        redis_link_on_kept(redis, reply, &keeper->link);
        if (reply && trouble == REDIS_TROUBLE_NONE)
                keeper->full_said = false;
        if (trouble != REDIS_TROUBLE_FULL || keeper->full_said)
                return;
        redis_note(redis, reply, "tell of this node");
        log_error("%s; trying again until it takes it", redis->why);
        keeper->full_said = true;
}

/*
 * Each owner that has chunks has an entry no older than HEARD_NS. An entry that is later than
 * Redis' own clock is from before the clock was set back, or of another Redis.
 */
static void find_place(struct keeper *keeper, uint64_t now_ms)
{
        struct entry_id heard = { 0 };

        if (keeper->clock_known &&
            entry_id_parse(keeper->heard, strlen(keeper->heard), &heard) >= 0 &&
            heard.milliseconds <= now_ms)
                return;
        heard = (struct entry_id){ now_ms - MIN(HEARD_NS / NSEC_PER_MSEC, now_ms), 0 };
        entry_id_format(heard, keeper->heard);
}

static void tell_of_us(struct keeper *keeper);

static void on_time(struct redis *redis, redisReply *reply, void *userdata)
{
        struct keeper *keeper = userdata;
        bool was_known = keeper->clock_known;
        uint64_t now_ms;

        redis_link_on_kept(redis, reply, &keeper->link);
        if (!reply || !redis_link_read_time(reply, &now_ms))
                return;
        find_place(keeper, now_ms);
        keeper->clock_ms = (int64_t)now_ms - (int64_t)(now_monotonic() / NSEC_PER_MSEC);
        keeper->clock_known = true;
        if (!was_known)
                tell_of_us(keeper);
}

/* Here it is noticed if another node has our name. */
static void on_instance(struct redis *redis, redisReply *reply, void *userdata)
{
        struct keeper *keeper = userdata;

        if (!reply)
                return;
        if (redis_is_error(reply)) {
                if (redis_trouble_is_final(redis_trouble_of(reply)))
                        redis_link_fail(&keeper->link, redis, reply, "tell of this node");
                return;
        }
        if (redis_is_string(reply) && keeper->told && !keeper->twin_said &&
            (reply->len != strlen(keeper->instance) ||
             memcmp(reply->str, keeper->instance, reply->len) != 0)) {
                keeper->twin_said = true;
                log_error("another node is named \"%s\" too; give each a name of its own (name = "
                          "in pppctl.conf(5), section [machines])",
                          keeper->terms.machines.name);
        }
        keeper->told = true;
}

static char *workloads_text(unsigned workloads)
{
        char *text = strdup("");

        for (unsigned i = 0; i < _WORKLOAD_N && text; ++i) {
                char *longer;

                if (!(workloads >> i & 1))
                        continue;
                if (asprintf(&longer, "%s%s%s", text, *text ? " " : "",
                             workload_name((enum workload_id)i)) < 0)
                        longer = NULL;
                free(text);
                text = longer;
        }
        return text;
}

struct totals {
        uint64_t load, done, failed;
};

static struct totals count(const struct keeper *keeper)
{
        struct totals totals = { 0, keeper->n_done, keeper->n_failed };

        for (const struct owner *owner = keeper->owners; owner; owner = owner->next) {
                if (!owner->share)
                        continue;
                totals.load += __atomic_load_n(&owner->share->load, __ATOMIC_RELAXED);
                totals.done += __atomic_load_n(&owner->share->n_done, __ATOMIC_RELAXED);
                totals.failed += __atomic_load_n(&owner->share->n_failed, __ATOMIC_RELAXED);
        }
        return totals;
}

static void tell_of_us(struct keeper *keeper)
{
        const struct machines *machines = &keeper->terms.machines;
        const struct spec *spec = &keeper->terms.spec;
        _cleanup_free_ char *workloads = workloads_text(keeper->terms.workloads);
        _cleanup_free_ char *nodes = key_nodes(machines), *key = key_node(machines, machines->name);
        int64_t now_ms = (int64_t)(now_monotonic() / NSEC_PER_MSEC) + keeper->clock_ms;
        struct redis *redis = &keeper->link.commands;
        struct totals totals = count(keeper);

        if (!workloads || !nodes || !key || keeper->stopping)
                return;
        redis_send(redis, on_instance, keeper, "HGET %s instance", key);
        redis_send(redis, on_told, keeper,
                   "HSET %s version %s level %s workers %u loops %u workloads %s load %llu done "
                   "%llu failed %llu instance %s",
                   key, PPPCTL_VERSION, level_name(spec->level), spec->workers,
                   MAX(spec->loops, 1U), workloads, (unsigned long long)totals.load,
                   (unsigned long long)totals.done, (unsigned long long)totals.failed,
                   keeper->instance);
        redis_send(redis, redis_link_on_kept, &keeper->link, "PEXPIRE %s %llu", key,
                   (unsigned long long)(4 * machines->heartbeat_ns / NSEC_PER_MSEC));
        redis_send(redis, redis_link_on_kept, &keeper->link, "ZADD %s %lld %s", nodes,
                   (long long)now_ms, machines->name);
        /* Nodes whose names are never seen again. */
        redis_send(redis, redis_link_on_kept, &keeper->link, "ZREMRANGEBYSCORE %s -inf (%lld",
                   nodes, (long long)(now_ms - MACHINES_KEY_MS));
        redis_send(redis, redis_link_on_kept, &keeper->link, "EXPIRE %s " MACHINES_KEY_SECONDS,
                   nodes);
}

/*
 * In a cluster all keys that a runner uses have to be in one slot. Runners find that out only when
 * there is a job; asked here, the node ends before somebody waits for it.
 */
static void ask_for_slots(struct keeper *keeper)
{
        const char *argv[1 + _WORKLOAD_N] = { "EXISTS" };
        char *keys[_WORKLOAD_N] = { 0 };
        int n = 0;

        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                if (!(keeper->terms.workloads >> i & 1))
                        continue;
                keys[n] = key_chunks(&keeper->terms.machines, (enum workload_id)i);
                if (!keys[n])
                        break;
                argv[1 + n] = keys[n];
                ++n;
        }
        if (n > 0)
                redis_send_argv(&keeper->link.commands, redis_link_on_kept, &keeper->link, 1 + n,
                                argv, NULL);
        for (int i = 0; i < n; ++i)
                free(keys[i]);
}

void keeper_beat(struct keeper *keeper)
{
        keeper->beat_ns = now_monotonic() + keeper->terms.machines.heartbeat_ns / 4;
        if (!keeper->link.is_up)
                return;
        redis_send(&keeper->link.commands, on_time, keeper, "TIME");
        if (keeper->clock_known)
                tell_of_us(keeper);
        else
                ask_for_slots(keeper);
}

void keeper_say_goodbye(struct keeper *keeper)
{
        const struct machines *machines = &keeper->terms.machines;
        _cleanup_free_ char *nodes = key_nodes(machines), *key = key_node(machines, machines->name);

        if (!keeper->link.is_up || !nodes || !key)
                return;
        redis_send(&keeper->link.commands, NULL, NULL, "ZREM %s %s", nodes, machines->name);
        redis_send(&keeper->link.commands, NULL, NULL, "DEL %s", key);
}

/* Owners */

static void take_entry(struct keeper *keeper, const redisReply *reply)
{
        struct owner_entry entry;
        struct entry_id id;
        const char *why;
        int r = owner_entry_parse(reply, &entry, &id, &why);

        if (id.milliseconds || id.sequence)
                entry_id_format(id, keeper->heard);
        if (r >= 0 && keeper->terms.workloads >> entry.workload & 1)
                owners_hear(keeper, entry.owner);
        if (r >= 0 || keeper->foreign_said)
                return;
        log_error("an entry of the stream of owners is not pppd's: %s; it is ignored, and others "
                  "like it without a word",
                  why);
        keeper->foreign_said = true;
}

static void on_owners(struct redis *redis, redisReply *reply, void *userdata)
{
        struct keeper *keeper = userdata;
        const redisReply *stream;

        keeper->reading = false;
        if (!reply)
                return;
        if (redis_is_error(reply)) {
                if (redis_trouble_is_final(redis_trouble_of(reply))) {
                        redis_link_fail(&keeper->link, redis, reply, "hear of owners");
                } else {
                        redis_note(redis, reply, "hear of owners");
                        redis_link_reset(&keeper->link, redis->why);
                }
                return;
        }
        /* [[key, entries]], or nothing in that time. */
        stream = redis_is_array(reply, 1) ? reply->element[0] : NULL;
        if (!stream || !redis_is_array(stream, 2) || !redis_is_array(stream->element[1], 0))
                return;
        for (size_t i = 0; i < stream->element[1]->elements; ++i)
                take_entry(keeper, stream->element[1]->element[i]);
}

void keeper_listen(struct keeper *keeper)
{
        const struct machines *machines = &keeper->terms.machines;
        uint64_t ms =
                MIN(machines->heartbeat_ns / 4 / NSEC_PER_MSEC, (uint64_t)REDIS_LINK_BLOCK_MS);
        _cleanup_free_ char *key = key_owners(machines);

        if (keeper->reading || keeper->stopping || !keeper->link.is_up || !keeper->clock_known ||
            !key)
                return;
        keeper->reading =
                redis_send(&keeper->link.reader, on_owners, keeper,
                           "XREAD COUNT %d BLOCK %llu STREAMS %s %s", READ_COUNT,
                           (unsigned long long)MAX(ms, UINT64_C(1)), key, keeper->heard) >= 0;
}
