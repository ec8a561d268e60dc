/* TLS to a Redis: replies and commands of any size and in any pieces, and breaks in between. */

#include <semaphore.h>

#include "tests/unit/redis-tls-client.h"

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

int main(void)
{
        const struct test_case cases[] = {
                { "files", write_files },
                { "replies", test_replies },
                { "much to send", test_much_to_send },
                { "breaks", test_breaks },
        };

        return redis_tls_main("redis-tls-work", cases, ARRAY_SIZE(cases));
}
