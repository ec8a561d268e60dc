/* TLS to a Redis: whom a connection trusts, and how it ends with servers that are slow or wrong. */

#include "tests/unit/redis-tls-client.h"

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

int main(void)
{
        const struct test_case cases[] = {
                { "files", write_files }, { "names", test_names },     { "trust", test_trust },
                { "ends", test_ends },    { "silence", test_silence },
        };

        return redis_tls_main("redis-tls", cases, ARRAY_SIZE(cases));
}
