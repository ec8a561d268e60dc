/*
 * A job's coordinator against a Redis that there is not: what is sent and sent again, and which
 * results are recorded.
 */

#include <sys/mman.h>

#include "tests/unit/redis-fake.h"

#include "daemon/runner/machines/coordinator.h"
#include "tests/unit/capture.h"

#define N_TASKS 1000

static char host[] = "redis.example", prefix[] = "p:", name[] = "me", owner[] = "them";
static struct machines machines = {
        .url = { .host = host },
        .prefix = prefix,
        .name = name,
        .owner = owner,
        .heartbeat_ns = 60 * NSEC_PER_SEC,
};
static const struct ppp_record quick = { .end_ns = NSEC_PER_MSEC, .state = PPP_STATE_DONE };

static struct runner runner;
static struct coordinator c;
static struct capture said;

/* The job is known to Redis, and a node has one worker: three chunks of a task may be out. */
static void begin(void)
{
        _cleanup_close_ int inputs = memfd_create("inputs", MFD_CLOEXEC);
        _cleanup_close_ int results = memfd_create("results", MFD_CLOEXEC);
        struct input_error error;

        for (unsigned i = 0; i < N_TASKS; ++i)
                test_int(dprintf(inputs, "%u\n", i), >, 0);
        runner = (struct runner){
                .spec = { .level = LEVEL_MACHINES, .workload = WORKLOAD_SUM },
                .machines = &machines,
                .job = "7",
                .cgroup_fd = -EBADF,
                .cancel_fd = -EBADF,
        };
        test_int(inputs_map(inputs, true, &runner.inputs, &error), ==, 0);
        test_int(results_create(results, N_TASKS, now_monotonic()), ==, 0);
        test_int(results_map(results, true, &runner.results), ==, 0);
        test_int(coordinator_init(&c, &runner), ==, 0);
        c.link.commands.machines = c.link.reader.machines = &machines;
        c.link.is_up = true;
        c.sync.state = SYNC_DONE;
        c.sync.created = true;
        c.roster.capacity = c.roster.slots = 1;
        c.pace.probe_until_ns = 1;
        fake_reset();
        capture_begin(&said, stderr);
}

static void end(void)
{
        (void)capture_end(&said);
        free(said.text);
        said.text = NULL;
        fake_close();
        fake_reset();
        coordinator_deinit(&c);
        inputs_unmap(&runner.inputs);
        results_unmap(&runner.results);
}

static unsigned count(const char *text, const char *what)
{
        unsigned n = 0;

        while ((text = strstr(text, what)) && ++n)
                text += strlen(what);
        return n;
}

static redisReply *status(const char *text)
{
        return fake_reply(REDIS_REPLY_STATUS, text);
}

static redisReply *error(const char *text)
{
        return fake_reply(REDIS_REPLY_ERROR, text);
}

static size_t expect_chunk(unsigned first, unsigned n)
{
        size_t at = fake.n_checked;
        char head[128];

        test_int(at, <, fake.n);
        snprintf(head, sizeof(head), "XADD p:chunks:sum:them * job %s first %u n %u inputs %u\n",
                 c.id, first, n, first);
        test_contains(fake.list[at].text, head);
        ++fake.n_checked;
        return at;
}

/* Chunks of one task each, from @first on, in one transaction. Returns the number of MULTI. */
static size_t expect_batch(unsigned first, unsigned n)
{
        size_t multi = fake_expect("MULTI");

        for (unsigned i = 0; i < n; ++i)
                (void)expect_chunk(first + i, 1);
        (void)fake_expect("EXEC");
        return multi;
}

/* Redis takes the @n chunks of the transaction and names them @first-0 and so on. */
static void take_batch(size_t multi, unsigned first, unsigned n)
{
        redisReply *ids = array(n);

        fake_answer(multi, status("OK"));
        for (unsigned i = 0; i < n; ++i) {
                char id[32];

                snprintf(id, sizeof(id), "%u-0", first + i);
                ids->element[i] = bulk(id, strlen(id));
                fake_answer(multi + 1 + i, status("QUEUED"));
        }
        fake_answer(multi + 1 + n, ids);
}

static void refuse_batch(size_t multi, unsigned n, const char *why)
{
        fake_answer(multi, status("OK"));
        for (unsigned i = 0; i < n; ++i)
                fake_answer(multi + 1 + i, error(why));
        fake_answer(multi + 1 + n, error("EXECABORT Transaction discarded"));
}

/* Three chunks of a task each are out. */
static void begin_with_chunks(void)
{
        begin();
        coordinator_send(&c);
        take_batch(expect_batch(0, 3), 1, 3);
        test_int(c.ledger.out.n, ==, 3);
}

