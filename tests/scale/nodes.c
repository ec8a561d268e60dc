/*
 * A thousand nodes in one process: each with the two connections, the commands and the heartbeat of
 * a real one (daemon/runner/node/), but tasks of sleep take their time on a timer. So what Redis
 * and the coordinator cost can be seen for more nodes than there are machines.
 *
 *   nodes --redis URL --prefix P --nodes N [--first I] [--workers W] [--heartbeat SECONDS]
 *
 * Prints "ready" when all nodes are listed. After SIGTERM it prints an object: what was done, in
 * which time, and what that cost here; times in seconds.
 */

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "tests/scale/nodes.h"

/* Timers */

static void heap_push(struct simulation *s, struct chunk *chunk)
{
        size_t i = s->n_timers++;

        if (s->n_timers > s->timers_size) {
                s->timers_size = MAX(2 * s->timers_size, (size_t)1024);
                s->timers = must(realloc(s->timers, s->timers_size * sizeof(struct chunk *)));
        }
        for (; i > 0 && s->timers[(i - 1) / 2]->end_ns > chunk->end_ns; i = (i - 1) / 2)
                s->timers[i] = s->timers[(i - 1) / 2];
        s->timers[i] = chunk;
}

static struct chunk *heap_pop(struct simulation *s)
{
        struct chunk *first = s->timers[0], *last = s->timers[--s->n_timers];
        size_t i = 0, child;

        while ((child = 2 * i + 1) < s->n_timers) {
                if (child + 1 < s->n_timers &&
                    s->timers[child + 1]->end_ns < s->timers[child]->end_ns)
                        ++child;
                if (s->timers[child]->end_ns >= last->end_ns)
                        break;
                s->timers[i] = s->timers[child];
                i = child;
        }
        s->timers[i] = last;
        return first;
}

/* Connections */

static void watch(struct node *node, struct redis *redis, unsigned which)
{
        uint32_t events = redis_events(redis) & POLLOUT ? EPOLLIN | EPOLLOUT : EPOLLIN;
        struct epoll_event event = {
                events, { .u64 = 2 * (uint64_t)(node - node->simulation->nodes) + which }
        };
        int op = node->events[which] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

        if (events == node->events[which])
                return;
        if (epoll_ctl(node->simulation->epoll_fd, op, redis_fd(redis), &event) < 0)
                die("cannot watch a connection");
        node->events[which] = events;
}

static void send_touched(struct simulation *s)
{
        for (size_t i = 0; i < s->n_touched; ++i) {
                struct node *node = s->touched[i];

                node->touched = false;
                redis_flush(&node->commands);
                redis_flush(&node->reader);
                watch(node, &node->commands, 0);
                watch(node, &node->reader, 1);
        }
        s->n_touched = 0;
}

/* The way of a chunk */

static void start(struct node *node, struct chunk *chunk)
{
        uint64_t now = now_monotonic();

        ++node->n_busy;
        chunk->end_ns = now + chunk->service_ns;
        heap_push(node->simulation, chunk);
}

void node_start_waiting(struct node *node)
{
        while (node->waiting && node->n_busy < node->simulation->workers) {
                struct chunk *chunk = node->waiting;

                node->waiting = chunk->next;
                if (!node->waiting)
                        node->waiting_end = &node->waiting;
                chunk->next = node->held;
                node->held = chunk;
                start(node, chunk);
        }
}

static uint64_t value_of(const char *text, size_t n)
{
        char input[64];
        uint64_t ns;

        if (n >= sizeof(input))
                die("an input is no time");
        memcpy(input, text, n);
        input[n] = 0;
        if (parse_duration(input, &ns) < 0)
                die("an input is no time");
        return ns;
}

static void on_known(struct redis *redis, redisReply *reply, void *userdata)
{
        if (reply && redis_is_error(reply))
                die(reply->str);
}

