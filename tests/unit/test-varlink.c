/*
 * The wire of Varlink: framing at every split, descriptors, limits, what peers may do wrong,
 * sending.
 */

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "lib/json-depth.h"
#include "tests/unit/varlink-peer.h"

static void test_one(void)
{
        struct pair p;

        pair_init(&p);
        expect_again(&p.varlink);
        peer_says(p.peer, "{\"n\": 1}\0");
        test_true(!varlink_pending(&p.varlink)); /* still in the socket */
        expect_message(&p.varlink, 1, 0);
        expect_again(&p.varlink);
        pair_deinit(&p);
}

static void test_byte_by_byte(void)
{
        static const char text[] = "{\"n\":7,\"s\":\"\\\\\\\"}{\"}"; /* its own NUL ends it */
        struct pair p;

        pair_init(&p);
        for (int round = 0; round < 3; ++round) {
                for (size_t i = 0; i < sizeof(text) - 1; ++i) {
                        peer_send(p.peer, text + i, 1, NULL, 0);
                        expect_again(&p.varlink);
                        test_true(!varlink_pending(&p.varlink));
                }
                peer_send(p.peer, "", 1, NULL, 0);
                expect_message(&p.varlink, 7, 0);
        }
        pair_deinit(&p);
}

/* Three messages in two packets, cut at every place. */
static void test_every_split(void)
{
        static const char text[] = "{\"n\":1}\0{\"n\":2}\0{\"n\":3}";

        for (size_t cut = 1; cut < sizeof(text); ++cut) {
                int expected = 1;
                struct pair p;

                pair_init(&p);
                peer_send(p.peer, text, cut, NULL, 0);
                for (size_t i = 0; i < cut; ++i)
                        if (!text[i])
                                expect_message(&p.varlink, expected++, 0);
                expect_again(&p.varlink);
                peer_send(p.peer, text + cut, sizeof(text) - cut, NULL, 0);
                while (expected <= 3)
                        expect_message(&p.varlink, expected++, 0);
                expect_again(&p.varlink);
                pair_deinit(&p);
        }
}

static void test_many_in_a_packet(void)
{
        enum { N = 5000 };
        _cleanup_free_ char *packet = malloc(N * 16);
        size_t n = 0;
        struct pair p;

        pair_init(&p);
        test_true(packet);
        for (int i = 0; i < N; ++i)
                n += (size_t)sprintf(packet + n, "{\"n\":%d}", i) + 1;
        peer_send(p.peer, packet, n, NULL, 0);
        for (int i = 0; i < N; ++i) {
                expect_message(&p.varlink, i, 0);
                if (i == 0)
                        test_true(varlink_pending(&p.varlink));
        }
        test_true(!varlink_pending(&p.varlink));
        expect_again(&p.varlink);
        pair_deinit(&p);
}

static void expect_invalid(const char *text, size_t n, const char *why_has)
{
        struct pair p;

        pair_init(&p);
        peer_send(p.peer, text, n, NULL, 0);
        expect_code(&p.varlink, VARLINK_E_INVALID, why_has);
        /* and for good */
        peer_says(p.peer, "{\"n\":1}\0");
        expect_code(&p.varlink, VARLINK_E_INVALID, why_has);
        for (const char *c = p.varlink.why; *c; ++c)
                test_true(*c >= 0x20 && *c < 0x7f);
        pair_deinit(&p);
}

