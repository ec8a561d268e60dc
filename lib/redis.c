#include "lib/redis.h"

#include <fcntl.h>
#include <hiredis/sds.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/redis-tls.h"

static void describe(struct redis *redis, enum redis_trouble trouble, const char *format, ...)
        _printf_(3, 4);

static void describe(struct redis *redis, enum redis_trouble trouble, const char *format, ...)
{
        va_list ap;

        redis->trouble = trouble;
        va_start(ap, format);
        vsnprintf(redis->why, sizeof(redis->why), format, ap);
        va_end(ap);
}

static void describe_unreachable(struct redis *redis, const char *why)
{
        _cleanup_free_ char *where = redis_url_to_text(&redis->machines->url);

        describe(redis, REDIS_TROUBLE_UNREACHABLE, "cannot reach Redis at %s: %s", where ?: "?",
                 why);
}

static bool begins(const redisReply *reply, const char *word)
{
        size_t n = strlen(word);

        return reply->len >= n && memcmp(reply->str, word, n) == 0;
}

enum redis_trouble redis_trouble_of(const redisReply *reply)
{
        static const struct {
                const char *word;
                enum redis_trouble trouble;
        } words[] = {
                { "LOADING", REDIS_TROUBLE_LOADING },
                { "MASTERDOWN", REDIS_TROUBLE_LOADING },
                { "CLUSTERDOWN", REDIS_TROUBLE_LOADING },
                { "BUSY ", REDIS_TROUBLE_LOADING },
                { "TRYAGAIN", REDIS_TROUBLE_LOADING },
                { "ERR max number of clients", REDIS_TROUBLE_UNREACHABLE },
                { "READONLY", REDIS_TROUBLE_READONLY },
                { "MISCONF", REDIS_TROUBLE_READONLY },
                { "NOREPLICAS", REDIS_TROUBLE_READONLY },
                { "OOM", REDIS_TROUBLE_FULL },
                { "EXECABORT Transaction discarded because of: NOPERM", REDIS_TROUBLE_PERMISSION },
                { "EXECABORT",
                  REDIS_TROUBLE_FULL }, /* a part of it was refused, and that was told */
                { "NOGROUP", REDIS_TROUBLE_NOGROUP },
                { "UNBLOCKED", REDIS_TROUBLE_NOGROUP },
                { "WRONGPASS", REDIS_TROUBLE_PASSWORD },
                { "NOAUTH", REDIS_TROUBLE_PASSWORD },
                { "ERR invalid password", REDIS_TROUBLE_PASSWORD },
                { "ERR AUTH", REDIS_TROUBLE_PASSWORD },
                { "ERR Client sent AUTH", REDIS_TROUBLE_PASSWORD },
                { "DENIED", REDIS_TROUBLE_PASSWORD }, /* protected mode */
                { "ERR DB index", REDIS_TROUBLE_DATABASE },
                { "ERR invalid DB index", REDIS_TROUBLE_DATABASE },
                { "ERR SELECT is not allowed", REDIS_TROUBLE_DATABASE },
                { "NOPERM", REDIS_TROUBLE_PERMISSION },
                { "ERR unknown command", REDIS_TROUBLE_UNUSABLE },
                { "CROSSSLOT", REDIS_TROUBLE_CLUSTER },
                { "MOVED", REDIS_TROUBLE_CLUSTER },
        };

        if (!redis_is_error(reply))
                return REDIS_TROUBLE_NONE;
        for (size_t i = 0; i < ARRAY_SIZE(words); ++i)
                if (begins(reply, words[i].word))
                        return words[i].trouble;
        return REDIS_TROUBLE_OTHER;
}

static const char *remedy(enum redis_trouble trouble)
{
        switch (trouble) {
        case REDIS_TROUBLE_PASSWORD:
                return "; see password-file and username in pppctl.conf(5), section [machines]";
        case REDIS_TROUBLE_DATABASE:
                return "; name one that it has, as the number at the end of redis = in "
                       "pppctl.conf(5), section [machines]: 0 to 15, mostly, and 0 alone in a "
                       "cluster";
        case REDIS_TROUBLE_PERMISSION:
                return "; give the user the commands and keys that docs/machines.md lists (ACL "
                       "SETUSER)";
        case REDIS_TROUBLE_FULL:
                return "; raise its maxmemory, or wait until other jobs have ended";
        case REDIS_TROUBLE_READONLY:
                return "; point it to the primary, and see whether that can save";
        case REDIS_TROUBLE_UNUSABLE:
                return "; Redis 6.2 or newer is needed";
        case REDIS_TROUBLE_CLUSTER:
                return "; in a cluster, put all keys into one slot (prefix = {pppctl}:) and name "
                       "the server that has it";
        case REDIS_TROUBLE_NONE:
        case REDIS_TROUBLE_UNREACHABLE:
        case REDIS_TROUBLE_LOADING:
        case REDIS_TROUBLE_NOGROUP:
        case REDIS_TROUBLE_OTHER:
        default:
                return "";
        }
}

