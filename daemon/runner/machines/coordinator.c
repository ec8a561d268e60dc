#include "daemon/runner/machines/coordinator.h"

#include <inttypes.h>
#include <stdio.h>

#define LEAVE_NS (1 * NSEC_PER_SEC) /* to tidy up in Redis, at the end */

void coordinator_condition(struct coordinator *c, enum ppp_condition condition)
{
        __atomic_store_n(&c->runner->results.header->condition, (uint32_t)condition,
                         __ATOMIC_RELAXED);
}

static void on_up(struct redis_link *link)
{
        struct coordinator *c = container_of(link, struct coordinator, link);

        c->results.reading = false;
        coordinator_condition(c, PPP_CONDITION_NONE);
        coordinator_sync(c);
}

static void on_down(struct redis_link *link)
{
        struct coordinator *c = container_of(link, struct coordinator, link);

        coordinator_sync_down(c);
        c->results.reading = c->roster.asked = false;
        coordinator_condition(c, PPP_CONDITION_ENGINE_UNREACHABLE);
}

static const struct redis_link_ops coordinator_ops = { on_up, on_down };

/* The same after a resume, and different from any other job's: the file's time of creation is in
 * it. */
static char *make_id(const struct runner *runner)
{
        char *id;

        return asprintf(&id, "%s-%s-%" PRIx64, runner->machines->name, runner->job,
                        runner->results.header->created_realtime_ns) < 0
                       ? NULL
                       : id;
}

static int init(struct coordinator *c)
{
        const struct machines *machines = c->runner->machines;

        c->id = make_id(c->runner);
        if (!c->id)
                return -ENOMEM;
        c->key_chunks = key_chunks(machines, c->runner->spec.workload);
        c->key_job = key_job(machines, c->id);
        c->key_results = key_results(machines, c->id);
        c->key_nodes = key_nodes(machines);
        c->key_owners = key_owners(machines);
        if (!c->key_chunks || !c->key_job || !c->key_results || !c->key_nodes || !c->key_owners)
                return -ENOMEM;
        return ledger_init(&c->ledger, &c->runner->results);
}

int coordinator_init(struct coordinator *c, struct runner *runner)
{
        int r;

        *c = (struct coordinator){ .runner = runner };
        redis_link_init(&c->link, runner->machines, &coordinator_ops);
        r = init(c);
        if (r < 0)
                log_error("cannot coordinate the job: %s", strerrordesc_np(-r));
        c->pace.rate_n = c->ledger.n_recorded;
        c->pace.rate_ns = now_monotonic();
        return r;
}

void coordinator_deinit(struct coordinator *c)
{
        redis_link_deinit(&c->link);
        ledger_deinit(&c->ledger);
        roster_deinit(&c->roster);
        free(c->id);
        free(c->key_chunks);
        free(c->key_job);
        free(c->key_results);
        free(c->key_nodes);
        free(c->key_owners);
}

static bool is_over(const struct coordinator *c)
{
        return ledger_is_complete(&c->ledger) || runner_cancelled(c->runner);
}

static int turn(struct coordinator *c, uint64_t until)
{
        struct pollfd cancel = { c->runner->cancel_fd, POLLIN, 0 };
        int r = redis_link_turn(&c->link, &cancel, runner_cancelled(c->runner) ? 0 : 1, until);

        if (r < 0)
                log_error("%s", c->link.failed ? c->link.why : strerrordesc_np(-r));
        return r;
}

static int work(struct coordinator *c)
{
        while (!is_over(c)) {
                uint64_t now = now_monotonic(), until;
                int r;

                if (now >= c->sync.beat_ns)
                        coordinator_beat(c);
                if (now >= c->sync.announce_ns)
                        coordinator_announce(c);
                if (now >= c->roster.ask_ns)
                        coordinator_ask_nodes(c);
                if (c->sync.again && now >= c->pace.full_until_ns && c->link.is_up)
                        coordinator_sync(c);
                coordinator_read(c);
                coordinator_send(c);
                until = MIN(MIN(c->sync.beat_ns, c->roster.ask_ns), c->sync.announce_ns);
                if (c->pace.full_until_ns > now)
                        until = MIN(until, c->pace.full_until_ns);
                if (c->pace.probe_until_ns > now)
                        until = MIN(until, c->pace.probe_until_ns);
                r = turn(c, until);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void on_gone(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;

        /* NULL: the connection broke before Redis confirmed it. */
        c->gone = reply && !redis_is_error(reply);
}

/*
 * Nodes drop the chunks of a job that is not there. Nobody waits for a Redis that does not answer.
 */
static void remove_all(struct coordinator *c)
{
        struct redis *redis = &c->link.commands;
        uint64_t end = now_monotonic() + LEAVE_NS;

        /* Replies to earlier commands must not bring the keys back. */
        coordinator_sync_down(c);
        if (!c->link.is_up)
                return;
        for (const struct outstanding *chunk = c->ledger.out.first; chunk; chunk = chunk->next) {
                char id[ENTRY_ID_SIZE];

                if (chunk->asked)
                        continue;
                entry_id_format(chunk->id, id);
                /*
                 * This removes it from the list of a dead node too, where Redis 6.2 would keep it
                 * for ever.
                 */
                redis_send(redis, NULL, NULL, "XACK %s " MACHINES_GROUP " %s", c->key_chunks, id);
                redis_send(redis, NULL, NULL, "XDEL %s %s", c->key_chunks, id);
        }
        if (redis_send(redis, on_gone, c, "DEL %s %s", c->key_job, c->key_results) < 0)
                return;
        while (!c->gone && now_monotonic() < end && c->link.is_up)
                if (turn(c, end) < 0)
                        return;
}

static void tidy_up(struct coordinator *c)
{
        remove_all(c);
        if (!c->gone && c->ledger.out.n > 0)
                log_error(
                        "Redis does not answer, so the nodes cannot be told that the job is over: "
                        "what was sent to them, %llu tasks, may still be run within the next hour",
                        (unsigned long long)c->ledger.out.n_tasks);
}

int coordinator_run(struct coordinator *c)
{
        int r = work(c);

        if (r >= 0)
                tidy_up(c);
        coordinator_condition(c, PPP_CONDITION_NONE);
        return r;
}
