/*
 * The way of a chunk through a node, against a Redis that there is not: what is read, and that
 * nothing is lost when a result is refused or a connection breaks.
 */

#include <sys/eventfd.h>

#include "tests/unit/redis-fake.h"

#include "daemon/runner/io/blocking.h"
#include "daemon/runner/node/chunks.h"
#include "daemon/runner/runner.h"
#include "tests/unit/capture.h"
#include "tests/unit/node-fake.h"

static struct streams streams;
static struct node_jobs jobs;
static struct chunks chunks;
static struct feed *feed;
static struct capture said;

static void dropped(struct node_jobs *of, struct node_job *job)
{
        chunks_drop_job(&chunks, job);
}

/* The node runs sums and sleeps, and is connected. */
static void begin(void)
{
        fake_reset();
        test_int(streams_init(&streams, &machines, owner, 1U << WORKLOAD_SUM | 1U << WORKLOAD_SLEEP,
                              &ops),
                 ==, 0);
        streams.link.is_up = true;
        streams.link.reader.machines = streams.link.commands.machines = &streams.machines;
        jobs = (struct node_jobs){ .streams = &streams, .dropped = dropped };
        test_int(feed_new(0, &feed), ==, 0);
        chunks_init(&chunks, &streams, &jobs, feed, &spec);
        chunks.rate_ns = UINT64_MAX / 2; /* no rate is measured but by the case that is about it */
        capture_begin(&said, stderr);
}

static void end(void)
{
        (void)capture_end(&said);
        free(said.text);
        said.text = NULL;
        fake_expect_no_more();
        fake_close();
        fake_reset();
        chunks_free(&chunks);
        test_true(!jobs.first);
        feed_free(feed);
        streams_deinit(&streams);
}

static unsigned count(const char *text, const char *what)
{
        unsigned n = 0;

        while ((text = strstr(text, what)) && ++n)
                text += strlen(what);
        return n;
}

static redisReply *error(const char *text)
{
        return fake_reply(REDIS_REPLY_ERROR, text);
}

static const struct stream *sums(void)
{
        for (unsigned i = 0; i < streams.n; ++i)
                if (streams.list[i].workload == WORKLOAD_SUM)
                        return &streams.list[i];
        return NULL;
}

static size_t expect_read(unsigned n)
{
        return fake_expect("XREADGROUP GROUP nodes me COUNT %u BLOCK 250 STREAMS %s %s > >", n,
                           streams.list[0].key, streams.list[1].key);
}

/* The answer to a read: @n entries of the stream of sums, which are taken over. */
static redisReply *entries_of(size_t n, redisReply *const *entries)
{
        redisReply *reply = array(1), *all = array(n);

        for (size_t i = 0; i < n; ++i)
                all->element[i] = entries[i];
        reply->element[0] = array(2);
        reply->element[0]->element[0] = bulk(sums()->key, strlen(sums()->key));
        reply->element[0]->element[1] = all;
        return reply;
}

static redisReply *four_sums(const char *id)
{
        return entry_of(WORDS(id, "job", "j", "first", "8", "n", "4", "inputs", "1\n2\n3\n4\n"));
}

/* One chunk of four sums has come. Returns the number of the question about its job. */
static size_t read_one(void)
{
        redisReply *entry = four_sums("5-1");

        chunks_read(&chunks);
        chunks_read(&chunks); /* one is under way */
        fake_answer(expect_read(1), entries_of(1, &entry));
        test_int(chunks.n, ==, 1);
        return fake_expect("HMGET p:job:j v workload spec owner");
}

static redisReply *terms(const char *version, const char *workload, const char *of)
{
        const char *const words[] = { version, workload, "{}", of };
        redisReply *reply = array(ARRAY_SIZE(words));

        for (size_t i = 0; i < ARRAY_SIZE(words); ++i)
                reply->element[i] = bulk(words[i], strlen(words[i]));
        return reply;
}

/* The workers may run it. */
static void feed_one(void)
{
        fake_answer(read_one(), terms(MACHINES_VERSION, "sum", owner));
        chunks_feed(&chunks);
        test_int(chunks.first->state, ==, HELD_FED);
        test_int(chunks_load(&chunks), ==, 4);
}