/* The read of results; the entries are its answer. */
static void read_results(size_t n, redisReply *const *entries)
{
        redisReply *reply = array(1), *all = array(n);
        size_t read = fake.n;

        for (size_t i = 0; i < n; ++i)
                all->element[i] = entries[i];
        reply->element[0] = array(2);
        reply->element[0]->element[0] = bulk(c.key_results, strlen(c.key_results));
        reply->element[0]->element[1] = all;
        fake_skip();
        coordinator_read(&c);
        test_int(fake.n, ==, read + 1);
        test_contains(fake.list[read].text, "XREAD COUNT");
        fake_skip();
        fake_answer(read, reply);
}

/* A node's result for tasks from @first on, each with this record. */
static redisReply *result(const char *id, unsigned first, unsigned n,
                          const struct ppp_record *record)
{
        char first_text[16], n_text[16], taken[32];
        redisReply *reply, *records;

        snprintf(first_text, sizeof(first_text), "%u", first);
        snprintf(n_text, sizeof(n_text), "%u", n);
        snprintf(taken, sizeof(taken), "%" PRIu64, now_realtime());
        reply = entry_of(WORDS(id, "chunk", "1-0", "first", first_text, "n", n_text, "node", "one",
                               "taken", taken, "records", "x"));
        records = reply->element[1]->element[11];
        free(records->str);
        records->len = n * sizeof(*record);
        records->str = malloc(records->len);
        for (unsigned i = 0; i < n; ++i)
                memcpy(records->str + i * sizeof(*record), record, sizeof(*record));
        return reply;
}

static void read_result(redisReply *entry)
{
        read_results(1, &entry);
}

static void test_sends(void)
{
        begin_with_chunks();
        test_int(c.ledger.n_sent, ==, 3);
        test_int(c.ledger.n_bytes, ==, 6);
        test_int(c.ledger.out.first->id.milliseconds, ==, 1);
        test_int(c.ledger.out.last->id.milliseconds, ==, 3);
        /* All workers have something to do, and no more goes out before a result comes. */
        coordinator_send(&c);
        fake_expect_no_more();
        read_result(result("1-0", 0, 1, &quick));
        fake_expect("XDEL %s 1-0", c.key_results);
        test_int(c.ledger.out.n, ==, 2);
        coordinator_send(&c);
        test_int(fake.n, >, fake.n_checked);
        end();
}

/* A chunk is as large as workers take 100 ms for, and at most four times what came back whole. */
static void test_sizes(void)
{
        static const struct ppp_record slow = { .end_ns = NSEC_PER_SEC, .state = PPP_STATE_DONE };
        redisReply *entries[4];

        begin_with_chunks();
        read_result(result("1-0", 0, 1, &quick));
        fake_skip();
        coordinator_send(&c);
        (void)fake_expect("MULTI");
        (void)expect_chunk(3, 4);
        fake_skip();
        /* As the nodes turn out to be slow, chunks become small again. */
        for (unsigned i = 0; i < ARRAY_SIZE(entries); ++i)
                entries[i] = result("2-0", 3, 4, &slow);
        runner.results.header->epoch_ns -= (int64_t)(10 * NSEC_PER_SEC);
        read_results(ARRAY_SIZE(entries), entries);
        test_int(sizing_next(&c.pace.sizing, N_TASKS, 1), ==, 1);
        /* The configuration may want less. */
        machines.chunk_tasks_max = 2;
        c.pace.sizing = (struct sizing){ .task_ns = 1000, .largest = 1000 };
        c.roster.capacity = 100;
        coordinator_send(&c);
        test_int(c.ledger.out.last->n, ==, 2);
        machines.chunk_tasks_max = 0;
        end();
}

