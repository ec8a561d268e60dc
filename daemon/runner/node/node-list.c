/* pppd-runner --nodes: asks Redis once which nodes there are, prints them, and ends. */

#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "daemon/runner/machines/keys.h"
#include "daemon/runner/machines/redis-link.h"
#include "daemon/runner/main.h"
#include "daemon/runner/node/node.h"
#include "lib/json-text.h"
#include "lib/runner-abi.h"

#define TIME_MAX_NS (3 * NSEC_PER_SEC)
/* A little less, so that a silent Redis is named. */
#define SILENCE_NS (2900 * NSEC_PER_MSEC)
#define REPLY_MAX  (UINT64_C(16) << 20)
#define NODES_MAX  32768 /* that are asked for */
#define FIELD_MAX  1024  /* bytes of what a node says of itself */

struct list {
        struct machines machines;
        struct redis redis;
        json_t *nodes;
        uint64_t now_ms;  /* Redis' clock */
        unsigned n_asked; /* questions without an answer yet */
        bool asked, failed;
};

static bool answered(struct list *list, struct redis *redis, const redisReply *reply)
{
        --list->n_asked;
        if (!reply)
                return false;
        if (redis_is_error(reply)) {
                if (!list->failed)
                        redis_note(redis, reply, "list the nodes");
                list->failed = true;
                return false;
        }
        return true;
}

static void on_time(struct redis *redis, redisReply *reply, void *userdata)
{
        struct list *list = userdata;
        uint64_t seconds;

        if (answered(list, redis, reply) && redis_is_array(reply, 2) &&
            redis_is_string(reply->element[0]) &&
            parse_u64(reply->element[0]->str, reply->element[0]->len, INT64_MAX / 1000, &seconds) >=
                    0)
                list->now_ms = seconds * 1000;
}

struct asked_node {
        struct list *list;
        uint64_t seen_ms;
        char name[];
};

static const redisReply *field(const redisReply *reply, const char *name)
{
        for (size_t i = 0; i + 1 < reply->elements; i += 2)
                if (redis_is_string(reply->element[i]) && streq(reply->element[i]->str, name) &&
                    redis_is_string(reply->element[i + 1]) &&
                    reply->element[i + 1]->len <= FIELD_MAX)
                        return reply->element[i + 1];
        return NULL;
}

static json_t *text_of(const redisReply *reply, const char *name)
{
        const redisReply *value = field(reply, name);

        return value ? json_stringn(value->str, value->len) : NULL;
}

static json_t *number_of(const redisReply *reply, const char *name)
{
        const redisReply *value = field(reply, name);
        uint64_t n;

        return value && parse_u64(value->str, value->len, INT64_MAX, &n) >= 0
                       ? json_integer((json_int_t)n)
                       : NULL;
}

static json_t *words_of(const redisReply *reply, const char *name)
{
        const redisReply *value = field(reply, name);
        json_t *list = json_array();
        char *at = value ? value->str : NULL;

        while (list && at) {
                const char *word = strsep(&at, " ");

                if (*word)
                        json_array_append_new(list, json_string(word));
        }
        return list;
}

static void on_node(struct redis *redis, redisReply *reply, void *userdata)
{
        struct asked_node *asked = userdata;
        struct list *list = asked->list;
        json_t *node;

        /* The hash is gone when the node was silent for long; its name shows that it existed. */
        if (answered(list, redis, reply) && redis_is_array(reply, 0)) {
                node = json_pack("{s:s, s:o*, s:o*, s:o*, s:o*, s:o*, s:o*, s:o*, s:f}", "name",
                                 asked->name, "version", text_of(reply, "version"), "level",
                                 text_of(reply, "level"), "workers", number_of(reply, "workers"),
                                 "workloads", words_of(reply, "workloads"), "load",
                                 number_of(reply, "load"), "done", number_of(reply, "done"),
                                 "failed", number_of(reply, "failed"), "last_seen_seconds",
                                 asked->seen_ms < list->now_ms
                                         ? (double)(list->now_ms - asked->seen_ms) / 1e3
                                         : 0.0);
                json_array_append_new(list->nodes, node);
        }
        free(asked);
}