static void test_invalid(void)
{
        static const struct {
                const char *text, *why;
        } cases[] = {
                { "", "not JSON" },
                { "hello", "not JSON" },
                { "17", "not JSON" },
                { "null", "not JSON" },
                { "{\"a\":1", "not JSON" },
                { "{\"a\":1}}", "end of file expected" },
                { "{\"a\":1} {\"b\":2}", "end of file expected" },
                { "{\"a\":1,\"a\":2}", "duplicate" },
                { "{\"a\":\"\\u0000\"}", "\\u0000" },
                { "{\"a\u00e9\":}", "not JSON" },
                { "{\"a\":\"\xff\"}", "not JSON" },
                { "{\"\xff\":1}", "not JSON" },
                { "{\"a\":\"b\" \"\u00fc\"}", "near '\"??\"'" },
                { "{\"a\":1e999}", "not JSON" },
                { "{\"a\":99999999999999999999}", "too big integer" },
                { "[1,2]", "array" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
                expect_invalid(cases[i].text, strlen(cases[i].text) + 1, cases[i].why);
}

static size_t nest(char *to, const char *open, const char *inner, char close, size_t depth)
{
        char *p = to;

        for (size_t i = 0; i < depth; ++i)
                p = stpcpy(p, open);
        p = stpcpy(p, inner);
        memset(p, close, depth);
        p[depth] = 0;
        return (size_t)(p - to) + depth + 1;
}

static void test_nesting(void)
{
        static char text[10000 * 6 + 16];
        struct pair p;

        expect_invalid(text, nest(text, "{\"a\":", "1", '}', 10000), "deeper than 64 levels");
        expect_invalid(text, nest(text, "[", "", ']', 10000), "deeper than 64 levels");
        expect_invalid(text, nest(text, "{\"a\":", "1", '}', JSON_DEPTH_MAX + 1), "deeper");

        pair_init(&p);
        peer_send(p.peer, text, nest(text, "{\"n\":", "1", '}', JSON_DEPTH_MAX), NULL, 0);
        expect_message(&p.varlink, 0, 0);
        /* brackets in strings do not count, whatever is escaped around them */
        nest(text, "[", "\\\"\\\\", '{', 1000);
        memmove(text + 6, text, strlen(text) + 1);
        memcpy(text, "{\"s\":\"", 6);
        strcat(text, "\",\"n\":5}");
        peer_send(p.peer, text, strlen(text) + 1, NULL, 0);
        expect_message(&p.varlink, 5, 0);
        pair_deinit(&p);
}

/*
 * Sends what the peer's socket takes at once, receives in between, up to the first other code than
 * AGAIN.
 */
static int pump(struct pair *p, const char *text, size_t n, struct varlink_message *ret,
                const char **ret_why)
{
        int r = VARLINK_E_AGAIN;

        while (n > 0 && r == VARLINK_E_AGAIN) {
                ssize_t l = send(p->peer, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (l < 0 && errno != EAGAIN)
                        return -errno;
                if (l > 0) {
                        text += l;
                        n -= (size_t)l;
                }
                r = varlink_receive(&p->varlink, ret, ret_why);
        }
        return r;
}

static char *new_long_message(size_t n)
{
        char *text = malloc(n + 1);

        test_true(text);
        memset(text, ' ', n);
        memcpy(text, "{\"n\":3", 6);
        text[n - 1] = '}';
        text[n] = 0;
        return text;
}

static void test_longest(void)
{
        _cleanup_(varlink_message_deinit) struct varlink_message message = VARLINK_MESSAGE_NULL;
        _cleanup_free_ char *text = new_long_message(VARLINK_MESSAGE_MAX);
        const char *why = NULL;
        struct pair p;

        pair_init(&p);
        test_int(pump(&p, text, VARLINK_MESSAGE_MAX + 1, &message, &why), ==, 0);
        test_int(json_integer_value(json_object_get(message.json, "n")), ==, 3);
        test_true(!p.varlink.in); /* the large buffer is given back */
        peer_says(p.peer, "{\"n\":4}\0");
        expect_message(&p.varlink, 4, 0);
        pair_deinit(&p);
}

static void test_too_long(void)
{
        struct varlink_message message = VARLINK_MESSAGE_NULL;
        _cleanup_free_ char *text = new_long_message(VARLINK_MESSAGE_MAX + 1);
        const char *why = NULL;
        struct pair p;

        pair_init(&p);
        /* without its NUL: a message that never ends is refused all the same */
        test_int(pump(&p, text, VARLINK_MESSAGE_MAX + 1, &message, &why), ==, VARLINK_E_INVALID);
        test_contains(why, "longer than 1048576 bytes");
        test_int(p.varlink.size_in, <=, VARLINK_MESSAGE_MAX + 1);
        pair_deinit(&p);
}

static void test_eof(void)
{
        struct pair p;

        pair_init(&p);
        peer_says(p.peer, "{\"n\":1}\0{\"n\":2}\0{\"n\":");
        p.peer = close_fd(p.peer);
        expect_message(&p.varlink, 1, 0);
        expect_message(&p.varlink, 2, 0);
        expect_eof(&p.varlink);
        expect_eof(&p.varlink);
        pair_deinit(&p);
}

/* A peer that closes without having read makes it ECONNRESET. */
static void test_reset(void)
{
        struct pair p;

        pair_init(&p);
        test_int(send(p.varlink.fd, "x", 1, 0), ==, 1);
        peer_says(p.peer, "{\"n\":1}\0");
        p.peer = close_fd(p.peer);
        expect_message(&p.varlink, 1, 0);
        expect_eof(&p.varlink);
        expect_eof(&p.varlink);
        pair_deinit(&p);
}

/* A byte of urgent data is a byte like others; above all poll() must not tell of it for ever. */
static void test_urgent(void)
{
        struct pollfd pollfd = { .events = POLLIN };
        struct pair p;

        pair_init(&p);
        pollfd.fd = p.varlink.fd;
        peer_says(p.peer, "{\"n\"");
        if (send(p.peer, ":", 1, MSG_OOB) < 0) {
                test_int(errno, ==, EOPNOTSUPP); /* before 5.15 */
                pair_deinit(&p);
                return;
        }
        expect_again(&p.varlink);
        test_int(poll(&pollfd, 1, 0), ==, 0);
        peer_says(p.peer, "1}\0");
        expect_message(&p.varlink, 1, 0);
        test_int(poll(&pollfd, 1, 0), ==, 0);
        pair_deinit(&p);
}

static void send_number(struct varlink *varlink, int n, size_t padding, const int *fds,
                        size_t n_fds, int expected)
{
        _cleanup_free_ char *text = malloc(padding + 1);
        json_t *json;

        test_true(text);
        memset(text, 'x', padding);
        text[padding] = 0;
        json = json_pack("{s:i, s:s}", "n", n, "padding", text);
        test_true(json);
        test_int(varlink_send(varlink, json, fds, n_fds), ==, expected);
        json_decref(json);
}

/*
 * More than the socket takes: partial writes, a queue, and each descriptor once, with its message.
 */
static void test_send_queue(void)
{
        enum { N = 20 }; /* each too large for the socket: all writes are partial */
        _cleanup_close_ int fd = new_file();
        size_t before;
        struct varlink reader;
        struct pair p;

        pair_init(&p);
        varlink_init_consume(&reader, steal_fd(&p.peer));
        before = count_fds();
        for (int i = 0; i < N; ++i)
                send_number(&p.varlink, i, 500000, &fd, i % 3 == 0, 0);
        test_true(varlink_wants_write(&p.varlink));
        for (int i = 0; i < N; ++i) {
                struct varlink_message message;
                const char *why = "";
                int r;

                while ((r = varlink_receive(&reader, &message, &why)) == VARLINK_E_AGAIN)
                        test_int(varlink_flush(&p.varlink), ==, 0);
                test_int(r, ==, 0);
                test_int(json_integer_value(json_object_get(message.json, "n")), ==, i);
                test_int(message.n_fds, ==, i % 3 == 0);
                if (message.n_fds > 0)
                        test_int(inode_of(message.fds[0]), ==, inode_of(fd));
                varlink_message_deinit(&message);
        }
        test_true(!varlink_wants_write(&p.varlink));
        test_int(p.varlink.n_out, ==, 0);
        test_int(p.varlink.n_out_fds, ==, 0);
        test_int(count_fds(), ==, before);
        varlink_deinit(&reader);
        pair_deinit(&p);
}

static void test_send_limits(void)
{
        _cleanup_close_ int fd = new_file();
        size_t queued, before = count_fds();
        struct pair p;
        int i;

        pair_init(&p);
        send_number(&p.varlink, 0, VARLINK_MESSAGE_MAX, NULL, 0, -EMSGSIZE);
        test_true(!varlink_wants_write(&p.varlink));
        for (i = 0; p.varlink.n_out + 1000200 <= VARLINK_QUEUE_MAX; ++i)
                send_number(&p.varlink, i, 1000000, NULL, 0, 0);
        test_int(i, >=, 16);
        queued = p.varlink.n_out;
        send_number(&p.varlink, i, 1000000, NULL, 0, -ENOBUFS);
        test_int(p.varlink.n_out, ==, queued);
        pair_deinit(&p);

        pair_init(&p);
        send_number(&p.varlink, 0, 1000000, NULL, 0, 0);
        for (i = 0; i < VARLINK_QUEUE_FDS_MAX; ++i)
                send_number(&p.varlink, i, 1, &fd, 1, 0);
        send_number(&p.varlink, i, 1, &fd, 1, -ENOBUFS);
        send_number(&p.varlink, i, 1, NULL, 0, 0);
        pair_deinit(&p);
        test_int(count_fds(), ==, before);
}

static void test_send_gone(void)
{
        struct pair p;

        pair_init(&p);
        p.peer = close_fd(p.peer);
        /* SIGPIPE would end this program */
        send_number(&p.varlink, 1, 1, NULL, 0, -EPIPE);
        test_int(varlink_flush(&p.varlink), ==, -EPIPE);
        pair_deinit(&p);

        pair_init(&p);
        send_number(&p.varlink, 1, 1, (int[]){ 1000000 }, 1, -EBADF);
        test_true(!varlink_wants_write(&p.varlink));
        pair_deinit(&p);
}

static void test_depth(void)
{
        test_true(!json_depth_exceeds("", 0, 0));
        test_true(json_depth_exceeds("{", 1, 0));
        test_true(!json_depth_exceeds("[][][]", 6, 1));
        test_true(json_depth_exceeds("[[]]", 4, 1));
        test_true(!json_depth_exceeds("]]]]", 4, 0));
        test_true(!json_depth_exceeds("\"[[[", 4, 0));
        test_true(!json_depth_exceeds("\"[\\", 3, 0));
        test_true(!json_depth_exceeds("\"[\\\"[", 5, 0));
        test_true(json_depth_exceeds("\"\\\\\"[", 5, 0));
}

static void test_members(void)
{
        test_true(!json_members_exceed("", 0, 0));
        test_true(!json_members_exceed("[1]", 3, 0));
        test_true(json_members_exceed("[1,2]", 5, 0));
        test_true(!json_members_exceed("[1,2]", 5, 1));
        test_true(!json_members_exceed("[\"1,2,3\"]", 9, 0));
        test_true(json_members_exceed("[\"1\\\"\",2]", 10, 0));
}

static void test_members_of_a_message(void)
{
        struct varlink_message message = VARLINK_MESSAGE_NULL;
        struct pair p;
        const char *why;

        pair_init(&p);
        p.varlink.members_max = 2;
        peer_says(p.peer, "{\"a\":[1,2,3]}\0{\"a\":[1,2,3,4]}\0");
        test_int(varlink_receive(&p.varlink, &message, &why), ==, 0);
        varlink_message_deinit(&message);
        test_int(varlink_receive(&p.varlink, &message, &why), ==, VARLINK_E_INVALID);
        test_contains(why, "more than 2 members");
        pair_deinit(&p);
}

TEST_MAIN("varlink", { "one message", test_one }, { "split byte by byte", test_byte_by_byte },
          { "split at every place", test_every_split },
          { "many in a packet", test_many_in_a_packet }, { "what is no message", test_invalid },
          { "nesting", test_nesting }, { "the longest message", test_longest },
          { "too long", test_too_long }, { "end of the stream", test_eof }, { "reset", test_reset },
          { "urgent data", test_urgent }, { "send queue", test_send_queue },
          { "send limits", test_send_limits }, { "send to nobody", test_send_gone },
          { "depth scan", test_depth }, { "member scan", test_members },
          { "many members", test_members_of_a_message })
