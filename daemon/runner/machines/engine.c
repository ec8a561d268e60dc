#include "daemon/runner/machines/engine.h"

#include <stdio.h>
#include <sys/socket.h>

#include "daemon/runner/runner.h"

void engine_init(struct engine *engine, const struct machines *machines,
                 const struct engine_ops *ops)
{
        *engine = (struct engine){
                .machines = machines,
                .ops = ops,
                .commands = REDIS_NULL,
                .reader = REDIS_NULL,
                .backoff_ns = ENGINE_RETRY_MIN_NS,
                .begun_ns = now_monotonic(),
        };
}

void engine_deinit(struct engine *engine)
{
        redis_deinit(&engine->commands);
        redis_deinit(&engine->reader);
}

static void take_over(struct engine *engine, const struct redis *redis)
{
        engine->trouble = redis->trouble;
        snprintf(engine->why, sizeof(engine->why), "%s", redis->why);
        engine->failed = engine->failed || redis_trouble_is_final(redis->trouble);
}

void engine_fail(struct engine *engine, struct redis *redis, const redisReply *reply,
                 const char *attempted)
{
        redis_note(redis, reply, attempted);
        take_over(engine, redis);
        engine->failed = true;
}

void engine_on_kept(struct redis *redis, redisReply *reply, void *userdata)
{
        if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                engine_fail(userdata, redis, reply, "keep what is in Redis up to date");
}

bool engine_read_time(const redisReply *reply, uint64_t *ret_ms)
{
        uint64_t seconds, us;

        if (!redis_is_array(reply, 2) || !redis_is_string(reply->element[0]) ||
            !redis_is_string(reply->element[1]) ||
            parse_u64(reply->element[0]->str, reply->element[0]->len, INT64_MAX / 1000, &seconds) < 0 ||
            parse_u64(reply->element[1]->str, reply->element[1]->len, 999999, &us) < 0)
                return false;
        *ret_ms = seconds * 1000 + us / 1000;
        return true;
}

/* One that is being started beside us is not worth a word. */
static bool may_be_starting(const struct engine *engine)
{
        return !engine->was_up && now_monotonic() - engine->begun_ns < NSEC_PER_SEC;
}

static void say_lost(struct engine *engine)
{
        if (engine->said || engine->quiet || may_be_starting(engine))
                return;
        engine->said = true;
        log_error("%s; trying again until it works", engine->why);
}

static void say_found(struct engine *engine)
{
        _cleanup_free_ char *where = NULL;

        if (!engine->said)
                return;
        engine->said = false;
        where = redis_url_to_text(&engine->machines->url);
        log_error("Redis at %s is there%s", where ?: "?", engine->was_up ? " again" : "");
}

static void go_down(struct engine *engine)
{
        bool was_up = engine->is_up;
        uint64_t now = now_monotonic();

        engine->is_up = engine->is_reset = false;
        redis_close(&engine->commands);
        redis_close(&engine->reader);
        /* One that is lost as soon as it is made is made less and less often. */
        if (was_up && now - engine->up_ns >= ENGINE_RETRY_MAX_NS)
                engine->backoff_ns = ENGINE_RETRY_MIN_NS;
        engine->retry_ns = now + engine->backoff_ns;
        engine->backoff_ns = MIN(2 * engine->backoff_ns, ENGINE_RETRY_MAX_NS);
        if (!engine->failed)
                say_lost(engine);
        if (was_up || !engine->was_up)
                engine->ops->down(engine);
}

void engine_reset(struct engine *engine, const char *why)
{
        if (!engine->commands.context)
                return;
        engine->trouble = REDIS_TROUBLE_OTHER;
        snprintf(engine->why, sizeof(engine->why), "%s", why);
        engine->is_reset = true;
        /* Not at once: we are within a reply. */
        shutdown(redis_fd(&engine->commands), SHUT_RDWR);
}

static void go_up(struct engine *engine)
{
        engine->is_up = true;
        say_found(engine);
        engine->was_up = true;
        engine->up_ns = now_monotonic();
        engine->trouble = REDIS_TROUBLE_NONE;
        engine->ops->up(engine);
}

static void lost(struct engine *engine, const struct redis *redis)
{
        /* Where we broke it ourselves, why is known. */
        if (!engine->is_reset)
                take_over(engine, redis);
        go_down(engine);
}

static void open_both(struct engine *engine)
{
        uint64_t silence = engine->machines->heartbeat_ns + 2 * ENGINE_BLOCK_MS * NSEC_PER_MSEC;

        if (redis_open(&engine->commands, engine->machines, silence) < 0)
                lost(engine, &engine->commands);
        else if (redis_open(&engine->reader, engine->machines, silence) < 0)
                lost(engine, &engine->reader);
}

static int wait_for(struct engine *engine, struct pollfd *polls, size_t n, uint64_t until_ns)
{
        struct timespec ts;
        uint64_t now;

        if (engine->commands.context) {
                until_ns = MIN(until_ns, redis_deadline(&engine->commands));
                until_ns = MIN(until_ns, redis_deadline(&engine->reader));
        } else {
                until_ns = MIN(until_ns, engine->retry_ns);
        }
        now = now_monotonic();
        until_ns = until_ns > now ? until_ns - now : 0;
        ts = (struct timespec){ (time_t)(until_ns / NSEC_PER_SEC), (long)(until_ns % NSEC_PER_SEC) };
        if (ppoll(polls, n, &ts, NULL) >= 0)
                return 0;
        for (size_t i = 0; i < n; ++i)
                polls[i].revents = 0;
        return errno == EINTR ? 0 : -errno;
}

static void turn_both(struct engine *engine, const struct pollfd polls[2])
{
        /* Commands first: who reads of a chunk's result should know that it was sent. */
        if (redis_turn(&engine->commands, polls[0].revents) < 0)
                lost(engine, &engine->commands);
        else if (redis_turn(&engine->reader, polls[1].revents) < 0)
                lost(engine, &engine->reader);
        else if (!engine->is_up && engine->commands.state == REDIS_READY &&
                 engine->reader.state == REDIS_READY)
                go_up(engine);
}

int engine_turn(struct engine *engine, struct pollfd *polls, size_t n, uint64_t until_ns)
{
        struct pollfd all[2 + ENGINE_POLLS_MAX];
        int r;

        assert(n <= ENGINE_POLLS_MAX);
        if (!engine->commands.context && now_monotonic() >= engine->retry_ns)
                open_both(engine);
        if (engine->failed)
                return -EACCES;
        redis_flush(&engine->commands);
        redis_flush(&engine->reader);
        all[0] = (struct pollfd){ redis_fd(&engine->commands), redis_events(&engine->commands), 0 };
        all[1] = (struct pollfd){ redis_fd(&engine->reader), redis_events(&engine->reader), 0 };
        for (size_t i = 0; i < n; ++i)
                all[2 + i] = (struct pollfd){ polls[i].fd, polls[i].events, 0 };
        r = wait_for(engine, all, 2 + n, until_ns);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; ++i)
                polls[i].revents = all[2 + i].revents;
        if (engine->commands.context)
                turn_both(engine, all);
        return engine->failed ? -EACCES : 0;
}
