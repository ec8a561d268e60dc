/* TLS to a Redis: whom a connection trusts, and what it does with servers that are slow, odd or
 * wrong. */

#include "tests/unit/test.h"

#include <hiredis/sds.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include "lib/redis.h"
#include "tests/unit/tls-server.h"

#define SILENCE_NS (20 * NSEC_PER_SEC)
#define SHORT_NS   (200 * NSEC_PER_MSEC)
#define TURNS_MAX  100000

static struct tls_identity authority, identity;
static char ca_file[] = "/tmp/pppctl-test-ca.XXXXXX", junk_file[] = "/tmp/pppctl-test-junk.XXXXXX";
static char loopback[] = "127.0.0.1";

/* A client, and what has become of it. */
struct client {
        struct redis redis;
        struct machines machines;
        unsigned n_turns, n_answered, n_lost;
        uint64_t n_bytes; /* of strings in replies */
};

static void client_open(struct client *client, const struct tls_server *server, char *host,
                        uint64_t silence_ns)
{
        *client = (struct client){ .redis = REDIS_NULL };
        client->machines.url =
                (struct redis_url){ .host = loopback, .port = server->port, .tls = true };
        client->machines.ca_file = ca_file;
        test_int(redis_open(&client->redis, &client->machines, silence_ns), ==, 0);
        /* The host that is meant; no resolver knows those. */
        client->machines.url.host = host;
}

static int client_turn(struct client *client)
{
        struct pollfd poll_fd = { redis_fd(&client->redis), redis_events(&client->redis), 0 };
        uint64_t now = now_monotonic(), deadline = redis_deadline(&client->redis),
                 wait = SILENCE_NS;

        if (deadline != UINT64_MAX)
                wait = deadline > now ? deadline - now : 0;
        test_int(++client->n_turns, <, TURNS_MAX);
        if (poll(&poll_fd, 1, (int)(wait / NSEC_PER_MSEC) + 1) < 0)
                return -errno;
        return redis_turn(&client->redis, poll_fd.revents);
}

/* Until it is ready, or lost: the error. */
static int client_get_ready(struct client *client)
{
        int r = 0;

        while (r >= 0 && client->redis.state != REDIS_READY)
                r = client_turn(client);
        return r;
}

static void on_reply(struct redis *redis, redisReply *reply, void *userdata)
{
        struct client *client = userdata;

        if (!reply) {
                ++client->n_lost;
                return;
        }
        ++client->n_answered;
        client->n_bytes += reply->len;
}

static int client_await(struct client *client, unsigned n)
{
        int r = 0;

        while (r >= 0 && client->n_answered < n)
                r = client_turn(client);
        return r;
}

/* Parts of a server */

static bool has_shaken(struct tls_server *server, SSL *ssl)
{
        const char *name;
        int n = SSL_do_handshake(ssl);

        name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        snprintf(server->server_name, sizeof(server->server_name), "%s", name ?: "");
        return n == 1;
}

/* Reads until that many more lines have come. */
static bool has_read(struct tls_server *server, SSL *ssl, unsigned n)
{
        unsigned char buffer[777];

        while (server->n_lines < n) {
                int l = SSL_read(ssl, buffer, sizeof(buffer));

                if (l <= 0)
                        return false;
                for (int i = 0; i < l; ++i) {
                        server->sum = server->sum * 31 + buffer[i];
                        server->n_lines += buffer[i] == '\n';
                }
        }
        server->n_lines -= n;
        return true;
}

static bool has_said(SSL *ssl, const char *text)
{
        return SSL_write(ssl, text, (int)strlen(text)) > 0;
}

/* "*1\r\n$4\r\nPING\r\n" */
#define PING_LINES 3

static bool is_ready(struct tls_server *server, SSL *ssl)
{
        return has_shaken(server, ssl) && has_read(server, ssl, PING_LINES) &&
               has_said(ssl, "+PONG\r\n");
}

