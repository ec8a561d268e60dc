/*
 * machines: workers are nodes, pppds on other machines that share a Redis with this one. Chunks of inputs
 * go out on a stream, records come back on another. What runs them there is a level like those here
 * (node/node.h); this is the coordinator (machines/coordinator.h).
 */

#include <inttypes.h>
#include <stdio.h>

#include "daemon/runner/machines/coordinator.h"

#define LEAVE_NS (1 * NSEC_PER_SEC)     /* to tidy up in Redis, at the end */

void coordinator_condition(struct coordinator *c, enum ppp_condition condition)
{
        __atomic_store_n(&c->runner->results.header->condition, (uint32_t)condition, __ATOMIC_RELAXED);
}

void coordinator_close(struct coordinator *c, struct outstanding *chunk)
{
        uint64_t first = chunk->first, end = first + chunk->n;

        coordinator_fly(c, first, chunk->n, false);
        outstanding_remove(&c->sent, chunk);
        while (first < end) {
                uint64_t n = 0;

                while (first < end && record_state(&c->runner->results.records[first]) != PPP_STATE_NONE)
                        ++first;
                while (first + n < end &&
                       record_state(&c->runner->results.records[first + n]) == PPP_STATE_NONE)
                        ++n;
                /* Without memory to note it, begin again from the first. */
                if (n > 0 && coordinator_send_again(c, first, n) < 0)
                        c->cursor = MIN(c->cursor, first);
                first += n;
        }
}

static void on_up(struct redis_link *link)
{
        struct coordinator *c = container_of(link, struct coordinator, link);

        c->reading = false;
        coordinator_condition(c, PPP_CONDITION_NONE);
        coordinator_sync(c);
}

static void on_down(struct redis_link *link)
{
        struct coordinator *c = container_of(link, struct coordinator, link);

        c->sync = SYNC_DOWN;
        c->reading = c->nodes_asked = c->scanning = c->settling = false;
        coordinator_condition(c, PPP_CONDITION_ENGINE_UNREACHABLE);
}

static const struct redis_link_ops coordinator_ops = { on_up, on_down };

/* The same after a resume, and of no other job: the file's time of creation is in it. */
static char *make_id(const struct runner *runner)
{
        char *id;

        return asprintf(&id, "%s-%s-%" PRIx64, runner->machines->name, runner->job,
                        runner->results.header->created_realtime_ns) < 0 ? NULL : id;
}

static int coordinator_init(struct coordinator *c, struct runner *runner)
{
        const struct machines *machines = runner->machines;
        const struct ppp_results_header *header = runner->results.header;

        *c = (struct coordinator){ .runner = runner };
        redis_link_init(&c->link, machines, &coordinator_ops);
        c->n_recorded = c->rate_n = header->n_done + header->n_failed;
        c->rate_ns = now_monotonic();
        c->id = make_id(runner);
        if (!c->id)
                return -ENOMEM;
        c->key_chunks = key_chunks(machines, runner->spec.workload);
        c->key_job = key_job(machines, c->id);
        c->key_results = key_results(machines, c->id);
        c->key_nodes = key_nodes(machines);
        c->key_owners = key_owners(machines);
        c->in_flight = calloc(runner->results.n_tasks / 8 + 1, 1);
        if (!c->key_chunks || !c->key_job || !c->key_results || !c->key_nodes || !c->key_owners ||
            !c->in_flight)
                return -ENOMEM;
        return 0;
}

static void coordinator_deinit(struct coordinator *c)
{
        redis_link_deinit(&c->link);
        outstanding_deinit(&c->sent);
        coordinator_nodes_free(c);
        free(c->again);
        free(c->in_flight);
        free(c->id);
        free(c->key_chunks);
        free(c->key_job);
        free(c->key_results);
        free(c->key_nodes);
        free(c->key_owners);
}

static bool is_over(const struct coordinator *c)
{
        return c->n_recorded >= c->runner->results.n_tasks || runner_cancelled(c->runner);
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

                if (now >= c->beat_ns)
                        coordinator_beat(c);
                if (now >= c->announce_ns)
                        coordinator_announce(c);
                if (now >= c->nodes_ns)
                        coordinator_ask_nodes(c);
                if (c->sync_again && now >= c->full_until_ns && c->link.is_up)
                        coordinator_sync(c);
                coordinator_read(c);
                coordinator_send(c);
                until = MIN(MIN(c->beat_ns, c->nodes_ns), c->announce_ns);
                if (c->full_until_ns > now)
                        until = MIN(until, c->full_until_ns);
                if (c->probe_until_ns > now)
                        until = MIN(until, c->probe_until_ns);
                r = turn(c, until);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void on_gone(struct redis *redis, redisReply *reply, void *userdata)
{
        struct coordinator *c = userdata;

        /* NULL: the connection broke before Redis said that it has done it. */
        c->gone = reply && !redis_is_error(reply);
}

/* Nodes drop the chunks of a job that is not there. Nobody waits for a Redis that does not answer. */
static void remove_all(struct coordinator *c)
{
        struct redis *redis = &c->link.commands;
        uint64_t end = now_monotonic() + LEAVE_NS;

        /* Answers to what was asked before must not bring the keys back. */
        c->sync = SYNC_DOWN;
        c->scanning = c->settling = false;
        if (!c->link.is_up)
                return;
        for (const struct outstanding *chunk = c->sent.first; chunk; chunk = chunk->next) {
                char id[ENTRY_ID_SIZE];

                if (chunk->asked)
                        continue;
                entry_id_format(chunk->id, id);
                /* Off the list of a node that is dead, too: Redis 6.2 would keep it there for ever. */
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
        if (!c->gone && c->sent.n > 0)
                log_error("Redis does not answer, so the nodes cannot be told that the job is over: what was "
                          "sent to them, %llu tasks, may still be run within the next hour",
                          (unsigned long long)c->sent.n_tasks);
}

static void measure(const struct coordinator *c)
{
        uint64_t n_seen = 0, n_workers = 0;

        for (size_t i = 0; i < c->n_nodes; ++i) {
                n_seen += c->nodes[i]->seen;
                n_workers += c->nodes[i]->seen ? c->nodes[i]->workers : 0;
        }
        measure_integer(c->runner, "workers", n_workers);
        measure_object(c->runner, "machines",
                       json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "nodes", (json_int_t)n_seen,
                                 "chunks_sent", (json_int_t)c->n_sent,
                                 "chunks_resent", (json_int_t)c->n_resent,
                                 "results_duplicate", (json_int_t)c->n_duplicate,
                                 "results_foreign", (json_int_t)c->n_foreign,
                                 "sent_bytes", (json_int_t)c->n_bytes));
        /* For the balance between them. Records of an earlier life have other numbers for the same nodes. */
        c->runner->spec.workers = c->runner->resuming ? 0 : (uint32_t)n_seen;
}

int level_machines_run(struct runner *runner)
{
        struct coordinator c;
        int r = coordinator_init(&c, runner);

        if (r < 0)
                log_error("cannot coordinate the job: %s", strerrordesc_np(-r));
        if (r >= 0)
                r = work(&c);
        if (r >= 0)
                tidy_up(&c);
        coordinator_condition(&c, PPP_CONDITION_NONE);
        measure(&c);
        coordinator_deinit(&c);
        return r;
}