void node_take(struct node *node, const redisReply *reply)
{
        struct simulation *s = node->simulation;
        struct chunk_entry entry;
        struct entry_id id;
        struct chunk *chunk;
        const char *why, *at;

        if (reply->type == REDIS_REPLY_NIL)
                return;
        if (chunk_entry_parse(reply, &entry, &id, &why) < 0)
                die(why);
        chunk = must(calloc(1, sizeof(*chunk) + entry.n * sizeof(chunk->values[0])));
        chunk->node = node;
        chunk->id = entry.id;
        chunk->first = entry.first;
        chunk->n = entry.n;
        chunk->taken_ns = now_monotonic();
        chunk->taken_real_ns = now_realtime();
        memcpy(chunk->job, entry.job.data, entry.job.size);
        at = entry.inputs.data;
        for (uint32_t i = 0; i < entry.n; ++i) {
                const char *end =
                        memchr(at, '\n', (size_t)(entry.inputs.data + entry.inputs.size - at));

                chunk->values[i] = value_of(at, (size_t)(end - at));
                chunk->service_ns += chunk->values[i];
                at = end + 1;
        }
        histogram_add(&s->wait, MAX(chunk->taken_real_ns, chunk->id.milliseconds * NSEC_PER_MSEC) -
                                        chunk->id.milliseconds * NSEC_PER_MSEC);
        /* A real one asks for a job it does not know. */
        if (!streq(node->job, chunk->job)) {
                _cleanup_free_ char *key = must(key_job(&node->machines, chunk->job));

                strcpy(node->job, chunk->job);
                if (redis_send(&node->commands, on_known, NULL, "HMGET %s v workload spec", key) <
                    0)
                        die("cannot send");
        }
        *node->waiting_end = chunk;
        node->waiting_end = &chunk->next;
}

unsigned node_n_waiting(const struct node *node)
{
        unsigned n = 0;

        for (const struct chunk *chunk = node->waiting; chunk; chunk = chunk->next)
                ++n;
        return n;
}

static void on_read(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node *node = userdata;

        if (!reply)
                die(redis->why);
        node->reading = false;
        if (redis_is_error(reply))
                die(reply->str);
        if (redis_is_array(reply, 1) && redis_is_array(reply->element[0], 2)) {
                const redisReply *entries = reply->element[0]->element[1];

                for (size_t i = 0; i < entries->elements; ++i)
                        node_take(node, entries->element[i]);
                node_start_waiting(node);
        }
        node_read_more(node);
}

/* One chunk for each worker that has nothing, and one ahead. */
unsigned node_room(const struct node *node)
{
        unsigned wanted = node->simulation->workers + 1, has = node->n_busy + node_n_waiting(node);

        return wanted > has ? wanted - has : 0;
}

void node_read_more(struct node *node)
{
        struct simulation *s = node->simulation;
        unsigned block = (unsigned)MIN(s->heartbeat_ns / 4 / NSEC_PER_MSEC, (uint64_t)BLOCK_MS);
        unsigned room = node_room(node);

        if (!node->up || node->reading || room == 0)
                return;
        if (redis_send(&node->reader, on_read, node,
                       "XREADGROUP GROUP " MACHINES_GROUP " %s COUNT %u BLOCK %u STREAMS %s >",
                       node->machines.name, room, block, s->chunks_key) < 0)
                die("cannot send");
        node->reading = true;
        ++s->n_reads;
        touch(node);
}

static void pack(const struct chunk *chunk, struct ppp_record *records)
{
        uint64_t at = 0;

        for (uint32_t i = 0; i < chunk->n; ++i) {
                records[i] = (struct ppp_record){ .value = chunk->values[i],
                                                  .start_ns = at,
                                                  .end_ns = at + chunk->values[i],
                                                  .state = PPP_STATE_DONE };
                at += chunk->values[i];
        }
}

/*
 * From its sending to that of its result, by Redis' clock, which is ours; without the work itself.
 */
static void note_beyond(struct simulation *s, const struct chunk *chunk)
{
        uint64_t due = chunk->id.milliseconds * NSEC_PER_MSEC + chunk->service_ns;

        histogram_add(&s->beyond, MAX(now_realtime(), due) - due);
}

