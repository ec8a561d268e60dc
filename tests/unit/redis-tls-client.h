#pragma once

/* A client that speaks TLS to a Redis, and the parts that a server of such tests is made of. */

#include <hiredis/sds.h>
#include <signal.h>
#include <unistd.h>

#include "lib/redis.h"
#include "tests/unit/test.h"
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

static inline void client_open(struct client *client, const struct tls_server *server, char *host,
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

static inline int client_turn(struct client *client)
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
static inline int client_get_ready(struct client *client)
{
        int r = 0;

        while (r >= 0 && client->redis.state != REDIS_READY)
                r = client_turn(client);
        return r;
}

static inline void on_reply(struct redis *redis, redisReply *reply, void *userdata)
{
        struct client *client = userdata;

        if (!reply) {
                ++client->n_lost;
                return;
        }
        ++client->n_answered;
        client->n_bytes += reply->len;
}

static inline int client_await(struct client *client, unsigned n)
{
        int r = 0;

        while (r >= 0 && client->n_answered < n)
                r = client_turn(client);
        return r;
}

/* Parts of a server */

static inline bool has_shaken(struct tls_server *server, SSL *ssl)
{
        const char *name;
        int n = SSL_do_handshake(ssl);

        name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        snprintf(server->server_name, sizeof(server->server_name), "%s", name ?: "");
        return n == 1;
}

/* Reads until that many more lines have come. */
static inline bool has_read(struct tls_server *server, SSL *ssl, unsigned n)
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

static inline bool has_said(SSL *ssl, const char *text)
{
        return SSL_write(ssl, text, (int)strlen(text)) > 0;
}

/* "*1\r\n$4\r\nPING\r\n" */
#define PING_LINES 3

static inline bool is_ready(struct tls_server *server, SSL *ssl)
{
        return has_shaken(server, ssl) && has_read(server, ssl, PING_LINES) &&
               has_said(ssl, "+PONG\r\n");
}

/* Whatever comes, until the client goes. */
static inline void linger(int fd)
{
        char buffer[4096];

        while (read(fd, buffer, sizeof(buffer)) > 0)
                ;
}

static inline void play_ready(struct tls_server *server, SSL *ssl, int fd)
{
        if (is_ready(server, ssl))
                linger(fd);
}

static inline void write_files(void)
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

/* Runs @cases with an authority, a server's identity, and their files. */
static inline int redis_tls_main(const char *suite, const struct test_case *cases, size_t n)
{
        int status;

        signal(SIGPIPE, SIG_IGN);
        authority = tls_identity_new(NULL, "test authority", NULL, NULL);
        identity = tls_identity_new(&authority, "x", "DNS:redis.example", NULL);
        status = test_main(suite, cases, n);
        unlink(ca_file);
        unlink(junk_file);
        tls_identity_free(&identity);
        tls_identity_free(&authority);
        return status;
}
