/*
 * The blocking client of Varlink: connecting, calls, replies, being woken, servers that misbehave.
 */

#include <sys/un.h>

#include "tests/unit/varlink-peer.h"

struct reply {
        struct varlink_message message;
        json_t *parameters;
        const char *error, *why;
        bool continues;
};

static int get_reply(struct varlink *varlink, int poll_fd, struct reply *reply)
{
        varlink_message_deinit(&reply->message);
        return varlink_reply(varlink, poll_fd, &reply->message, &reply->parameters, &reply->error,
                             &reply->continues, &reply->why);
}

static void reply_deinit(struct reply *reply)
{
        varlink_message_deinit(&reply->message);
}

#define REPLY_NULL                                         \
        {                                                  \
                .message = VARLINK_MESSAGE_NULL, .why = "" \
        }

/* What the server gets of the call. */
static void expect_call(int peer, const char *expected)
{
        char text[512];
        ssize_t n = recv(peer, text, sizeof(text), MSG_DONTWAIT);

        test_int(n, >, 0);
        test_int(text[n - 1], ==, 0);
        test_str(text, expected);
}

static void test_call(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        json_t *parameters;
        struct pair p;

        pair_init(&p);
        parameters = json_pack("{s:i}", "x", 1);
        test_int(varlink_call(&p.varlink, "a.b.C", parameters, false, NULL, 0), ==, 0);
        expect_call(p.peer, "{\"method\":\"a.b.C\",\"parameters\":{\"x\":1}}");
        test_int(varlink_call(&p.varlink, "a.b.D", json_object(), false, NULL, 0), ==, -EBUSY);
        peer_says(p.peer, "{\"parameters\":{\"y\":2},\"later\":[]}\0");
        test_int(get_reply(&p.varlink, -1, &reply), ==, 0);
        test_int(json_integer_value(json_object_get(reply.parameters, "y")), ==, 2);
        test_true(!reply.error);
        test_true(!reply.continues);

        test_int(varlink_call(&p.varlink, "a.b.E", NULL, false, NULL, 0), ==, 0);
        expect_call(p.peer, "{\"method\":\"a.b.E\"}");
        peer_says(p.peer, "{}\0");
        test_int(get_reply(&p.varlink, -1, &reply), ==, 0);
        test_true(json_is_object(reply.parameters));
        pair_deinit(&p);
}

static void test_error_reply(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        struct pair p;

        pair_init(&p);
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, true, NULL, 0), ==, 0);
        expect_call(p.peer, "{\"method\":\"a.b.C\",\"more\":true}");
        peer_says(p.peer, "{\"error\":\"a.b.No\",\"parameters\":{\"job\":7}}\0");
        test_int(get_reply(&p.varlink, -1, &reply), ==, 0);
        test_str(reply.error, "a.b.No");
        test_int(json_integer_value(json_object_get(reply.parameters, "job")), ==, 7);
        test_true(!reply.continues);
        pair_deinit(&p);
}

static void test_more(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        struct pair p;

        pair_init(&p);
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, true, NULL, 0), ==, 0);
        peer_says(p.peer, "{\"parameters\":{\"i\":0},\"continues\":true}\0"
                          "{\"parameters\":{\"i\":1},\"continues\":true}\0"
                          "{\"parameters\":{\"i\":2}}\0");
        for (int i = 0; i < 3; ++i) {
                test_int(get_reply(&p.varlink, -1, &reply), ==, 0);
                test_int(json_integer_value(json_object_get(reply.parameters, "i")), ==, i);
                test_int(reply.continues, ==, i < 2);
        }
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, false, NULL, 0), ==, 0);
        pair_deinit(&p);
}

static void test_fds(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        _cleanup_(varlink_message_deinit) struct varlink_message call = VARLINK_MESSAGE_NULL;
        _cleanup_close_ int fd = new_file(), got = -EBADF;
        struct varlink server;
        const char *why = "";
        struct pair p;

        pair_init(&p);
        varlink_init_consume(&server, steal_fd(&p.peer));
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, false, &fd, 1), ==, 0);
        test_int(varlink_receive(&server, &call, &why), ==, 0);
        test_int(call.n_fds, ==, 1);
        test_int(varlink_send(&server, call.json, call.fds, 1), ==, 0);
        test_int(get_reply(&p.varlink, -1, &reply), ==, 0);
        got = varlink_message_take_fd(&reply.message, 0);
        test_int(inode_of(got), ==, inode_of(fd));
        varlink_deinit(&server);
        pair_deinit(&p);
}

static void test_poll_fd(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        struct pair p, wake;

        pair_init(&p);
        pair_init(&wake);
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, false, NULL, 0), ==, 0);
        peer_says(wake.peer, "!");
        test_int(get_reply(&p.varlink, wake.varlink.fd, &reply), ==, VARLINK_E_AGAIN);
        /*
         * it comes first even when there is a reply to be read, or a stream of them would starve it
         */
        peer_says(p.peer, "{\"parameters\":{\"y\":2}}\0");
        test_int(get_reply(&p.varlink, wake.varlink.fd, &reply), ==, VARLINK_E_AGAIN);
        test_int(recv(wake.varlink.fd, (char[1]){ 0 }, 1, 0), ==, 1);
        test_int(get_reply(&p.varlink, wake.varlink.fd, &reply), ==, 0);
        test_int(json_integer_value(json_object_get(reply.parameters, "y")), ==, 2);
        pair_deinit(&wake);
        pair_deinit(&p);
}