static void ask_node(struct list *list, struct redis *redis, const redisReply *name,
                     const redisReply *score)
{
        struct asked_node *asked = malloc(sizeof(*asked) + name->len + 1);
        _cleanup_free_ char *key = NULL;

        if (!asked)
                return;
        *asked = (struct asked_node){ .list = list,
                                      .seen_ms = (uint64_t)MAX(atof(score->str), 0.0) };
        memcpy(asked->name, name->str, name->len + 1);
        key = key_node(&list->machines, asked->name);
        if (key && redis_send(redis, on_node, asked, "HGETALL %s", key) >= 0)
                ++list->n_asked;
        else
                free(asked);
}

static void on_nodes(struct redis *redis, redisReply *reply, void *userdata)
{
        struct list *list = userdata;

        if (!answered(list, redis, reply) || !redis_is_array(reply, 0))
                return;
        if (reply->elements / 2 > NODES_MAX) {
                list->failed = true;
                snprintf(redis->why, sizeof(redis->why),
                         "there are %zu nodes, more than the %d that are listed at most",
                         reply->elements / 2, NODES_MAX);
                return;
        }
        for (size_t i = 0; i + 1 < reply->elements; i += 2)
                if (redis_is_string(reply->element[i]) && redis_is_string(reply->element[i + 1]) &&
                    machines_text_is_valid(reply->element[i]->str, reply->element[i]->len,
                                           MACHINES_NAME_MAX))
                        ask_node(list, redis, reply->element[i], reply->element[i + 1]);
}

static void ask(struct list *list)
{
        _cleanup_free_ char *nodes = key_nodes(&list->machines);

        list->asked = true;
        if (!nodes)
                return;
        if (redis_send(&list->redis, on_time, list, "TIME") >= 0)
                ++list->n_asked;
        if (redis_send(&list->redis, on_nodes, list, "ZRANGE %s 0 -1 WITHSCORES", nodes) >= 0)
                ++list->n_asked;
}

static int wait_for_answers(struct list *list)
{
        uint64_t end = now_monotonic() + TIME_MAX_NS, now;
        int r = redis_open(&list->redis, &list->machines, SILENCE_NS);

        while (r >= 0 && (now = now_monotonic()) < end) {
                struct pollfd poll_fd = { redis_fd(&list->redis), redis_events(&list->redis), 0 };

                if (poll(&poll_fd, 1, (int)((end - now) / NSEC_PER_MSEC) + 1) < 0 && errno != EINTR)
                        return -errno;
                r = redis_turn(&list->redis, poll_fd.revents);
                /* Then all questions have an answer, too: none. */
                if (r < 0)
                        return r;
                if (list->redis.state == REDIS_READY && !list->asked)
                        ask(list);
                redis_flush(&list->redis);
                if (list->asked && list->n_asked == 0)
                        return list->failed ? -EACCES : 0;
        }
        if (r >= 0)
                snprintf(list->redis.why, sizeof(list->redis.why),
                         "Redis did not answer within 3 s");
        return r < 0 ? r : -ETIMEDOUT;
}

static int read_machines(struct list *list)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *json, *machines;
        int r = runner_read_json(&json);

        if (r < 0)
                return r;
        if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:o}", "machines", &machines) < 0)
                r = fault_say(&fault, -EBADMSG, NULL, "it is not an object \"machines\"");
        else
                r = machines_from_json(machines, &list->machines, &fault);
        if (r < 0)
                log_error("cannot list the nodes: %s", fault.why ?: strerrordesc_np(-r));
        json_decref(json);
        return r;
}

static int print(struct list *list)
{
        json_t *json = json_pack("{s:O}", "nodes", list->nodes);
        _cleanup_free_ char *text = json ? json_text(json, JSON_COMPACT) : NULL;

        json_decref(json);
        if (!text || puts(text) < 0 || fflush(stdout) != 0) {
                log_error("cannot print the nodes: %m");
                return -EIO;
        }
        return 0;
}

int nodes_main(void)
{
        struct list list = { .machines = MACHINES_NULL,
                             .redis = REDIS_NULL,
                             .nodes = json_array() };
        int r;

        signal(SIGPIPE, SIG_IGN);
        list.redis.reply_max = REPLY_MAX;
        r = read_machines(&list);
        if (r >= 0) {
                r = wait_for_answers(&list);
                if (r < 0)
                        log_error("%s", list.redis.why);
                else
                        r = print(&list);
        }
        redis_deinit(&list.redis);
        machines_deinit(&list.machines);
        json_decref(list.nodes);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