/* Whatever comes, until the client goes. */
static void linger(int fd)
{
        char buffer[4096];

        while (read(fd, buffer, sizeof(buffer)) > 0)
                ;
}

static void play_ready(struct tls_server *server, SSL *ssl, int fd)
{
        if (is_ready(server, ssl))
                linger(fd);
}

/* Names */

static void test_names(void)
{
        const struct {
                const char *name, *names; /* of the certificate */
                const char *host;         /* that is meant */
                const char *why;          /* NULL: it is trusted */
        } cases[] = {
                { "x", "DNS:redis.example", "redis.example", NULL },
                { "x", "DNS:redis.example", "REDIS.Example", NULL },
                { "x", "DNS:a.example,DNS:redis.example", "redis.example", NULL },
                { "x", "DNS:*.there.example", "redis.there.example", NULL },
                { "x", "IP:127.0.0.1", "127.0.0.1", NULL },
                { "x", "IP:::1", "::1", NULL },
                { "x", "IP:::1", "0:0:0:0:0:0:0:1", NULL },
                { "x", "DNS:*.example.org", "redis.there.example.org", "ostname mismatch" },
                { "x", "DNS:r*.there.example", "redis.there.example", "ostname mismatch" },
                { "x", "DNS:redis.example", "redis.example.evil", "ostname mismatch" },
                { "x", "DNS:redis.example", "edis.example", "ostname mismatch" },
                { "x", "IP:127.0.0.2", "127.0.0.1", "IP address mismatch" },
                { "x", "DNS:127.0.0.1", "127.0.0.1", "IP address mismatch" },
                { "x", "IP:127.0.0.1", "localhost", "ostname mismatch" },
                { "redis.example", NULL, "redis.example", "ostname mismatch" },
                { "redis.example", "DNS:other.example", "redis.example", "ostname mismatch" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct tls_identity own =
                        tls_identity_new(&authority, cases[i].name, cases[i].names, NULL);
                struct tls_server server = { .play = play_ready, .identity = &own };
                _cleanup_free_ char *host = strdup(cases[i].host);
                struct client client;
                int r;

                tls_server_start(&server);
                client_open(&client, &server, host, SILENCE_NS);
                r = client_get_ready(&client);
                if ((r < 0) != (cases[i].why != NULL))
                        test_fail_at("%s for %s: %s", cases[i].names, host, client.redis.why);
                if (cases[i].why) {
                        test_contains(client.redis.why, cases[i].why);
                        test_contains(client.redis.why, host);
                        test_contains(client.redis.why, "has to name");
                        test_int(client.redis.trouble, ==, REDIS_TROUBLE_UNUSABLE);
                }
                redis_deinit(&client.redis);
                tls_server_end(&server);
                /* An address is not asked for. */
                test_str(server.server_name,
                         strcasestr(host, "example") || streq(host, "localhost") ? host : "");
                tls_identity_free(&own);
        }
}

static void test_trust(void)
{
        struct tls_identity other = tls_identity_new(NULL, "another authority", NULL, NULL);
        struct tls_identity foreign = tls_identity_new(&other, "x", "DNS:redis.example", NULL);
        struct tls_identity of_clients =
                tls_identity_new(&authority, "x", "DNS:redis.example", "clientAuth");
        static char host[] = "redis.example", gone[] = "/nonexistent/ca.pem";
        const struct {
                const struct tls_identity *identity;
                char *ca_file;
                const char *why, *remedy;
        } cases[] = {
                { &foreign, ca_file, "unable to get local issuer", "ca-file" },
                { &other, ca_file, "self-signed certificate", "ca-file" },
                { &identity, NULL, "unable to get local issuer", "ca-file" },
                { &of_clients, ca_file, "purpose", "certificate" },
                { &identity, gone, "No such file", gone },
                { &identity, junk_file, "no certificate", junk_file },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct tls_server server = { .play = play_ready, .identity = cases[i].identity };
                struct client client;

                tls_server_start(&server);
                client_open(&client, &server, host, SILENCE_NS);
                client.machines.ca_file = cases[i].ca_file;
                test_int(client_get_ready(&client), <, 0);
                test_int(client.redis.trouble, ==, REDIS_TROUBLE_UNUSABLE);
                test_contains(client.redis.why, "rediss://redis.example:");
                test_contains(client.redis.why, cases[i].why);
                test_contains(client.redis.why, cases[i].remedy);
                test_true(!client.redis.context && !client.redis.tls);
                redis_deinit(&client.redis);
                tls_server_end(&server);
        }
        tls_identity_free(&of_clients);
        tls_identity_free(&foreign);
        tls_identity_free(&other);
}

/* Ends */

static void play_close(struct tls_server *server, SSL *ssl, int fd)
{
        (void)shutdown(fd, SHUT_RDWR);
}

static void play_close_later(struct tls_server *server, SSL *ssl, int fd)
{
        char c;

        if (read(fd, &c, 1) == 1)
                (void)shutdown(fd, SHUT_WR);
        linger(fd);
}

static void play_reset(struct tls_server *server, SSL *ssl, int fd)
{
        const struct linger none = { .l_onoff = 1 };
        char c;

        if (read(fd, &c, 1) == 1)
                (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

static void say_raw(int fd, const char *bytes, size_t n)
{
        char c;

        if (read(fd, &c, 1) == 1 && send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n)
                (void)shutdown(fd, SHUT_WR);
        linger(fd);
}

static void play_http(struct tls_server *server, SSL *ssl, int fd)
{
        static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

        say_raw(fd, text, sizeof(text) - 1);
}

static void play_redis_without(struct tls_server *server, SSL *ssl, int fd)
{
        static const char text[] = "-ERR unknown command\r\n";

        say_raw(fd, text, sizeof(text) - 1);
}

static void play_alert(struct tls_server *server, SSL *ssl, int fd)
{
        static const char handshake_failure[] = { 21, 3, 3, 0, 2, 2, 40 };

        say_raw(fd, handshake_failure, sizeof(handshake_failure));
}

static void play_part_of_a_record(struct tls_server *server, SSL *ssl, int fd)
{
        static const char begun[] = { 22, 3, 3, 64, 0, 2 };

        say_raw(fd, begun, sizeof(begun));
}

static void play_handshake(struct tls_server *server, SSL *ssl, int fd)
{
        if (has_shaken(server, ssl))
                linger(fd);
}

static void play_close_after(struct tls_server *server, SSL *ssl, int fd)
{
        if (has_shaken(server, ssl) && has_read(server, ssl, PING_LINES))
                SSL_shutdown(ssl);
}

static void play_full(struct tls_server *server, SSL *ssl, int fd)
{
        if (has_shaken(server, ssl) && has_read(server, ssl, PING_LINES) &&
            has_said(ssl, "-ERR max number of clients reached\r\n"))
                SSL_shutdown(ssl);
}

static void test_ends(void)
{
        const struct {
                void (*play)(struct tls_server *server, SSL *ssl, int fd);
                int version_max;
                bool demands;
                enum redis_trouble trouble;
                const char *why, *remedy;
        } cases[] = {
                { play_close, 0, false, REDIS_TROUBLE_UNREACHABLE, "", "" },
                { play_close_later, 0, false, REDIS_TROUBLE_UNREACHABLE, "closed",
                  "in the TLS handshake" },
                { play_part_of_a_record, 0, false, REDIS_TROUBLE_UNREACHABLE, "closed",
                  "in the TLS handshake" },
                { play_reset, 0, false, REDIS_TROUBLE_UNREACHABLE, "reset", "" },
                { play_http, 0, false, REDIS_TROUBLE_UNUSABLE, "does not speak TLS", "redis://" },
                { play_redis_without, 0, false, REDIS_TROUBLE_UNUSABLE, "does not speak TLS",
                  "redis://" },
                { play_alert, 0, false, REDIS_TROUBLE_UNUSABLE, "handshake failure",
                  "tls-auth-clients" },
                { play_handshake, TLS1_1_VERSION, false, REDIS_TROUBLE_UNUSABLE, "TLS 1.2 or newer",
                  "tls-protocols" },
                { play_handshake, TLS1_2_VERSION, true, REDIS_TROUBLE_UNUSABLE, "handshake failure",
                  "tls-auth-clients" },
                { play_handshake, TLS1_3_VERSION, true, REDIS_TROUBLE_UNUSABLE,
                  "asks its clients for", "tls-auth-clients no" },
                { play_close_after, 0, false, REDIS_TROUBLE_UNREACHABLE, "closed the connection",
                  "" },
                { play_full, 0, false, REDIS_TROUBLE_UNREACHABLE, "max number of clients",
                  "cannot begin" },
        };
        static char host[] = "redis.example";

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct tls_server server = { .play = cases[i].play,
                                             .identity = &identity,
                                             .version_max = cases[i].version_max,
                                             .demands = cases[i].demands };
                struct client client;

                tls_server_start(&server);
                client_open(&client, &server, host, SILENCE_NS);
                test_int(client_get_ready(&client), <, 0);
                test_contains(client.redis.why, cases[i].why);
                test_contains(client.redis.why, cases[i].remedy);
                test_int(client.redis.trouble, ==, cases[i].trouble);
                test_int(client.n_turns, <, 20);
                redis_deinit(&client.redis);
                tls_server_end(&server);
        }
}

static void play_nothing(struct tls_server *server, SSL *ssl, int fd)
{
        linger(fd);
}

/* A byte of a record now and then. */
static void play_drip(struct tls_server *server, SSL *ssl, int fd)
{
        static const char header[] = { 22, 3, 3, 64, 0, 2, 0, 63, (char)252 };
        struct pollfd gone = { fd, POLLRDHUP, 0 };
        size_t i = 0;

        do
                if (send(fd, i < sizeof(header) ? &header[i] : header, 1, MSG_NOSIGNAL) != 1)
                        return;
        while (++i < 16384 && poll(&gone, 1, 20) == 0);
}

/* However little comes meanwhile, the handshake has to end in time; and waiting is waiting. */
static void test_silence(void)
{
        const struct {
                void (*play)(struct tls_server *server, SSL *ssl, int fd);
                unsigned turns_max;
        } cases[] = { { play_nothing, 5 }, { play_drip, 30 } };
        static char host[] = "redis.example";

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct tls_server server = { .play = cases[i].play, .identity = &identity };
                struct client client;

                tls_server_start(&server);
                client_open(&client, &server, host, SHORT_NS);
                test_int(client_get_ready(&client), ==, -ETIMEDOUT);
                test_int(client.redis.trouble, ==, REDIS_TROUBLE_UNREACHABLE);
                test_contains(client.redis.why, "does not answer in the TLS handshake");
                test_int(client.n_turns, <=, cases[i].turns_max);
                redis_deinit(&client.redis);
                tls_server_end(&server);
        }
}

/* At work */

#define MANY 3000

/* All answers in as few records as there can be: none may stay behind in OpenSSL. */
static void play_bulk(struct tls_server *server, SSL *ssl, int fd)
{
        static const char answer[] = "$10\r\n0123456789\r\n";
        const size_t n = sizeof(answer) - 1;
        char text[MANY * (sizeof(answer) - 1)];

        for (size_t i = 0; i < MANY; ++i)
                memcpy(text + i * n, answer, n);
        if (is_ready(server, ssl) && has_read(server, ssl, MANY * PING_LINES) &&
            SSL_write(ssl, text, sizeof(text)) == (int)sizeof(text))
                linger(fd);
}

/* A record a byte. */
static void play_crumbs(struct tls_server *server, SSL *ssl, int fd)
{
        bool goes_on = is_ready(server, ssl) && has_read(server, ssl, MANY * PING_LINES);

        for (size_t i = 0; goes_on && i < MANY; ++i)
                for (const char *c = "$10\r\n0123456789\r\n"; goes_on && *c; ++c)
                        goes_on = SSL_write(ssl, c, 1) == 1;
        if (goes_on)
                linger(fd);
}

/* New keys before each hundred answers, asked for from the client too. */
static void play_new_keys(struct tls_server *server, SSL *ssl, int fd)
{
        bool goes_on = is_ready(server, ssl);

        for (size_t i = 0; goes_on && i < MANY; ++i) {
                if (i % 100 == 0)
                        SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
                goes_on =
                        has_read(server, ssl, PING_LINES) && has_said(ssl, "$10\r\n0123456789\r\n");
        }
        if (goes_on)
                linger(fd);
}

static void test_replies(void)
{
        void (*const plays[])(struct tls_server * server, SSL * ssl, int fd) = {
                play_bulk,
                play_crumbs,
                play_new_keys,
        };
        static char host[] = "redis.example";

        for (size_t i = 0; i < ARRAY_SIZE(plays); ++i) {
                struct tls_server server = { .play = plays[i], .identity = &identity };
                struct client client;

                tls_server_start(&server);
                client_open(&client, &server, host, SILENCE_NS);
                test_int(client_get_ready(&client), ==, 0);
                for (unsigned j = 0; j < MANY; ++j)
                        test_int(redis_send(&client.redis, on_reply, &client, "PING"), ==, 0);
                test_int(client_await(&client, MANY), ==, 0);
                test_int(client.n_bytes, ==, MANY * 10);
                test_int(redis_deadline(&client.redis), ==, UINT64_MAX);
                redis_deinit(&client.redis);
                tls_server_end(&server);
        }
}

/* Several megabytes through a small socket, more of them queued while some are sent, to who is
 * slow. */
#define BLOBS      64
#define BLOB_SIZE  (100 * 1000)
#define BLOB_LINES 5 /* *2, $4, ECHO, its size, itself */

static sem_t may_begin;

static void play_slow_reader(struct tls_server *server, SSL *ssl, int fd)
{
        bool goes_on = is_ready(server, ssl);

        server->sum = 0;
        sem_wait(&may_begin);
        for (size_t i = 0; goes_on && i < BLOBS; ++i)
                goes_on = has_read(server, ssl, BLOB_LINES) && has_said(ssl, "+OK\r\n");
        if (goes_on)
                linger(fd);
}

static uint64_t sum_up(uint64_t sum, const char *bytes, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                sum = sum * 31 + (unsigned char)bytes[i];
        return sum;
}

static void test_much_to_send(void)
{
        struct tls_server server = { .play = play_slow_reader, .identity = &identity };
        static char host[] = "redis.example", blob[BLOB_SIZE];
        struct client client;
        int small = 100 * 1000;
        uint64_t sum = 0;

        test_int(sem_init(&may_begin, 0, 0), ==, 0);
        tls_server_start(&server);
        client_open(&client, &server, host, SILENCE_NS);
        test_int(setsockopt(redis_fd(&client.redis), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)),
                 ==, 0);
        test_int(client_get_ready(&client), ==, 0);
        for (unsigned i = 0; i < BLOBS; ++i) {
                char head[64];
                int n = snprintf(head, sizeof(head), "*2\r\n$4\r\nECHO\r\n$%d\r\n", BLOB_SIZE);

                memset(blob, 'a' + (int)(i % 26), sizeof(blob));
                sum = sum_up(sum, head, (size_t)n);
                sum = sum_up(sum, blob, sizeof(blob));
                sum = sum_up(sum, "\r\n", 2);
                test_int(redis_send(&client.redis, on_reply, &client, "ECHO %b", blob,
                                    sizeof(blob)),
                         ==, 0);
                redis_flush(&client.redis);
        }
        test_int(redis_unsent(&client.redis), >, BLOB_SIZE);
        test_int(redis_events(&client.redis), ==, POLLIN | POLLOUT);
        sem_post(&may_begin);
        test_int(client_await(&client, BLOBS), ==, 0);
        test_int(redis_unsent(&client.redis), ==, 0);
        test_int(redis_events(&client.redis), ==, POLLIN);
        redis_deinit(&client.redis);
        tls_server_end(&server);
        sem_destroy(&may_begin);
        test_true(server.sum == sum);
}