enum redis_trouble redis_note(struct redis *redis, const redisReply *reply, const char *attempted)
{
        enum redis_trouble trouble = redis_trouble_of(reply);
        _cleanup_free_ char *where = redis_url_to_text(&redis->machines->url);
        int length = (int)MIN(reply->len, (size_t)200);

        /* The sentence goes on. */
        if (length > 0 && reply->str[length - 1] == '.')
                --length;
        describe(redis, trouble, "cannot %s: Redis at %s says: %.*s%s", attempted, where ?: "?",
                 length, reply->str, remedy(trouble));
        return trouble;
}

/* The ring of callbacks that wait for a reply. */

static int pending_grow(struct redis *redis)
{
        size_t size = MAX(2 * redis->pending_size, (size_t)64);
        struct redis_pending *bigger = calloc(size, sizeof(*bigger));

        if (!bigger)
                return -ENOMEM;
        for (size_t i = 0; i < redis->n_pending; ++i)
                bigger[i] = redis->pending[(redis->first_pending + i) & (redis->pending_size - 1)];
        free(redis->pending);
        redis->pending = bigger;
        redis->pending_size = size;
        redis->first_pending = 0;
        return 0;
}

static void pending_add(struct redis *redis, redis_reply_fn *fn, void *userdata)
{
        assert(redis->n_pending < redis->pending_size);
        if (redis->n_pending == 0)
                redis->heard_ns = now_monotonic();
        redis->pending[(redis->first_pending + redis->n_pending++) & (redis->pending_size - 1)] =
                (struct redis_pending){ fn, userdata };
}

static struct redis_pending pending_take(struct redis *redis)
{
        struct redis_pending pending = redis->pending[redis->first_pending];

        assert(redis->n_pending > 0);
        redis->first_pending = (redis->first_pending + 1) & (redis->pending_size - 1);
        --redis->n_pending;
        return pending;
}

static int may_send(struct redis *redis)
{
        if (!redis->context || redis->context->err)
                return -ENOTCONN;
        return redis->n_pending == redis->pending_size ? pending_grow(redis) : 0;
}

int redis_send(struct redis *redis, redis_reply_fn *fn, void *userdata, const char *format, ...)
{
        va_list ap;
        int r = may_send(redis);

        if (r < 0)
                return r;
        va_start(ap, format);
        r = redisvAppendCommand(redis->context, format, ap) == REDIS_OK ? 0 : -ENOMEM;
        va_end(ap);
        if (r >= 0)
                pending_add(redis, fn, userdata);
        return r;
}

int redis_send_argv(struct redis *redis, redis_reply_fn *fn, void *userdata, int argc,
                    const char **argv, const size_t *sizes)
{
        int r = may_send(redis);

        if (r < 0)
                return r;
        if (redisAppendCommandArgv(redis->context, argc, argv, sizes) != REDIS_OK)
                return -ENOMEM;
        pending_add(redis, fn, userdata);
        return 0;
}

/* Connecting */

static void context_free(struct redis *redis)
{
        redis_tls_close(redis);
        if (redis->context)
                redisFree(redis->context);
        redis->context = NULL;
        redis->state = REDIS_CLOSED;
}

void redis_close(struct redis *redis)
{
        context_free(redis);
        while (redis->n_pending > 0) {
                struct redis_pending pending = pending_take(redis);

                if (pending.fn)
                        pending.fn(redis, NULL, pending.userdata);
        }
}

void redis_forget(struct redis *redis)
{
        if (redis->context)
                (void)close(redis->context->fd);
        redis->context = NULL;
        redis->tls = NULL;
        redis->state = REDIS_CLOSED;
        redis->n_pending = 0;
}

void redis_deinit(struct redis *redis)
{
        redis_close(redis);
        free(redis->pending);
        *redis = (struct redis)REDIS_NULL;
}

static int lose(struct redis *redis, int error)
{
        redis_close(redis);
        return error;
}