static void send_finished(struct node *node)
{
        struct simulation *s = node->simulation;
        struct redis *redis = &node->commands;
        char ids[BATCH_MAX][ENTRY_ID_SIZE];
        const char *argv[3 + BATCH_MAX] = { "XACK", s->chunks_key, MACHINES_GROUP };
        int n = 0;

        if (!node->finished)
                return;
        COMMAND(redis, "MULTI");
        while (node->finished && n < BATCH_MAX) {
                struct chunk *chunk = node->finished;
                _cleanup_free_ char *key = must(key_results(&node->machines, chunk->job));
                _cleanup_free_ struct ppp_record *records =
                        must(calloc(chunk->n, sizeof(*records)));

                pack(chunk, records);
                entry_id_format(chunk->id, ids[n]);
                COMMAND(redis,
                        "XADD %s NOMKSTREAM * chunk %s first %llu n %u node %s taken %llu records "
                        "%b",
                        key, ids[n], (unsigned long long)chunk->first, chunk->n,
                        node->machines.name, (unsigned long long)chunk->taken_real_ns, records,
                        chunk->n * sizeof(*records));
                argv[3 + n] = ids[n];
                ++n;
                node->finished = chunk->next;
                node->n_done += chunk->n;
                ++s->n_chunks;
                s->n_tasks += chunk->n;
                note_beyond(s, chunk);
                free(chunk);
        }
        if (redis_send_argv(redis, expect_no_error, NULL, 3 + n, argv, NULL) < 0)
                die("cannot send");
        argv[1] = "XDEL";
        argv[2] = s->chunks_key;
        if (redis_send_argv(redis, expect_no_error, NULL, 2 + n, argv + 1, NULL) < 0)
                die("cannot send");
        COMMAND(redis, "EXEC");
        touch(node);
        if (node->finished)
                send_finished(node);
}

static void finish(struct chunk *chunk)
{
        struct node *node = chunk->node;
        struct chunk **p = &node->held;

        while (*p != chunk)
                p = &(*p)->next;
        *p = chunk->next;
        chunk->next = node->finished;
        node->finished = chunk;
        --node->n_busy;
        histogram_add(&node->simulation->lateness, now_monotonic() - chunk->end_ns);
        touch(node);
}

static void run_timers(struct simulation *s)
{
        uint64_t now = now_monotonic();

        while (s->n_timers > 0 && s->timers[0]->end_ns <= now) {
                struct chunk *chunk = heap_pop(s);

                finish(chunk);
                node_start_waiting(chunk->node);
        }
        /* All that ended in one turn goes out in one transaction a node. */
        for (size_t i = 0; i < s->n_touched; ++i) {
                send_finished(s->touched[i]);
                node_read_more(s->touched[i]);
        }
}

/* The loop */

static void turn(struct simulation *s, struct node *node, unsigned which, uint32_t events)
{
        struct redis *redis = which ? &node->reader : &node->commands;
        short revents =
                (short)((events & EPOLLIN ? POLLIN : 0) | (events & EPOLLOUT ? POLLOUT : 0) |
                        (events & (EPOLLHUP | EPOLLERR) ? POLLHUP : 0));

        if (redis_turn(redis, revents) < 0)
                die(redis->why);
        if (!node->up && node->commands.state == REDIS_READY && node->reader.state == REDIS_READY)
                node_go_up(node);
        touch(node);
}

