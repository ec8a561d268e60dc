/*
 * Parts of a node against a Redis that there is not: its streams, the heartbeat, and the look for
 * chunks of nodes that fell silent.
 */

#include "tests/unit/redis-fake.h"

#include "daemon/runner/node/beat.h"
#include "daemon/runner/node/look.h"
#include "tests/unit/node-fake.h"

#define CHUNKS_MAX 200

static struct streams streams;
static struct chunks chunks;
static struct held held[CHUNKS_MAX];

/* The node runs sums and sleeps, and is connected. */
static void begin(void)
{
        const unsigned workloads = 1U << WORKLOAD_SUM | 1U << WORKLOAD_SLEEP;

        fake_reset();
        test_int(streams_init(&streams, &machines, owner, workloads, &ops), ==, 0);
        test_int(streams.n, ==, 2);
        streams.link.is_up = true;
        streams.link.reader.machines = streams.link.commands.machines = &streams.machines;
        chunks_init(&chunks, &streams, NULL, NULL, &spec);
        chunks.burst = 4;
}

static void end(void)
{
        fake_expect_no_more();
        fake_reset();
        streams_deinit(&streams);
}

/* As if so many chunks of @job had been read and sent. */
static void hold(struct node_job *job, size_t n)
{
        for (size_t i = 0; i < n; ++i) {
                held[i] = (struct held){ .state = HELD_SENT, .id = { i + 1, 0 }, .job = job };
                held[i].next = i + 1 < n ? &held[i + 1] : NULL;
        }
        chunks.first = held;
        chunks.last = &held[n - 1];
        chunks.n = (unsigned)n;
}

static void test_groups(void)
{
        redisReply *key;
        size_t group = 0;

        begin();
        streams_make_groups(&streams);
        for (unsigned i = 0; i < streams.n; ++i) {
                group = fake_expect("XGROUP CREATE %s nodes 0 MKSTREAM", streams.list[i].key);
                /* It is there already, as after any restart. */
                fake_answer(group, fake_reply(REDIS_REPLY_ERROR, "BUSYGROUP it exists"));
                fake_expect("EXPIRE %s 86400", streams.list[i].key);
        }
        test_int(streams.groups_ns, ==, 0);
        fake_answer(group, fake_reply(REDIS_REPLY_ERROR, "OOM command not allowed"));
        test_int(streams.groups_ns, >, now_monotonic());

        key = bulk(streams.list[1].key, strlen(streams.list[1].key));
        test_true(streams_find(&streams, key) == &streams.list[1]);
        key->len--;
        test_true(!streams_find(&streams, key));
        reply_free(key);
        end();
}

static void test_beat(void)
{
        struct beat beat = { .streams = &streams, .chunks = &chunks };
        struct node_job job = {};
        size_t time;

        begin();
        job.stream = &streams.list[1];
        hold(&job, 2);
        streams.link.is_up = false;
        test_true(!beat_send(&beat));
        fake_expect_no_more();

        streams.link.is_up = true;
        test_true(beat_send(&beat));
        test_int(beat.due_ns, >, now_monotonic());
        time = fake_expect("TIME");
        fake_expect("EXPIRE %s 86400", streams.list[0].key);
        fake_expect("XCLAIM %s nodes me 0 1-0 2-0 JUSTID", streams.list[1].key);
        fake_expect("EXPIRE %s 86400", streams.list[1].key);
        test_int(beat.heard_ns, ==, 0);
        fake_answer(time, array(0));
        test_int(beat.heard_ns, >, 0);
        end();
}

/* One command has so many chunks at most. */
static void test_beat_of_many(void)
{
        struct beat beat = { .streams = &streams, .chunks = &chunks };
        struct node_job job = {};

        begin();
        job.stream = &streams.list[0];
        hold(&job, CHUNKS_MAX);
        test_true(beat_send(&beat));
        test_int(fake.n, ==, 5); /* TIME, two claims, EXPIRE twice */
        test_contains(fake.list[1].text, " 128-0 JUSTID");
        test_contains(fake.list[2].text, " 129-0 ");
        test_contains(fake.list[2].text, " 200-0 JUSTID");
        fake_skip();
        end();
}