static void describe_plain(struct redis *redis)
{
        const redisContext *context = redis->context;
        const char *why =
                context->err == REDIS_ERR_EOF ? "it closed the connection" : context->errstr;
        char asking[256];

        /* A port for TLS does nothing else with data that is not TLS. */
        if (redis->state == REDIS_GREETING && !redis->machines->url.path) {
                snprintf(asking, sizeof(asking),
                         "%s, and said nothing before; if that is a port for TLS, name it as "
                         "rediss://",
                         why);
                why = asking;
        }
        describe_unreachable(redis, why);
}

/* Used where the connection itself knows why. */
static int lose_broken(struct redis *redis)
{
        if (redis->tls)
                redis_tls_describe(redis);
        else
                describe_plain(redis);
        return lose(redis, -ECONNRESET);
}

/* TCP notices that a peer has vanished when there is something to send. */
static void set_up_socket(const struct redis *redis)
{
        int fd = redis->context->fd, on = 1;
        unsigned milliseconds = (unsigned)(redis->silence_ns / NSEC_PER_MSEC);

        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (redis->machines->url.path)
                return;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
}

int redis_open(struct redis *redis, const struct machines *machines, uint64_t silence_ns)
{
        const struct redis_url *url = &machines->url;

        assert(!redis->context);
        redis->machines = machines;
        redis->silence_ns = silence_ns;
        redis->trouble = REDIS_TROUBLE_NONE;
        redis->context = url->path ? redisConnectUnixNonBlock(url->path)
                                   : redisConnectNonBlock(url->host, url->port);
        if (!redis->context) {
                describe(redis, REDIS_TROUBLE_UNREACHABLE,
                         "cannot connect to Redis: out of memory");
                return -ENOMEM;
        }
        if (redis->context->err) {
                describe_unreachable(redis, redis->context->errstr);
                context_free(redis);
                return -ECONNREFUSED;
        }
        set_up_socket(redis);
        /* Buffers that were large once will be large again. */
        redis->context->reader->maxbuf = 0;
        redis->state = REDIS_CONNECTING;
        redis->heard_ns = now_monotonic();
        redis->reply_size = 0;
        return 0;
}

static void greeted(struct redis *redis, redisReply *reply, void *userdata)
{
        const char *attempted = userdata;

        if (!reply)
                return;
        --redis->n_greetings;
        /* If PING is not allowed, that says nothing about the rest. */
        if (redis_is_error(reply) && redis->trouble == REDIS_TROUBLE_NONE &&
            !(redis->n_greetings == 0 && redis_trouble_of(reply) == REDIS_TROUBLE_PERMISSION))
                redis_note(redis, reply, attempted);
        if (redis->n_greetings == 0 && redis->trouble == REDIS_TROUBLE_NONE)
                redis->state = REDIS_READY;
}

static int greet(struct redis *redis)
{
        static char log_in[] = "log in", choose[] = "choose the database", begin[] = "begin";
        const struct redis_url *url = &redis->machines->url;
        int r = 0;

        redis->state = REDIS_GREETING;
        redis->n_greetings = 1 + (url->password != NULL) + (url->db != 0);
        if (url->password && url->username)
                r = redis_send(redis, greeted, log_in, "AUTH %s %s", url->username, url->password);
        else if (url->password)
                r = redis_send(redis, greeted, log_in, "AUTH %s", url->password);
        if (r >= 0 && url->db)
                r = redis_send(redis, greeted, choose, "SELECT %d", (int)url->db);
        /* This comes last, because its reply shows whether Redis serves us at all. */
        return r < 0 ? r : redis_send(redis, greeted, begin, "PING");
}

/* Data that is queued before Redis has shown who it is stays queued. */
static int secure(struct redis *redis)
{
        int r = redis_tls_handshake(redis);

        if (r < 0)
                return lose_broken(redis);
        r = r > 0 ? greet(redis) : 0;
        return r < 0 ? lose(redis, r) : 0;
}

