#include "daemon/runner/machines/redis-link.h"

#include <stdio.h>
#include <sys/socket.h>

#include "daemon/runner/runner.h"

void redis_link_init(struct redis_link *link, const struct machines *machines,
                     const struct redis_link_ops *ops)
{
        *link = (struct redis_link){
                .machines = machines,
                .ops = ops,
                .commands = REDIS_NULL,
                .reader = REDIS_NULL,
                .backoff_ns = REDIS_LINK_RETRY_MIN_NS,
                .begun_ns = now_monotonic(),
        };
}

void redis_link_deinit(struct redis_link *link)
{
        redis_deinit(&link->commands);
        redis_deinit(&link->reader);
}

static void take_over(struct redis_link *link, const struct redis *redis)
{
        link->trouble = redis->trouble;
        snprintf(link->why, sizeof(link->why), "%s", redis->why);
        link->failed = link->failed || redis_trouble_is_final(redis->trouble);
}

void redis_link_fail(struct redis_link *link, struct redis *redis, const redisReply *reply,
                     const char *attempted)
{
        redis_note(redis, reply, attempted);
        take_over(link, redis);
        link->failed = true;
}

void redis_link_on_kept(struct redis *redis, redisReply *reply, void *userdata)
{
        if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(userdata, redis, reply, "keep what is in Redis up to date");
}

bool redis_link_read_time(const redisReply *reply, uint64_t *ret_ms)
{
        uint64_t seconds, us;

        if (!redis_is_array(reply, 2) || !redis_is_string(reply->element[0]) ||
            !redis_is_string(reply->element[1]) ||
            parse_u64(reply->element[0]->str, reply->element[0]->len, INT64_MAX / 1000, &seconds) <
                    0 ||
            parse_u64(reply->element[1]->str, reply->element[1]->len, 999999, &us) < 0)
                return false;
        *ret_ms = seconds * 1000 + us / 1000;
        return true;
}

/* A Redis that is just being started beside us is not worth a message. */
static bool may_be_starting(const struct redis_link *link)
{
        return !link->was_up && now_monotonic() - link->begun_ns < NSEC_PER_SEC;
}

static void say_lost(struct redis_link *link)
{
        if (link->said || link->quiet || may_be_starting(link))
                return;
        link->said = true;
        log_error("%s; trying again until it works", link->why);
}

static void say_found(struct redis_link *link)
{
        _cleanup_free_ char *where = NULL;

        if (!link->said)
                return;
        link->said = false;
        where = redis_url_to_text(&link->machines->url);
        log_error("Redis at %s is there%s", where ?: "?", link->was_up ? " again" : "");
}

static void go_down(struct redis_link *link)
{
        bool was_up = link->is_up;
        uint64_t now = now_monotonic();

        link->is_up = link->is_reset = false;
        redis_close(&link->commands);
        redis_close(&link->reader);
        /* A connection that is lost as soon as it is made is tried less and less often. */
        if (was_up && now - link->up_ns >= REDIS_LINK_RETRY_MAX_NS)
                link->backoff_ns = REDIS_LINK_RETRY_MIN_NS;
        link->retry_ns = now + link->backoff_ns;
        link->backoff_ns = MIN(2 * link->backoff_ns, REDIS_LINK_RETRY_MAX_NS);
        if (!link->failed)
                say_lost(link);
        if (was_up || !link->was_up)
                link->ops->down(link);
}

void redis_link_reset(struct redis_link *link, const char *why)
{
        if (!link->commands.context)
                return;
        link->trouble = REDIS_TROUBLE_OTHER;
        snprintf(link->why, sizeof(link->why), "%s", why);
        link->is_reset = true;
        /* Not at once: we are within a reply. */
        shutdown(redis_fd(&link->commands), SHUT_RDWR);
}

static void go_up(struct redis_link *link)
{
        link->is_up = true;
        say_found(link);
        link->was_up = true;
        link->up_ns = now_monotonic();
        link->trouble = REDIS_TROUBLE_NONE;
        link->ops->up(link);
}

static void lost(struct redis_link *link, const struct redis *redis)
{
        /* Where we broke it ourselves, the reason is known. */
        if (!link->is_reset)
                take_over(link, redis);
        go_down(link);
}

static void open_both(struct redis_link *link)
{
        uint64_t silence = link->machines->heartbeat_ns + 2 * REDIS_LINK_BLOCK_MS * NSEC_PER_MSEC;

        if (redis_open(&link->commands, link->machines, silence) < 0)
                lost(link, &link->commands);
        else if (redis_open(&link->reader, link->machines, silence) < 0)
                lost(link, &link->reader);
}

static int wait_for(struct redis_link *link, struct pollfd *polls, size_t n, uint64_t until_ns)
{
        struct timespec ts;
        uint64_t now;

        if (link->commands.context) {
                until_ns = MIN(until_ns, redis_deadline(&link->commands));
                until_ns = MIN(until_ns, redis_deadline(&link->reader));
        } else {
                until_ns = MIN(until_ns, link->retry_ns);
        }
        now = now_monotonic();
        until_ns = until_ns > now ? until_ns - now : 0;
        ts = (struct timespec){ (time_t)(until_ns / NSEC_PER_SEC),
                                (long)(until_ns % NSEC_PER_SEC) };
        if (ppoll(polls, n, &ts, NULL) >= 0)
                return 0;
        for (size_t i = 0; i < n; ++i)
                polls[i].revents = 0;
        return errno == EINTR ? 0 : -errno;
}

static void turn_both(struct redis_link *link, const struct pollfd polls[2])
{
        /* Commands first: whoever reads a chunk's result should know that the chunk was sent. */
        if (redis_turn(&link->commands, polls[0].revents) < 0)
                lost(link, &link->commands);
        else if (redis_turn(&link->reader, polls[1].revents) < 0)
                lost(link, &link->reader);
        else if (!link->is_up && link->commands.state == REDIS_READY &&
                 link->reader.state == REDIS_READY)
                go_up(link);
}

int redis_link_turn(struct redis_link *link, struct pollfd *polls, size_t n, uint64_t until_ns)
{
        struct pollfd all[2 + REDIS_LINK_POLLS_MAX];
        int r;

        assert(n <= REDIS_LINK_POLLS_MAX);
        if (!link->commands.context && now_monotonic() >= link->retry_ns)
                open_both(link);
        if (link->failed)
                return -EACCES;
        redis_flush(&link->commands);
        redis_flush(&link->reader);
        all[0] = (struct pollfd){ redis_fd(&link->commands), redis_events(&link->commands), 0 };
        all[1] = (struct pollfd){ redis_fd(&link->reader), redis_events(&link->reader), 0 };
        for (size_t i = 0; i < n; ++i)
                all[2 + i] = (struct pollfd){ polls[i].fd, polls[i].events, 0 };
        r = wait_for(link, all, 2 + n, until_ns);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; ++i)
                polls[i].revents = all[2 + i].revents;
        if (link->commands.context)
                turn_both(link, all);
        return link->failed ? -EACCES : 0;
}
