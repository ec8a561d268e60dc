/*
 * One client of the supervisor, over a socket pair: calls are answered one after the other, and the
 * next is not read before the reply to the last was taken.
 */

#include "daemon/supervisor/api/peer.h"
#include "tests/unit/varlink-peer.h"

/* More than any of these takes; a loop that turns for ever fails. */
#define EVENTS_MAX 1000

static sd_event *event;
static struct turns turns;
static struct peer_owner owner;
static struct peer *peer;
static struct varlink client;

static unsigned n_messages, n_gone;
static bool may_shorten;
static enum call_kind answer_by; /* CALL_NONE: at once */
static bool is_oneway;
static size_t padding; /* bytes of a reply beyond what it says */

static json_t *numbered(unsigned n)
{
        _cleanup_free_ char *text = calloc(1, padding + 1);

        memset(text, 'x', padding);
        return json_pack("{s:i, s:s}", "n", (int)n, "padding", text);
}

static void on_message(struct peer *from, struct varlink_message *message)
{
        test_true(from == peer);
        ++n_messages;
        from->call.oneway = is_oneway;
        if (answer_by == CALL_NONE)
                peer_reply(from, numbered(n_messages), false, NULL, 0);
        else
                from->call.kind = answer_by;
        from->call.left = 3;
}

static void on_stream(struct peer *to)
{
        unsigned n = (unsigned)to->call.left--;

        peer_reply(to, numbered(n), n > 1, NULL, 0);
}

static json_t *on_shorten(const json_t *parameters)
{
        return may_shorten ? json_pack("{s:O}", "n", json_object_get(parameters, "n")) : NULL;
}

static void on_gone(struct peer_owner *of, struct peer *who)
{
        test_true(of == &owner && who == peer);
        ++n_gone;
        peer_free(who);
        peer = NULL;
}

static void begin(void)
{
        int fds[2];

        n_messages = n_gone = 0;
        may_shorten = is_oneway = false;
        answer_by = CALL_NONE;
        padding = 0;
        test_int(sd_event_new(&event), >=, 0);
        test_int(turns_init(&turns, event), >=, 0);
        owner = (struct peer_owner){
                .event = event,
                .turns = &turns,
                .message = on_message,
                .stream = on_stream,
                .shorten = on_shorten,
                .gone = on_gone,
        };
        list_init(&owner.admissions);
        test_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
        varlink_init_consume(&client, fds[1]);
        test_int(peer_new_consume(&owner, fds[0], 1000, &peer), ==, 0);
}

static void end(void)
{
        peer_free(peer);
        peer = NULL;
        varlink_deinit(&client);
        turns_deinit(&turns);
        event = sd_event_unref(event);
}

static void run(void)
{
        unsigned n = 0;

        while (sd_event_run(event, 0) > 0)
                test_int(++n, <, EVENTS_MAX);
}

static void calls(unsigned n)
{
        for (unsigned i = 0; i < n; ++i)
                peer_says(client.fd, "{\"method\":\"a.b\"}\0");
}

/* The reply that is there; NULL: none is. */
static json_t *received(void)
{
        struct varlink_message message = VARLINK_MESSAGE_NULL;
        json_t *json = NULL;
        const char *why;

        if (varlink_receive(&client, &message, &why) == 0)
                json = json_incref(message.json);
        varlink_message_deinit(&message);
        return json;
}

static void expect_reply(json_int_t n, bool continues)
{
        json_t *json = received(), *parameters = json_object_get(json, "parameters");

        test_true(json);
        test_true(!json_object_get(json, "error"));
        test_int(json_integer_value(json_object_get(parameters, "n")), ==, n);
        test_int(json_is_true(json_object_get(json, "continues")), ==, continues);
        json_decref(json);
}

static void expect_error(const char *name, const char *why)
{
        json_t *json = received(), *parameters = json_object_get(json, "parameters");

        test_contains(json_string_value(json_object_get(json, "error")), name);
        test_contains(json_string_value(json_object_get(parameters, "why")), why);
        json_decref(json);
}

static void expect_nothing(void)
{
        test_true(!received());
}

static void expect_end(void)
{
        struct varlink_message message = VARLINK_MESSAGE_NULL;
        const char *why;

        test_int(varlink_receive(&client, &message, &why), ==, VARLINK_E_EOF);
}

static void test_one_at_a_time(void)
{
        begin();
        calls(3);
        for (unsigned i = 1; i <= 3; ++i) {
                run();
                test_int(n_messages, ==, i);
                expect_reply(i, false);
        }
        run();
        test_int(n_messages, ==, 3);
        expect_nothing();
        end();
}

static void test_oneway(void)
{
        begin();
        is_oneway = true;
        calls(2);
        run();
        test_int(n_messages, ==, 2);
        expect_nothing();
        end();
}

static void test_stream(void)
{
        begin();
        answer_by = CALL_LIST;
        calls(2);
        run();
        expect_reply(3, true);
        expect_reply(2, true);
        expect_reply(1, false);
        run();
        expect_reply(3, true);
        end();
}

/* A client that is slow to take progress gets the newest, and the end in any case. */
static void test_later(void)
{
        begin();
        answer_by = CALL_WAIT;
        calls(1);
        run();
        test_int(peer->call.kind, ==, CALL_WAIT);
        expect_nothing();
        peer_reply_later(peer, numbered(7), false);
        peer_reply_later(peer, numbered(8), false);
        expect_nothing(); /* all is done in turns */
        run();
        expect_reply(8, true);
        peer_reply_later(peer, numbered(9), true);
        run();
        expect_reply(9, false);
        expect_nothing();
        test_int(peer->call.kind, ==, CALL_NONE);
        end();
}

static void test_what_is_no_call(void)
{
        begin();
        peer_says(client.fd, "{\"method\":\0");
        run();
        expect_error(".BadRequest", "not JSON");
        expect_end();
        test_int(n_messages, ==, 0);
        test_int(n_gone, ==, 1);
        end();
}

static void test_too_long(void)
{
        begin();
        padding = VARLINK_MESSAGE_MAX;
        calls(1);
        run();
        expect_error(".Failed", "longer than a message may be");
        may_shorten = true;
        calls(1);
        run();
        expect_reply(2, false);
        test_int(n_gone, ==, 0);
        end();
}

/* What it called for is still answered, and then it goes. */
static void test_half_closed(void)
{
        begin();
        calls(2);
        test_int(shutdown(client.fd, SHUT_WR), ==, 0);
        run();
        test_int(n_gone, ==, 0);
        expect_reply(1, false);
        run();
        expect_reply(2, false);
        run();
        test_int(n_gone, ==, 1);
        expect_end();
        end();
}

static void test_gone_while_waiting(void)
{
        begin();
        answer_by = CALL_WAIT;
        calls(1);
        run();
        client.fd = close_fd(client.fd);
        run();
        test_int(n_gone, ==, 1);
        end();
}

/* What is due when the supervisor ends is still sent. */
static void test_due_at_the_end(void)
{
        begin();
        answer_by = CALL_WAIT;
        calls(1);
        run();
        peer_reply_later(peer, numbered(5), true);
        peer_free(peer);
        peer = NULL;
        expect_reply(5, false);
        expect_end();
        end();
}

TEST_MAIN("peer", { "one call at a time", test_one_at_a_time }, { "oneway calls", test_oneway },
          { "a stream", test_stream }, { "a reply later", test_later },
          { "what is no call", test_what_is_no_call }, { "too long a reply", test_too_long },
          { "a client that says no more", test_half_closed },
          { "a client that leaves", test_gone_while_waiting },
          { "due at the end", test_due_at_the_end })