static int connected(struct redis *redis)
{
        int error = 0, r;
        socklen_t n = sizeof(error);

        if (getsockopt(redis->context->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
                error = errno;
        if (error) {
                describe_unreachable(redis, strerrordesc_np(error));
                return lose(redis, -error);
        }
        if (!redis->machines->url.tls) {
                r = greet(redis);
                return r < 0 ? lose(redis, r) : 0;
        }
        r = redis_tls_open(redis);
        if (r < 0)
                return lose(redis, r);
        redis->state = REDIS_SECURING;
        return secure(redis);
}

/* At work */

size_t redis_unsent(const struct redis *redis)
{
        return redis->context && redis->context->obuf ? sdslen(redis->context->obuf) : 0;
}

short redis_events(const struct redis *redis)
{
        if (redis->state == REDIS_CONNECTING)
                return POLLOUT;
        if (redis->tls)
                return redis_tls_events(redis);
        return redis_unsent(redis) > 0 ? POLLIN | POLLOUT : POLLIN;
}

uint64_t redis_deadline(const struct redis *redis)
{
        bool waits = redis->context && (redis->n_pending > 0 || redis->state < REDIS_GREETING);

        return waits ? redis->heard_ns + redis->silence_ns : UINT64_MAX;
}

static int send_queued(struct redis *redis)
{
        int done;

        if (redis->state < REDIS_GREETING || redis_unsent(redis) == 0)
                return 0;
        if (redis->tls)
                return redis_tls_write(redis);
        return redisBufferWrite(redis->context, &done) == REDIS_OK ? 0 : -ECONNRESET;
}

void redis_flush(struct redis *redis)
{
        if (redis->context && !redis->context->err)
                (void)send_queued(redis);
}

/*
 * All of a reply is kept until its end. A reply without an end would be kept until memory runs out.
 */
static int check_size(struct redis *redis)
{
        uint64_t max = redis->reply_max ?: REDIS_REPLY_MAX;
        char why[96];

        if (redis->reply_size <= max)
                return 0;
        snprintf(why, sizeof(why), "an answer of it is longer than %llu MiB, which none should be",
                 (unsigned long long)(max >> 20));
        describe_unreachable(redis, why);
        return lose(redis, -EMSGSIZE);
}

static int hand_out(struct redis *redis)
{
        void *reply;

        for (;;) {
                struct redis_pending pending;

                if (redisReaderGetReply(redis->context->reader, &reply) != REDIS_OK) {
                        describe_unreachable(redis,
                                             "what answers there does not speak its protocol");
                        return lose(redis, -EPROTO);
                }
                if (!reply)
                        return check_size(redis);
                redis->reply_size = redis->context->reader->len - redis->context->reader->pos;
                if (redis->n_pending == 0) {
                        /*
                         * An unasked message is the reason for which it closes the connection: too
                         * many clients, for example.
                         */
                        if (redis_is_error(reply))
                                redis_note(redis, reply, "talk to it");
                        else
                                describe_unreachable(redis, "it says what it was not asked");
                        freeReplyObject(reply);
                        return lose(redis, -EPROTO);
                }
                pending = pending_take(redis);
                if (pending.fn)
                        pending.fn(redis, reply, pending.userdata);
                freeReplyObject(reply);
        }
}

static int read_some(struct redis *redis)
{
        if (redis->tls)
                return redis_tls_read(redis);
        return redisBufferRead(redis->context) == REDIS_OK ? 0 : -ECONNRESET;
}

static int receive(struct redis *redis)
{
        size_t before = redis->context->reader->len;
        int r = read_some(redis);

        redis->reply_size += redis->context->reader->len - before;
        if (r < 0) {
                /* Data that came with the end counts, if it says why. */
                if (hand_out(redis) < 0)
                        return -ECONNRESET;
                return redis->trouble != REDIS_TROUBLE_NONE && redis->state == REDIS_GREETING
                               ? lose(redis, -EPROTO)
                               : lose_broken(redis);
        }
        redis->heard_ns = now_monotonic();
        return hand_out(redis);
}

static bool may_read(const struct redis *redis, short revents)
{
        return redis->tls ? redis_tls_may_read(redis, revents)
                          : revents & (POLLIN | POLLHUP | POLLERR);
}

/* The steps before both sides talk. */
static int turn_early(struct redis *redis, short revents)
{
        if (!revents)
                return 0;
        return redis->state == REDIS_CONNECTING ? connected(redis) : secure(redis);
}

int redis_turn(struct redis *redis, short revents)
{
        int r = 0;

        if (!redis->context)
                return -ENOTCONN;
        if (redis->state < REDIS_GREETING)
                r = turn_early(redis, revents);
        else if (may_read(redis, revents))
                r = receive(redis);
        if (r < 0)
                return r;
        if (redis->state == REDIS_GREETING && redis->n_greetings == 0)
                return lose(redis, -EPROTO); /* greeted() has said why */
        if (send_queued(redis) < 0)
                return lose_broken(redis);
        if (now_monotonic() >= redis_deadline(redis)) {
                describe_unreachable(redis, redis->state == REDIS_SECURING
                                                    ? "it does not answer in the TLS handshake; is "
                                                      "that its port for TLS?"
                                                    : "it does not answer");
                return lose(redis, -ETIMEDOUT);
        }
        return 0;
}