static void test_bad_replies(void)
{
        static const struct {
                const char *text, *why;
                bool more;
        } cases[] = {
                { "{\"parameters\":[]}", "\"parameters\"", false },
                { "{\"parameters\":null}", "\"parameters\"", false },
                { "{\"error\":1}", "\"error\"", false },
                { "{\"error\":\"\"}", "\"error\"", false },
                { "{\"continues\":1}", "\"continues\"", true },
                { "{\"continues\":true}", "wants one", false },
                { "{\"continues\":true,\"error\":\"a.b.No\"}", "an error", true },
                { "[]", "array", false },
                { "{", "not JSON", false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
                struct pair p;

                pair_init(&p);
                test_int(varlink_call(&p.varlink, "a.b.C", NULL, cases[i].more, NULL, 0), ==, 0);
                peer_send(p.peer, cases[i].text, strlen(cases[i].text) + 1, NULL, 0);
                test_int(get_reply(&p.varlink, -1, &reply), ==, VARLINK_E_INVALID);
                test_contains(reply.why, cases[i].why);
                test_true(!reply.message.json);
                /* and again, without waiting for more */
                test_int(get_reply(&p.varlink, -1, &reply), ==, VARLINK_E_INVALID);
                pair_deinit(&p);
        }
}

static void test_unsolicited(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        struct pair p;

        pair_init(&p);
        peer_says(p.peer, "{\"parameters\":{}}\0");
        test_int(get_reply(&p.varlink, -1, &reply), ==, VARLINK_E_INVALID);
        test_contains(reply.why, "replies to no call");
        pair_deinit(&p);

        pair_init(&p);
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, false, NULL, 0), ==, 0);
        peer_says(p.peer, "{}\0{}\0");
        test_int(get_reply(&p.varlink, -1, &reply), ==, 0);
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, false, NULL, 0), ==, -EPROTO);
        test_int(get_reply(&p.varlink, -1, &reply), ==, VARLINK_E_INVALID);
        pair_deinit(&p);
}

/* A server that refuses a connection says why and closes, perhaps before the call was sent. */
static void test_last_words(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        struct pair p;

        pair_init(&p);
        peer_says(p.peer, "{\"error\":\"a.b.TooMany\"}\0");
        p.peer = close_fd(p.peer);
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, false, NULL, 0), ==, 0);
        test_int(get_reply(&p.varlink, -1, &reply), ==, 0);
        test_str(reply.error, "a.b.TooMany");
        test_int(get_reply(&p.varlink, -1, &reply), ==, VARLINK_E_EOF);
        pair_deinit(&p);
}

/* A peer that will read no more, but has not closed: an error and no endless loop. */
static void test_deaf(void)
{
        _cleanup_(reply_deinit) struct reply reply = REPLY_NULL;
        struct pair p;

        pair_init(&p);
        test_int(shutdown(p.peer, SHUT_RD), ==, 0);
        test_int(varlink_call(&p.varlink, "a.b.C", NULL, false, NULL, 0), ==, 0);
        test_int(get_reply(&p.varlink, -1, &reply), ==, -EPIPE);
        pair_deinit(&p);
}

static int listen_at(const char *name, int dir_fd)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        test_int(fd, >=, 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
        test_int(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
        test_int(listen(fd, 5), ==, 0);
        return fd;
}

static void expect_connected(const char *path, int listener)
{
        _cleanup_close_ int fd = -EBADF, accepted = -EBADF;

        test_int(varlink_connect(path, 0, &fd), ==, 0);
        test_int(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
        accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        test_int(accepted, >=, 0);
}

static void test_connect(void)
{
        char directory[] = "/tmp/test-varlink-XXXXXX", path[512];
        _cleanup_close_ int dir_fd = -EBADF, listener = -EBADF;
        int fd = -EBADF;

        test_true(mkdtemp(directory));
        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        listener = listen_at("s", dir_fd);
        snprintf(path, sizeof(path), "%s/s", directory);
        expect_connected(path, listener);
        /* a path of more than sun_path's 108 bytes to the same socket */
        strcpy(path, directory);
        for (int i = 0; i < 100; ++i)
                strcat(path, "/.");
        strcat(path, "/s");
        expect_connected(path, listener);
        strcat(path, "-not");
        test_int(varlink_connect(path, 0, &fd), ==, -ENOENT);

        snprintf(path, sizeof(path), "%s/s", directory);
        listener = close_fd(listener);
        test_int(varlink_connect(path, 0, &fd), ==, -ECONNREFUSED);
        test_int(unlinkat(dir_fd, "s", 0), ==, 0);
        test_int(varlink_connect(path, 0, &fd), ==, -ENOENT);
        test_int(varlink_connect("", 0, &fd), ==, -EINVAL);
        test_int(fd, ==, -EBADF);
        test_int(rmdir(directory), ==, 0);
}

TEST_MAIN("varlink-client", { "call and reply", test_call }, { "error reply", test_error_reply },
          { "more", test_more }, { "descriptors", test_fds },
          { "woken while waiting", test_poll_fd }, { "replies that are none", test_bad_replies },
          { "unsolicited", test_unsolicited }, { "last words before close", test_last_words },
          { "peer reads no more", test_deaf }, { "connect", test_connect })
