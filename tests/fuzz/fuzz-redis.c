/*
 * libFuzzer: any bytes as what a Redis says over its connection, in pieces. Who waits for a reply
 * gets one, or hears that none will come, and exactly once; trouble has its sentence.
 */

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/runner/machines/codec.h"
#include "lib/redis.h"
#include "tests/fuzz/fuzz.h"

#define N_COMMANDS 8

static int listener = -EBADF;
static char path[64];
static unsigned n_answered;

static void remove_socket(void)
{
        (void)unlink(path);
}

static void listen_once(void)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        if (listener >= 0)
                return;
        snprintf(path, sizeof(path), "/tmp/fuzz-redis-%d", (int)getpid());
        strcpy(address.sun_path, path);
        (void)unlink(path);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        fuzz_check(listener >= 0);
        fuzz_check(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
        fuzz_check(listen(listener, 16) == 0);
        atexit(remove_socket);
}

static void answered(struct redis *redis, redisReply *reply, void *userdata)
{
        struct chunk_entry chunk;
        struct result_entry result;
        struct entry_id id;
        const char *why = NULL;

        ++n_answered;
        if (!reply)
                return;
        if (redis_is_error(reply)) {
                fuzz_check(redis_note(redis, reply, "ask") != REDIS_TROUBLE_NONE);
                fuzz_check(strncmp(redis->why, "cannot ask: ", strlen("cannot ask: ")) == 0);
        }
        if (chunk_entry_parse(reply, &chunk, &id, &why) < 0)
                fuzz_check(why);
        why = NULL;
        if (result_entry_parse(reply, &result, &id, &why) < 0)
                fuzz_check(why);
}

/*
 * hiredis makes room for as many elements as an array says it has: that is not what is tested here.
 */
static bool says_too_much(const uint8_t *data, size_t n)
{
        for (size_t i = 0; i < n; ++i) {
                size_t digits = 0;

                if (!strchr("*~%>", data[i]) || data[i] == 0)
                        continue;
                while (i + 1 + digits < n && data[i + 1 + digits] >= '0' &&
                       data[i + 1 + digits] <= '9')
                        ++digits;
                if (digits > 4)
                        return true;
        }
        return false;
}

static void turn(struct redis *redis)
{
        struct pollfd poll_fd = { redis_fd(redis), redis_events(redis), 0 };

        fuzz_check(poll(&poll_fd, 1, 1000) >= 0);
        if (redis_turn(redis, poll_fd.revents) < 0)
                fuzz_check(redis->state == REDIS_CLOSED && redis->trouble != REDIS_TROUBLE_NONE &&
                           redis->why[0]);
}

static void talk(struct redis *redis, int peer, const uint8_t *data, size_t n, size_t size)
{
        char sink[4096];

        for (size_t i = 0; i < n && redis->context; i += size) {
                if (send(peer, data + i, MIN(size, n - i), MSG_NOSIGNAL) < 0)
                        break;
                turn(redis);
                while (recv(peer, sink, sizeof(sink), MSG_DONTWAIT) > 0)
                        continue;
        }
        (void)shutdown(peer, SHUT_RDWR);
        for (int i = 0; i < 100 && redis->context; ++i)
                turn(redis);
        fuzz_check(!redis->context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, n };
        size_t size = 8 * (size_t)fuzz_byte(&fuzz) + 1;
        bool logs_in = fuzz_byte(&fuzz) & 1;
        struct machines machines = MACHINES_NULL;
        struct redis redis = REDIS_NULL;
        unsigned n_sent = 0;
        int peer;

        if (says_too_much(data, n))
                return 0;
        listen_once();
        machines.url.path = path;
        if (logs_in) {
                machines.url.password = (char *)"secret";
                machines.url.db = 3;
        }
        n_answered = 0;
        fuzz_check(redis_open(&redis, &machines, 3600 * NSEC_PER_SEC) == 0);
        peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        fuzz_check(peer >= 0);
        turn(&redis);
        for (; n_sent < N_COMMANDS; ++n_sent)
                fuzz_check(redis_send(&redis, answered, NULL, "XREADGROUP %s", "x") == 0);
        talk(&redis, peer, fuzz.data, fuzz.n, size);
        redis_deinit(&redis);
        fuzz_check(n_answered == n_sent);
        close(peer);
        return 0;
}