/* One worker runs so many of its tasks, each with the number of its input. */
static void run_tasks(unsigned n)
{
        _cleanup_close_ int cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct runner runner = {
                .spec = spec,
                .source = &feed->source,
                .cgroup_fd = -EBADF,
                .cancel_fd = cancel_fd,
        };
        struct blocking_io *io;
        struct worker worker;
        struct taken taken;

        runner.results.header = &feed->header;
        test_int(blocking_io_new(&runner, &io), ==, 0);
        worker_init(&worker, &runner, 0, &blocking_ops, io);
        while (n-- > 0) {
                uint64_t clock = now_monotonic();

                test_true(worker_take(&worker, &taken));
                test_int(worker_run_taken(&worker, &taken, 0, &clock), ==, 0);
        }
        feed->source.ops->give_back(&feed->source, &worker);
        blocking_io_free(io);
}

/* The chunk is done, and its result on its way. Returns the number of MULTI. */
static size_t send_one(void)
{
        size_t multi;

        chunks_send(&chunks);
        test_int(chunks.first->state, ==, HELD_SENT);
        multi = fake_expect("MULTI");
        test_int(fake.n, ==, multi + 5);
        test_contains(fake.list[multi + 1].text,
                      "XADD p:results:j NOMKSTREAM * chunk 5-1 first 8 n 4 node me taken ");
        test_contains(fake.list[multi + 1].text, " records @128");
        ++fake.n_checked;
        fake_expect("XACK %s nodes 5-1", sums()->key);
        fake_expect("XDEL %s 5-1", sums()->key);
        fake_expect("EXEC");
        return multi;
}

static void begin_with_result(void)
{
        begin();
        feed_one();
        run_tasks(4);
        chunks_collect(&chunks);
        test_int(chunks.first->state, ==, HELD_FINISHED);
}

static void refuse(size_t multi, const char *why)
{
        fake_answer(multi, fake_reply(REDIS_REPLY_STATUS, "OK"));
        fake_answer(multi + 1, error(why));
        for (size_t i = multi + 2; i < multi + 4; ++i)
                fake_answer(i, fake_reply(REDIS_REPLY_STATUS, "QUEUED"));
        fake_answer(multi + 4, error("EXECABORT Transaction discarded"));
}

static void confirm(size_t multi)
{
        for (size_t i = multi; i < multi + 4; ++i)
                fake_answer(i, fake_reply(REDIS_REPLY_STATUS, "QUEUED"));
        fake_answer(multi + 4, array(0));
}

static void test_all_the_way(void)
{
        size_t multi;

        begin_with_result();
        test_int(chunks_load(&chunks), ==, 0);
        multi = send_one();
        chunks_send(&chunks);
        fake_expect_no_more();
        test_int(chunks.n, ==, 1); /* it is ours until Redis has confirmed it */
        confirm(multi);
        test_int(chunks.n, ==, 0);
        test_int(chunks.bytes, ==, 0);
        end();
}

/* The result is kept and sent until it is taken; room is made, and it is said once. */
static void test_full(void)
{
        begin_with_result();
        for (unsigned i = 0; i < 10; ++i) {
                uint64_t before = chunks.retry_pause_ns;

                refuse(send_one(), "OOM command not allowed when used memory > 'maxmemory'.");
                test_int(chunks.n, ==, 1);
                test_int(chunks.first->state, ==, HELD_FINISHED);
                test_int(chunks.retry_pause_ns, >=, before);
                test_int(chunks.retry_pause_ns, <=, REDIS_LINK_RETRY_MAX_NS);
                fake_expect("XACK %s nodes 5-1", sums()->key);
                fake_expect("XDEL %s 5-1", sums()->key);
                chunks.retry_ns = UINT64_MAX;
                chunks_send(&chunks);
                fake_expect_no_more();
                chunks.retry_ns = 0;
        }
        test_int(chunks.retry_pause_ns, ==, REDIS_LINK_RETRY_MAX_NS);
        confirm(send_one());
        test_int(chunks.n, ==, 0);
        test_int(chunks.retry_pause_ns, ==, 0);
        (void)capture_end(&said);
        test_int(count(said.text, "the results are kept and sent again"), ==, 1);
        capture_begin(&said, stderr);
        end();
}