/* What is not TLS after all, in mid-connection. */
static void play_garbage(struct tls_server *server, SSL *ssl, int fd)
{
        static const char forged[] = { 23,  3,   3,   0,   32,  'x', 'x', 'x', 'x', 'x',
                                       'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x',
                                       'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x',
                                       'x', 'x', 'x', 'x', 'x', 'x', 'x' };

        if (is_ready(server, ssl) && has_read(server, ssl, PING_LINES))
                (void)send(fd, forged, sizeof(forged), MSG_NOSIGNAL);
        linger(fd);
}

/* TLS 1.2 could negotiate anew, which nobody needs. */
static void play_renegotiate(struct tls_server *server, SSL *ssl, int fd)
{
        if (!is_ready(server, ssl) || !has_read(server, ssl, PING_LINES))
                return;
        SSL_renegotiate(ssl);
        if (SSL_do_handshake(ssl) == 1)
                has_read(server, ssl, 1);
}

/* Cut off without TLS' own end, half of an answer given. */
static void play_half(struct tls_server *server, SSL *ssl, int fd)
{
        if (is_ready(server, ssl) && has_read(server, ssl, PING_LINES))
                has_said(ssl, "$10\r\n01234");
}

static void test_breaks(void)
{
        const struct {
                void (*play)(struct tls_server *server, SSL *ssl, int fd);
                int version_max;
                const char *why;
        } cases[] = {
                { play_garbage, 0, "the TLS connection broke" },
                { play_garbage, TLS1_2_VERSION, "the TLS connection broke" },
                { play_renegotiate, TLS1_2_VERSION, "the TLS connection broke" },
                { play_half, 0, "closed the connection" },
        };
        static char host[] = "redis.example";

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct tls_server server = { .play = cases[i].play,
                                             .identity = &identity,
                                             .version_max = cases[i].version_max };
                struct client client;

                tls_server_start(&server);
                client_open(&client, &server, host, SILENCE_NS);
                test_int(client_get_ready(&client), ==, 0);
                test_int(redis_send(&client.redis, on_reply, &client, "PING"), ==, 0);
                test_int(client_await(&client, 1), <, 0);
                test_int(client.redis.trouble, ==, REDIS_TROUBLE_UNREACHABLE);
                test_contains(client.redis.why, cases[i].why);
                test_int(client.n_answered, ==, 0);
                test_int(client.n_lost, ==, 1);
                test_int(client.n_turns, <, 20);
                redis_deinit(&client.redis);
                tls_server_end(&server);
        }
}

static void write_files(void)
{
        int fd = mkstemp(ca_file);
        FILE *file = fdopen(fd, "w");

        test_true(file);
        test_int(PEM_write_X509(file, authority.certificate), ==, 1);
        fclose(file);
        fd = mkstemp(junk_file);
        test_int(write(fd, "junk\n", 5), ==, 5);
        close(fd);
}

int main(void)
{
        const struct test_case cases[] = {
                { "files", write_files },
                { "names", test_names },
                { "trust", test_trust },
                { "ends", test_ends },
                { "silence", test_silence },
                { "replies", test_replies },
                { "much to send", test_much_to_send },
                { "breaks", test_breaks },
        };
        int status;

        signal(SIGPIPE, SIG_IGN);
        authority = tls_identity_new(NULL, "test authority", NULL, NULL);
        identity = tls_identity_new(&authority, "x", "DNS:redis.example", NULL);
        status = test_main("redis-tls", cases, ARRAY_SIZE(cases));
        unlink(ca_file);
        unlink(junk_file);
        tls_identity_free(&identity);
        tls_identity_free(&authority);
        return status;
}