/* Nothing is lost by it, it is said once, and then Redis is asked with one chunk at a time. */
static void test_full(void)
{
        static const char full[] = "OOM command not allowed when used memory > 'maxmemory'.";
        uint64_t wait_ns = 0;
        size_t multi;

        begin();
        coordinator_send(&c);
        refuse_batch(expect_batch(0, 3), 3, full);
        test_int(runner.results.header->condition, ==, PPP_CONDITION_ENGINE_FULL);
        test_int(c.ledger.out.n, ==, 0);
        test_int(c.ledger.n_sent, ==, 0);
        test_int(c.ledger.n_bytes, ==, 0);
        test_int(ledger_left(&c.ledger), ==, N_TASKS);
        for (unsigned i = 0; i < 10; ++i) {
                test_int(c.pace.full_wait_ns, >=, wait_ns);
                test_int(c.pace.full_wait_ns, <=, REDIS_LINK_RETRY_MAX_NS);
                wait_ns = c.pace.full_wait_ns;
                c.pace.full_until_ns = UINT64_MAX;
                coordinator_send(&c);
                fake_expect_no_more();
                c.pace.full_until_ns = 0;
                coordinator_send(&c);
                multi = fake_expect("MULTI");
                fake_skip();
                test_int(fake.n, ==, multi + 3);
                refuse_batch(multi, 1, full);
        }
        test_int(wait_ns, ==, REDIS_LINK_RETRY_MAX_NS);
        /* It takes one, which may be chance. */
        c.pace.full_until_ns = 0;
        coordinator_send(&c);
        multi = fake_expect("MULTI");
        fake_skip();
        take_batch(multi, 1, 1);
        test_int(c.pace.full_until_ns, ==, 0);
        test_int(runner.results.header->condition, ==, PPP_CONDITION_ENGINE_FULL);
        /* It has refused nothing for long. */
        c.pace.refused_ns -= 3600 * NSEC_PER_SEC;
        coordinator_send(&c);
        multi = fake_expect("MULTI");
        fake_skip();
        take_batch(multi, 2, 1);
        test_int(runner.results.header->condition, ==, PPP_CONDITION_NONE);
        test_int(ledger_left(&c.ledger), ==, N_TASKS - 2);
        (void)capture_end(&said);
        test_int(count(said.text, "waiting until it takes more"), ==, 1);
        test_int(count(said.text, "Redis takes more again"), ==, 1);
        capture_begin(&said, stderr);
        end();
}

static void test_not_allowed(void)
{
        begin();
        coordinator_send(&c);
        refuse_batch(expect_batch(0, 3), 3, "NOPERM no right to 'xadd'");
        test_true(c.link.failed);
        test_contains(c.link.why, "cannot send a chunk");
        test_int(ledger_left(&c.ledger), ==, N_TASKS);
        end();
}

/* The scan after a new connection: XRANGE is answered with one chunk, of task 0. */
static void scan_finds_the_first(size_t exists)
{
        redisReply *two = array(0), *found = array(1);
        size_t scan = fake.n;

        two->type = REDIS_REPLY_INTEGER;
        two->integer = 2;
        fake_answer(exists, two);
        test_str(fake.list[scan].text, "XRANGE p:chunks:sum:them - + COUNT 32");
        found->element[0] =
                entry_of(WORDS("1-0", "job", c.id, "first", "0", "n", "1", "inputs", "0\n"));
        fake_answer(scan, found);
        test_str(fake.list[scan + 1].text, "XRANGE p:chunks:sum:them (1-0 + COUNT 32");
        fake_answer(scan + 1, array(0));
}

/*
 * A node has died with its chunks, or the connection broke in mid-transaction: whatever is neither
 * on the stream nor among the results is sent again, once all results have been read.
 */
static void test_lost(void)
{
        size_t exists, read, multi;

        begin();
        coordinator_send(&c);
        multi = expect_batch(0, 3);
        for (size_t i = multi; i < multi + 5; ++i)
                fake_answer(i, NULL);
        test_int(c.ledger.out.n, ==, 3);
        test_int(c.ledger.n_sent, ==, 3);
        coordinator_sync_down(&c);
        coordinator_sync(&c);
        exists = fake_expect("EXISTS %s %s", c.key_job, c.key_results);
        scan_finds_the_first(exists);
        fake_skip();
        /* Results may tell of the others. */
        test_int(c.sync.state, ==, SYNC_SETTLE);
        coordinator_send(&c);
        fake_expect_no_more();
        read_result(result("1-0", 1, 1, &quick));
        test_int(c.sync.state, ==, SYNC_SETTLE);
        read = fake.n;
        coordinator_read(&c);
        test_contains(fake.list[read].text, " STREAMS p:results:");
        test_true(!strstr(fake.list[read].text, "BLOCK"));
        fake_answer(read, fake_reply(REDIS_REPLY_NIL, ""));
        test_int(c.sync.state, ==, SYNC_DONE);
        test_int(c.ledger.n_resent, ==, 1);
        test_int(c.ledger.out.n, ==, 1);
        fake_skip();
        coordinator_send(&c);
        (void)fake_expect("MULTI");
        (void)expect_chunk(2, 1);
        end();
}