static int wait_milliseconds(const struct simulation *s)
{
        uint64_t now = now_monotonic(), until = now + 100 * NSEC_PER_MSEC;

        if (s->nodes[s->next_beat].up)
                until = MIN(until, s->nodes[s->next_beat].beat_ns);
        if (s->n_timers > 0)
                until = MIN(until, s->timers[0]->end_ns);
        return until <= now ? 0 : (int)((until - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
}

static void open_some(struct simulation *s, unsigned *opened)
{
        /* Not all at once: a listening socket's queue is finite. */
        for (; *opened < s->n && *opened - s->n_up < 64; ++*opened) {
                struct node *node = &s->nodes[*opened];

                if (redis_open(&node->commands, &node->machines, UINT64_C(60) * NSEC_PER_SEC) < 0)
                        die(node->commands.why);
                if (redis_open(&node->reader, &node->machines, UINT64_C(60) * NSEC_PER_SEC) < 0)
                        die(node->reader.why);
                touch(node);
        }
}

static void loop(struct simulation *s)
{
        struct epoll_event events[512];
        unsigned opened = 0;

        while (!s->ended) {
                int n;

                open_some(s, &opened);
                send_touched(s);
                n = epoll_wait(s->epoll_fd, events, ARRAY_SIZE(events), wait_milliseconds(s));
                if (n < 0 && errno != EINTR)
                        die("epoll_wait failed");
                for (int i = 0; i < n; ++i) {
                        if (events[i].data.u64 == UINT64_MAX)
                                s->ended = true;
                        else
                                turn(s, &s->nodes[events[i].data.u64 / 2], events[i].data.u64 % 2,
                                     events[i].events);
                }
                run_timers(s);
                nodes_beat(s);
        }
}

static int watch_signals(struct simulation *s)
{
        struct epoll_event event = { EPOLLIN, { .u64 = UINT64_MAX } };
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        s->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
        return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->signal_fd, &event);
}

static void make_nodes(struct simulation *s, const char *url)
{
        s->nodes = must(calloc(s->n, sizeof(*s->nodes)));
        s->touched = must(calloc(s->n, sizeof(struct node *)));
        for (unsigned i = 0; i < s->n; ++i) {
                struct node *node = &s->nodes[i];
                _cleanup_fault_ struct fault fault = FAULT_NULL;

                *node = (struct node){ .simulation = s,
                                       .commands = REDIS_NULL,
                                       .reader = REDIS_NULL };
                node->waiting_end = &node->waiting;
                if (redis_url_parse(url, &node->machines.url, &fault) < 0)
                        die(fault.why);
                node->machines.prefix = must(strdup(s->prefix));
                node->machines.owner = must(strdup("host")); /* the job's, as run.py names it */
                node->machines.heartbeat_ns = s->heartbeat_ns;
                if (asprintf(&node->machines.name, "node-%05u", s->first + i) < 0)
                        die("out of memory");
        }
        s->chunks_key = must(key_chunks(&s->nodes[0].machines, WORKLOAD_SLEEP));
        s->look_key = must(key_look(&s->nodes[0].machines, WORKLOAD_SLEEP));
        s->silence_ms = s->heartbeat_ns * 5 / 8 / NSEC_PER_MSEC;
        s->nodes_key = must(key_nodes(&s->nodes[0].machines));
}

static json_t *quantiles(const struct histogram *histogram)
{
        return histogram->n > 0 ? histogram_to_json(histogram) : json_null();
}

static void report(const struct simulation *s)
{
        struct rusage usage;
        json_t *json;

        getrusage(RUSAGE_SELF, &usage);
        json = json_pack("{s:I, s:I, s:I, s:I, s:f, s:I, s:o, s:o, s:o}", "chunks",
                         (json_int_t)s->n_chunks, "tasks", (json_int_t)s->n_tasks, "reads",
                         (json_int_t)s->n_reads, "taken_over", (json_int_t)s->n_taken_over,
                         "cpu_seconds",
                         (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
                         "memory_peak_bytes", (json_int_t)usage.ru_maxrss * 1024, "wait_seconds",
                         quantiles(&s->wait), "beyond_work_seconds", quantiles(&s->beyond),
                         "timer_lateness_seconds", quantiles(&s->lateness));
        json_dumpf(must(json), stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        puts("");
        json_decref(json);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                { "redis", required_argument, NULL, 'r' },
                { "prefix", required_argument, NULL, 'p' },
                { "nodes", required_argument, NULL, 'n' },
                { "first", required_argument, NULL, 'f' },
                { "workers", required_argument, NULL, 'w' },
                { "heartbeat", required_argument, NULL, 'h' },
                { 0 },
        };
        static struct simulation s = { .prefix = MACHINES_PREFIX,
                                       .n = 1000,
                                       .workers = 2,
                                       .heartbeat_ns = MACHINES_HEARTBEAT_NS };
        const char *url = NULL;
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (option == 'r')
                        url = optarg;
                else if (option == 'p')
                        s.prefix = optarg;
                else if (option == 'n')
                        s.n = (unsigned)strtoul(optarg, NULL, 10);
                else if (option == 'f')
                        s.first = (unsigned)strtoul(optarg, NULL, 10);
                else if (option == 'w')
                        s.workers = (unsigned)strtoul(optarg, NULL, 10);
                else if (option != 'h' || parse_duration(optarg, &s.heartbeat_ns) < 0)
                        return 2;
        }
        if (!url || s.n == 0 || s.workers == 0) {
                fprintf(stderr, "nodes: --redis, --nodes and --workers are needed\n");
                return 2;
        }
        /* Who started us is gone: nobody will stop us. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        s.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (s.epoll_fd < 0 || watch_signals(&s) < 0)
                die("cannot watch for signals");
        make_nodes(&s, url);
        loop(&s);
        report(&s);
        return 0;
}