/* Who was not heard for long has lost its chunks, and does not claim them back. */
static void test_beat_after_silence(void)
{
        struct beat beat = { .streams = &streams, .chunks = &chunks };
        struct node_job job = {};

        begin();
        job.stream = &streams.list[0];
        hold(&job, 2);
        beat.heard_ns = now_monotonic() - NSEC_PER_SEC;
        test_true(beat_send(&beat));
        test_true(held[0].lost && held[1].lost);
        fake_expect("TIME");
        fake_expect("EXPIRE %s 86400", streams.list[0].key);
        fake_expect("EXPIRE %s 86400", streams.list[1].key);
        end();
}

/* A look at one stream, the other being another node's to look at. Returns the number of SET. */
static size_t begin_look(struct look *look)
{
        size_t lock, other;

        begin();
        *look = (struct look){ .streams = &streams, .chunks = &chunks };
        test_true(!look_first(look)); /* no heartbeat has said that it is time */
        look->due = true;
        test_true(look_first(look));
        lock = fake_expect("SET %s me NX PX 125", streams.list[0].key_look);
        other = fake_expect("SET %s me NX PX 125", streams.list[1].key_look);
        fake_answer(other, fake_reply(REDIS_REPLY_NIL, ""));
        test_int(look->n, ==, 1);
        test_true(look_first(look)); /* what it finds comes first */
        return lock;
}

static size_t begin_pending(struct look *look)
{
        fake_answer(begin_look(look), fake_reply(REDIS_REPLY_STATUS, "OK"));
        return fake_expect("XPENDING %s nodes IDLE 625 - + 4", streams.list[0].key);
}

/* [id, consumer, idle, deliveries] of so many */
static redisReply *pending(size_t n)
{
        redisReply *reply = array(n);

        for (size_t i = 0; i < n; ++i) {
                char id[32];

                snprintf(id, sizeof(id), "%zu-0", i + 1);
                reply->element[i] = array(1);
                reply->element[i]->element[0] = bulk(id, strlen(id));
        }
        return reply;
}

static void test_look(void)
{
        struct look look;
        redisReply *gone;
        size_t claim;

        fake_answer(begin_pending(&look), pending(2));
        claim = fake_expect("XCLAIM %s nodes me 625 1-0 2-0", streams.list[0].key);
        test_true(look_first(&look));
        /* Another node was first with both. */
        gone = array(1);
        gone->element[0] = fake_reply(REDIS_REPLY_NIL, "");
        fake_answer(claim, gone);
        test_true(!look_first(&look));
        test_true(!look.due);
        test_int(chunks.n, ==, 0);
        end();
}

/* There may be more than it can take: it looks again, and so may others. */
static void test_look_finds_much(void)
{
        struct look look;
        size_t claim;

        fake_answer(begin_pending(&look), pending(4));
        fake_expect("DEL %s", streams.list[0].key_look);
        claim = fake_expect("XCLAIM %s nodes me 625 1-0 2-0 3-0 4-0", streams.list[0].key);
        test_true(look.due);
        fake_answer(claim, array(0));
        test_int(look.n, ==, 0);
        end();
}

/* Wherever it is cut off, it ends, and the next heartbeat begins anew. */
static void test_look_is_cut_off(void)
{
        struct look look;

        fake_answer(begin_look(&look), NULL);
        test_int(look.n, ==, 0);
        end();
        fake_answer(begin_pending(&look), NULL);
        test_int(look.n, ==, 0);
        end();
        fake_answer(begin_pending(&look), array(0));
        test_int(look.n, ==, 0);
        end();
        fake_answer(begin_pending(&look), pending(1));
        fake_answer(fake_expect("XCLAIM %s nodes me 625 1-0", streams.list[0].key), NULL);
        test_int(look.n, ==, 0);
        end();
}

static void test_look_is_not_allowed(void)
{
        struct look look;

        fake_answer(begin_look(&look), fake_reply(REDIS_REPLY_ERROR, "NOPERM no right to it"));
        test_int(look.n, ==, 0);
        test_true(streams.link.failed);
        end();
}

TEST_MAIN("node", { "groups", test_groups }, { "a heartbeat", test_beat },
          { "a heartbeat of many chunks", test_beat_of_many },
          { "a heartbeat after silence", test_beat_after_silence }, { "a look", test_look },
          { "a look that finds much", test_look_finds_much },
          { "a look that is cut off", test_look_is_cut_off },
          { "a look that is not allowed", test_look_is_not_allowed })