/* Whether the result is in is not known; what comes twice is the coordinator's to tell. */
static void test_cut_off(void)
{
        size_t multi;

        begin_with_result();
        multi = send_one();
        for (size_t i = multi; i < multi + 5; ++i)
                fake_answer(i, NULL);
        chunks_unsend(&chunks);
        test_int(chunks.n, ==, 1);
        streams.link.is_up = false;
        chunks_send(&chunks);
        fake_expect_no_more();
        streams.link.is_up = true;
        confirm(send_one());
        test_int(chunks.n, ==, 0);
        end();
}

static void test_not_allowed(void)
{
        begin_with_result();
        refuse(send_one(), "NOPERM no right to 'xadd'");
        test_true(streams.link.failed);
        test_contains(streams.link.why, "cannot send results");
        test_int(chunks.n, ==, 1);
        end();
}

/* What nobody can use is taken off the stream; it is said once, and the others are run. */
static void test_foreign(void)
{
        redisReply *entries[] = {
                entry_of(WORDS("1-0", "hello", "world")),
                entry_of(WORDS("2-0", "job", "j", "first", "0", "n", "2", "inputs", "1\n")),
                fake_reply(REDIS_REPLY_NIL, ""),
                entry_of(WORDS("x", "job", "j", "first", "0", "n", "1", "inputs", "1\n")),
                four_sums("3-0"),
        };

        begin();
        chunks_read(&chunks);
        fake_answer(expect_read(1), entries_of(ARRAY_SIZE(entries), entries));
        for (unsigned i = 1; i <= 2; ++i) {
                fake_expect("XACK %s nodes %u-0", sums()->key, i);
                fake_expect("XDEL %s %u-0", sums()->key, i);
        }
        fake_expect("HMGET p:job:j v workload spec owner");
        test_int(chunks.n, ==, 1);
        test_int(chunks.first->id.milliseconds, ==, 3);
        test_int(chunks.n_foreign, ==, 3);
        (void)capture_end(&said);
        test_int(count(said.text, "is not pppd's"), ==, 1);
        capture_begin(&said, stderr);
        fake_answer(fake.n - 1, NULL);
        end();
}

/* Of a job of another owner, version or workload: it goes back without a result. */
static void test_foreign_jobs(void)
{
        static const char *const all[][3] = { { "1", "sum", owner },
                                              { MACHINES_VERSION, "sleep", owner },
                                              { MACHINES_VERSION, "sum", "others" } };

        for (size_t i = 0; i < ARRAY_SIZE(all); ++i) {
                size_t multi;

                begin();
                fake_answer(read_one(), terms(all[i][0], all[i][1], all[i][2]));
                chunks_send(&chunks);
                multi = fake_expect("MULTI");
                fake_expect("XACK %s nodes 5-1", sums()->key);
                fake_expect("XDEL %s 5-1", sums()->key);
                fake_answer(fake_expect("EXEC"), array(0));
                test_int(chunks.n, ==, 0);
                test_int(multi, ==, 2);
                (void)capture_end(&said);
                test_contains(said.text, "cannot take chunks of the job j");
                capture_begin(&said, stderr);
                end();
        }
}

/* One that was claimed from a silent node may be in hand already. */
static void test_claimed(void)
{
        redisReply *entries = array(2);

        begin();
        feed_one();
        entries->element[0] = four_sums("5-1");
        entries->element[1] = four_sums("6-0");
        chunks_take_entries(&chunks, sums(), entries, true);
        test_int(chunks.n, ==, 2);
        test_int(chunks.last->id.milliseconds, ==, 6);
        reply_free(entries);
        end();
}

/* The node leaves: tasks that have not begun are given back, those that have are waited for. */
static void test_leaves(void)
{
        const struct ppp_record *records;

        begin();
        feed_one();
        run_tasks(1);
        chunks_close(&chunks);
        chunks_collect(&chunks);
        test_int(chunks.first->state, ==, HELD_FINISHED);
        records = feed->chunks[chunks.first->number].tasks.records;
        test_int(record_state(&records[0]), ==, PPP_STATE_DONE);
        for (unsigned i = 1; i < 4; ++i)
                test_int(record_state(&records[i]), ==, PPP_STATE_NONE);
        confirm(send_one());
        chunks_read(&chunks);
        end();
}