/* A chunk that was run twice: the first record stays, and is counted once. */
static void test_duplicates(void)
{
        struct ppp_record late = quick;

        begin_with_chunks();
        read_result(result("1-0", 0, 1, &quick));
        fake_expect("XDEL %s 1-0", c.key_results);
        late.value = 99;
        read_result(result("2-0", 0, 1, &late));
        fake_expect("XDEL %s 2-0", c.key_results);
        test_int(runner.results.records[0].value, ==, 0);
        test_int(c.ledger.n_duplicate, ==, 1);
        test_int(c.ledger.n_recorded, ==, 1);
        test_int(runner.results.header->n_done, ==, 1);
        test_int(c.results.n_foreign, ==, 0);
        end();
}

/* A node that leaves gives back what it has not run. */
static void test_given_back(void)
{
        static const struct ppp_record none = { .state = PPP_STATE_NONE };

        begin_with_chunks();
        read_result(result("1-0", 1, 1, &none));
        test_int(c.ledger.n_recorded, ==, 0);
        test_int(c.ledger.out.n, ==, 2);
        fake_skip();
        coordinator_send(&c);
        (void)fake_expect("MULTI");
        (void)expect_chunk(1, 1);
        end();
}

/* Entries that are not ours, or make no sense, between two that do. */
static void test_foreign(void)
{
        struct ppp_record backwards = { .start_ns = 5, .end_ns = 1, .state = PPP_STATE_DONE };
        redisReply *entries[] = {
                NULL,
                entry_of(WORDS("2-0", "hello", "world")),
                entry_of(WORDS("3-0", "chunk", "x", "first", "1", "n", "1", "node", "one", "taken",
                               "1", "records", "@32")),
                entry_of(WORDS("4-0", "chunk", "1-0", "first", "1", "n", "1", "node", "one",
                               "taken", "1", "records", "@31")),
                entry_of(WORDS("5-0", "chunk", "1-0", "first", "1", "n", "1", "node", "", "taken",
                               "1", "records", "@32")),
                entry_of(WORDS("6-0", "chunk", "1-0", "first", "1", "n", "1", "node", "one",
                               "taken", "-1", "records", "@32")),
                NULL,
                NULL,
                NULL,
        };

        begin_with_chunks();
        entries[0] = result("1-0", 0, 1, &quick);
        entries[6] = result("7-0", 1, 1, &backwards);
        entries[7] = result("8-0", N_TASKS - 1, 2, &quick);
        entries[8] = result("9-0", 2, 1, &quick);
        read_results(ARRAY_SIZE(entries), entries);
        fake_expect("XDEL %s 1-0 2-0 3-0 4-0 5-0 6-0 7-0 8-0 9-0", c.key_results);
        test_int(c.results.n_foreign, ==, 7);
        test_int(c.results.last.milliseconds, ==, 9);
        test_int(c.ledger.n_recorded, ==, 2);
        test_int(record_state(&runner.results.records[1]), ==, PPP_STATE_NONE);
        test_int(record_state(&runner.results.records[N_TASKS - 1]), ==, PPP_STATE_NONE);
        test_int(c.ledger.out.n, ==, 1);
        test_int(c.ledger.out.first->first, ==, 1);
        (void)capture_end(&said);
        test_int(count(said.text, "is not pppd's"), ==, 1);
        test_contains(said.text, "not the fields");
        capture_begin(&said, stderr);
        end();
}

/* The last name that an entry may have: the stream is made anew. */
static void test_last_entry(void)
{
        begin_with_chunks();
        read_result(result("18446744073709551615-18446744073709551615", 0, 1, &quick));
        fake_expect("XDEL %s 18446744073709551615-18446744073709551615", c.key_results);
        fake_expect("DEL %s", c.key_results);
        test_int(c.results.last.milliseconds, ==, 0);
        test_int(c.ledger.n_recorded, ==, 1);
        end();
}

static void test_read_refused(void)
{
        size_t read;

        begin();
        coordinator_read(&c);
        coordinator_read(&c); /* one is under way */
        read = fake_expect("XREAD COUNT 1024 BLOCK 1000 STREAMS %s 0-0", c.key_results);
        fake_expect_no_more();
        fake_answer(read, NULL);
        test_true(!c.link.failed);
        coordinator_read(&c);
        read = fake_expect("XREAD COUNT 1024 BLOCK 1000 STREAMS %s 0-0", c.key_results);
        fake_answer(read, error("WRONGTYPE it is something else"));
        test_true(c.link.failed);
        test_contains(c.link.why, "cannot read results");
        end();
}

TEST_MAIN("coordinator", { "chunks are sent", test_sends }, { "sizes of chunks", test_sizes },
          { "a full Redis", test_full }, { "a missing right", test_not_allowed },
          { "chunks that are lost", test_lost }, { "duplicates", test_duplicates },
          { "tasks that come back", test_given_back }, { "foreign results", test_foreign },
          { "the last entry", test_last_entry }, { "a read that is refused", test_read_refused })