/* The level's process has died: only the task that it was at has failed. */
static void test_level_dies(void)
{
        static const struct ppp_record death = {
                .detail = 9,
                .reason = PPP_REASON_SIGNAL,
                .state = PPP_STATE_FAILED,
        };
        struct ppp_record *records;

        begin();
        feed_one();
        run_tasks(1);
        records = feed->chunks[chunks.first->number].tasks.records;
        records[1].start_ns = now_monotonic();
        chunks_end_all(&chunks, &death);
        test_int(chunks.first->state, ==, HELD_FINISHED);
        test_int(record_state(&records[0]), ==, PPP_STATE_DONE);
        test_int(record_state(&records[1]), ==, PPP_STATE_FAILED);
        test_int(records[1].detail, ==, 9);
        test_int(record_state(&records[2]), ==, PPP_STATE_NONE);
        test_int(feed->header.n_failed, ==, 1);
        confirm(send_one());
        end();
}

static void check_room(unsigned expected)
{
        unsigned room = 0;

        if (!chunks_have_room(&chunks, &room))
                room = 0;
        test_int(room, ==, expected);
}

/* As many chunks as workers can begin, and ahead only what is run while reading. */
static void test_room(void)
{
        redisReply *entry = four_sums("5-1");

        begin();
        check_room(1); /* at first any node may have them */
        chunks.burst = 64;
        check_room(4); /* of one task each */
        chunks.last_n = 2;
        check_room(2);
        chunks.last_n = 100;
        check_room(1);
        chunks.chunks_per_second = 500; /* 10 in 20 ms */
        check_room(11);
        chunks.last_size = 8 << 20;
        check_room(3);
        chunks.last_size = 0;
        chunks.yields = true;
        check_room(0);
        chunks.yields = false;

        /* A node that gets as many as it asked for asks for twice as many. */
        chunks.chunks_per_second = 0;
        chunks.last_n = 0;
        chunks.burst = 1;
        chunks_read(&chunks);
        fake_answer(expect_read(1), entries_of(1, &entry));
        test_int(chunks.burst, ==, 2);
        fake_answer(fake_expect("HMGET p:job:j v workload spec owner"), NULL);
        /* Its workers have enough to do with that one. */
        check_room(0);
        chunks_read(&chunks);
        end();
}

/* How many a second are run is measured: 20 in 100 ms, and as many again. */
static void test_rate(void)
{
        begin();
        for (unsigned i = 0; i < 20; ++i) {
                chunks.rate_ns = now_monotonic() - 100 * NSEC_PER_MSEC;
                chunks.rate_n = 20;
                (void)chunks_have_room(&chunks, &(unsigned){ 0 });
        }
        test_int(chunks.rate_n, ==, 0);
        test_int(chunks.chunks_per_second, >, 0);
        test_int(chunks.chunks_per_second, <=, 200);
        end();
}

static void test_read_refused(void)
{
        begin();
        chunks.burst = 64;
        chunks_read(&chunks);
        fake_answer(expect_read(4), error("NOGROUP No such key or consumer group"));
        test_int(chunks.burst, ==, 1);
        for (unsigned i = 0; i < streams.n; ++i) {
                fake_expect("XGROUP CREATE %s nodes 0 MKSTREAM", streams.list[i].key);
                fake_expect("EXPIRE %s 86400", streams.list[i].key);
        }
        chunks_read(&chunks);
        fake_answer(expect_read(1), NULL);
        chunks_read(&chunks);
        fake_answer(expect_read(1), error("NOPERM no right to 'xreadgroup'"));
        test_true(streams.link.failed);
        test_contains(streams.link.why, "cannot read chunks");
        end();
}

TEST_MAIN("chunks", { "all the way", test_all_the_way }, { "a full Redis", test_full },
          { "a connection that breaks", test_cut_off }, { "a missing right", test_not_allowed },
          { "foreign entries", test_foreign }, { "foreign jobs", test_foreign_jobs },
          { "claimed chunks", test_claimed }, { "the node leaves", test_leaves },
          { "the level dies", test_level_dies }, { "room", test_room }, { "the rate", test_rate },
          { "a read that is refused", test_read_refused })
