/* The level machines: entries and records, their times, sizes of chunks, what is outstanding. */

#include "daemon/runner/machines/codec.h"
#include "daemon/runner/machines/outstanding.h"
#include "daemon/runner/machines/sizing.h"
#include "tests/unit/redis-reply.h"
#include "tests/unit/test.h"

static void test_ids(void)
{
        struct entry_id id;
        char text[ENTRY_ID_SIZE];

        test_int(entry_id_parse("18446744073709551615-18446744073709551615", 41, &id), ==, 0);
        entry_id_format(id, text);
        test_str(text, "18446744073709551615-18446744073709551615");
        test_int(entry_id_parse("12", 2, &id), ==, -EINVAL);
        test_int(entry_id_parse("-1", 2, &id), ==, -EINVAL);
        test_int(entry_id_parse("1-", 2, &id), ==, -EINVAL);
        test_int(entry_id_parse("1-2-3", 5, &id), ==, -EINVAL);
        test_int(entry_id_parse("18446744073709551616-0", 22, &id), ==, -EINVAL);
}

static void test_chunks(void)
{
        redisReply *reply =
                entry_of(WORDS("5-1", "n", "2", "job", "j", "inputs", "a\nbc\n", "first", "7"));
        struct chunk_entry entry;
        struct entry_id id;
        const char *why;

        test_int(chunk_entry_parse(reply, &entry, &id, &why), ==, 0);
        test_int(entry.first, ==, 7);
        test_int(entry.n, ==, 2);
        test_int(entry.inputs.size, ==, 5);
        test_int(entry.job.size, ==, 1);
        test_true(entry_id_equal(entry.id, (struct entry_id){ 5, 1 }));
        reply_free(reply);
}

static void test_chunks_refused(void)
{
        const struct {
                const char *const *words;
                const char *why;
        } cases[] = {
                { WORDS("x", "job", "j", "first", "0", "n", "1", "inputs", "a\n"), "no entry" },
                { WORDS("1-1", "hello", "world"), "not the fields" },
                { WORDS("1-1", "job", "j", "first", "0", "n", "1", "input", "a\n"),
                  "should not have" },
                { WORDS("1-1", "job", "j", "job", "j", "n", "1", "inputs", "a\n"),
                  "should not have" },
                { WORDS("1-1", "job", "", "first", "0", "n", "1", "inputs", "a\n"), "no name" },
                { WORDS("1-1", "job", "@2", "first", "0", "n", "1", "inputs", "a\n"), "no name" },
                { WORDS("1-1", "job", "j\n", "first", "0", "n", "1", "inputs", "a\n"), "no name" },
                { WORDS("1-1", "job", "j", "first", "-1", "n", "1", "inputs", "a\n"), "first" },
                { WORDS("1-1", "job", "j", "first", "100000000", "n", "1", "inputs", "a\n"),
                  "first" },
                { WORDS("1-1", "job", "j", "first", "0", "n", "0", "inputs", "a\n"), "its n" },
                { WORDS("1-1", "job", "j", "first", "0", "n", "16385", "inputs", "a\n"), "its n" },
                { WORDS("1-1", "job", "j", "first", "0", "n", "2", "inputs", "a\n"),
                  "as many inputs" },
                { WORDS("1-1", "job", "j", "first", "0", "n", "1", "inputs", "a"), "no lines" },
                { WORDS("1-1", "job", "j", "first", "0", "n", "2", "inputs", "a\n\n"), "no lines" },
                { WORDS("1-1", "job", "j", "first", "0", "n", "1", "inputs", ""), "no lines" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                redisReply *reply = entry_of(cases[i].words);
                struct chunk_entry entry;
                struct entry_id id;
                const char *why = "";

                test_int(chunk_entry_parse(reply, &entry, &id, &why), ==, -EBADMSG);
                test_contains(why, cases[i].why);
                test_int(id.milliseconds, ==, i == 0 ? 0 : 1);
                reply_free(reply);
        }
}

static void test_owners(void)
{
        const struct {
                const char *const *words;
                const char *why;
        } cases[] = {
                { WORDS("1-1", "hello", "world", "owner", "x"), "should not have" },
                { WORDS("1-1", "workload", "cook", "owner", "x"), "its workload" },
                { WORDS("1-1", "workload", "sum-", "owner", "x"), "its workload" },
                { WORDS("1-1", "workload", "sum", "owner", ""), "its owner" },
                { WORDS("1-1", "workload", "sum", "owner", "a b"), "its owner" },
        };
        redisReply *reply = entry_of(WORDS("5-1", "owner", "host:1000", "workload", "sum-array"));
        struct owner_entry entry;
        struct entry_id id;
        const char *why;

        test_int(owner_entry_parse(reply, &entry, &id, &why), ==, 0);
        test_int(entry.workload, ==, WORKLOAD_SUM_ARRAY);
        test_int(entry.owner.size, ==, strlen("host:1000"));
        reply_free(reply);
        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                reply = entry_of(cases[i].words);
                test_int(owner_entry_parse(reply, &entry, &id, &why), ==, -EBADMSG);
                test_contains(why, cases[i].why);
                test_int(id.milliseconds, ==, 1);
                reply_free(reply);
        }
}

static void test_results_refused(void)
{
        const struct {
                const char *const *words;
                const char *why;
        } cases[] = {
                { WORDS("1-1", "chunk", "x", "first", "0", "n", "1", "node", "a", "taken", "1",
                        "records", "@32"),
                  "no entry's name" },
                { WORDS("1-1", "chunk", "1-1", "first", "0", "n", "1", "node", "", "taken", "1",
                        "records", "@32"),
                  "no name" },
                { WORDS("1-1", "chunk", "1-1", "first", "0", "n", "1", "node", "@9", "taken", "1",
                        "records", "@32"),
                  "no name" },
                { WORDS("1-1", "chunk", "1-1", "first", "0", "n", "1", "node", "a", "taken",
                        "4611686018427387904", "records", "@32"),
                  "no time" },
                { WORDS("1-1", "chunk", "1-1", "first", "0", "n", "2", "node", "a", "taken", "1",
                        "records", "@32"),
                  "as many records" },
                { WORDS("1-1", "chunk", "1-1", "first", "0", "n", "1", "node", "a", "taken", "1",
                        "records", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
                  "makes no sense" },
        };
        redisReply *reply = entry_of(WORDS("1-1", "chunk", "1-1", "first", "0", "n", "2", "node",
                                           "a", "taken", "1", "records", "@64"));
        struct result_entry entry;
        struct entry_id id;
        const char *why;

        test_int(result_entry_parse(reply, &entry, &id, &why), ==, 0);
        reply_free(reply);
        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                reply = entry_of(cases[i].words);
                why = "";
                test_int(result_entry_parse(reply, &entry, &id, &why), ==, -EBADMSG);
                test_contains(why, cases[i].why);
                reply_free(reply);
        }
}

static void test_records(void)
{
        const struct ppp_record records[] = {
                { .value = 42,
                  .start_ns = 1010,
                  .end_ns = 1050,
                  .worker = 3,
                  .state = PPP_STATE_DONE },
                { .start_ns = 1050,
                  .end_ns = 1060,
                  .reason = PPP_REASON_OPEN,
                  .detail = -2,
                  .state = PPP_STATE_FAILED },
                { .start_ns = 1060 }, /* begun, not ended */
        };
        char packed[sizeof(records)];
        struct result_entry entry = { .n = 3, .records = packed };
        struct ppp_record record;

        records_pack(records, 3, 1000, packed);
        test_true(result_record(&entry, 0, &record));
        test_int(record.value, ==, 42);
        test_int(record.start_ns, ==, 10);
        test_int(record.end_ns, ==, 50);
        test_int(record.worker, ==, 3);
        test_true(result_record(&entry, 1, &record));
        test_int(record.detail, ==, -2);
        test_int(record.reason, ==, PPP_REASON_OPEN);
        test_true(result_record(&entry, 2, &record));
        test_int(record.state, ==, PPP_STATE_NONE);
        test_int(record.start_ns, ==, 0);

        /*
         * Ended before it began; cancelled; failed without a reason; done with one; no such state.
         */
        memcpy(&record, packed, sizeof(record));
        record.end_ns = 1;
        memcpy(packed, &record, sizeof(record));
        test_true(!result_record(&entry, 0, &record));
        for (unsigned i = 0; i < 4; ++i) {
                static const uint8_t states[] = { PPP_STATE_FAILED, PPP_STATE_FAILED,
                                                  PPP_STATE_DONE, 3 };
                static const uint8_t reasons[] = { PPP_REASON_CANCELLED, 0, PPP_REASON_OPEN, 0 };
                struct ppp_record bad = { .state = states[i], .reason = reasons[i] };

                memcpy(packed, &bad, sizeof(bad));
                test_true(!result_record(&entry, 0, &record));
        }
}

static void test_times(void)
{
        /* Our clock reads 1000 less than the node's: taken at 1500 there is 500 here. */
        test_int(chunk_base(1500, -1000, 100, 400, 700), ==, 500);
        /* The node's clock is fast: it seems to end after it came back. */
        test_int(chunk_base(9500, -1000, 100, 400, 700), ==, 600);
        /* It is slow: it seems to begin before it was sent. */
        test_int(chunk_base(100, -1000, 100, 400, 700), ==, 400);
        /* It says that it took longer than it was away. */
        test_int(chunk_base(1500, -1000, 1000, 400, 700), ==, 400);
        test_int(chunk_base(INT64_MAX, 0, UINT64_C(1) << 55, 400, 700), ==, 400);
}

static void test_sizes(void)
{
        struct sizing sizing = { 0 };
        uint32_t size = 1, last;

        test_int(sizing_next(&sizing, 1000000, 4), ==, 1);
        /* A microsecond each: larger by four at most until 100 ms are reached. */
        do {
                last = size;
                sizing_note(&sizing, size, size * UINT64_C(10000));
                size = sizing_next(&sizing, 1000000, 4);
                test_int(size, <=, 4 * last);
        } while (size > last);
        test_int(size, ==, 10000);
        /* Towards the end a share of what is left for each. */
        test_int(sizing_next(&sizing, 8000, 4), ==, 1000);
        /* 200 us at least. */
        test_int(sizing_next(&sizing, 7, 4), ==, 20);
        /* For thousands of workers, larger again: Redis sees 8,000 chunks a second and no more. */
        test_int(sizing_next(&sizing, UINT64_MAX, 800), ==, 10000);
        size = sizing_next(&sizing, UINT64_MAX, 1000);
        test_int(size, ==, 12500);
        /* Tasks become slow: so do chunks become small. */
        for (unsigned i = 0; i < 20; ++i)
                sizing_note(&sizing, 10, 10 * NSEC_PER_SEC);
        test_int(sizing_next(&sizing, 1000000, 4), ==, 1);
        /* Of 19 ms: down to a single one at the end. */
        for (unsigned i = 0; i < 40; ++i)
                sizing_note(&sizing, 5, 95 * NSEC_PER_MSEC);
        test_int(sizing_next(&sizing, 1000000, 4), ==, 5);
        test_int(sizing_next(&sizing, 20, 4), ==, 2);
        test_int(sizing_next(&sizing, 7, 4), ==, 1);
        /* And those that take no time are bounded. */
        for (unsigned i = 0; i < 100; ++i)
                sizing_note(&sizing, CHUNK_TASKS_MAX, 0);
        test_int(sizing_next(&sizing, UINT64_MAX, 1), ==, CHUNK_TASKS_MAX);
}

static void test_outstanding(void)
{
        enum { N = 1000 };
        struct outstanding_table table = {};
        struct outstanding *chunks[N];

        test_true(!outstanding_find(&table, 0, 1));
        for (uint64_t i = 0; i < N; ++i) {
                chunks[i] = outstanding_add(&table, i * 10, 10, 5);
                test_true(chunks[i]);
        }
        test_int(table.n_tasks, ==, N * 10);
        test_int(table.n_bytes, ==, N * 5);
        for (uint64_t i = 0; i < N; ++i)
                test_true(outstanding_find(&table, i * 10, 10) == chunks[i]);
        test_true(!outstanding_find(&table, 10, 9));
        test_true(!outstanding_find(&table, 11, 10));
        test_true(table.first == chunks[0] && table.last == chunks[N - 1]);

        /* One whose reply is to come lives until then. */
        chunks[0]->asked = true;
        outstanding_remove(&table, chunks[0]);
        test_true(chunks[0]->closed);
        free(chunks[0]);
        for (uint64_t i = 1; i < N; i += 2)
                outstanding_remove(&table, chunks[i]);
        test_true(!outstanding_find(&table, 10, 10));
        test_true(outstanding_find(&table, 20, 10) == chunks[2]);
        test_true(table.first == chunks[2]);
        test_int(table.n, ==, N / 2 - 1);
        outstanding_deinit(&table);
}

static void test_troubles(void)
{
        static const struct {
                const char *text;
                enum redis_trouble trouble;
        } cases[] = {
                { "WRONGPASS invalid username-password pair", REDIS_TROUBLE_PASSWORD },
                { "NOAUTH Authentication required.", REDIS_TROUBLE_PASSWORD },
                { "ERR AUTH <password> called without any password configured",
                  REDIS_TROUBLE_PASSWORD },
                { "NOPERM this user has no permissions", REDIS_TROUBLE_PERMISSION },
                { "EXECABORT Transaction discarded because of: NOPERM this user has no permissions",
                  REDIS_TROUBLE_PERMISSION },
                { "OOM command not allowed when used memory > 'maxmemory'.", REDIS_TROUBLE_FULL },
                { "LOADING Redis is loading the dataset in memory", REDIS_TROUBLE_LOADING },
                { "READONLY You can't write against a read only replica.", REDIS_TROUBLE_READONLY },
                { "MISCONF Redis is configured to save RDB snapshots", REDIS_TROUBLE_READONLY },
                { "NOGROUP No such key 'x'", REDIS_TROUBLE_NOGROUP },
                { "ERR unknown command 'XAUTOCLAIM'", REDIS_TROUBLE_UNUSABLE },
                { "CROSSSLOT Keys in request don't hash to the same slot", REDIS_TROUBLE_CLUSTER },
                { "MOVED 3999 127.0.0.1:6381", REDIS_TROUBLE_CLUSTER },
                { "CLUSTERDOWN The cluster is down", REDIS_TROUBLE_LOADING },
                { "WRONGTYPE Operation against a key", REDIS_TROUBLE_OTHER },
                { "ERR DB index is out of range", REDIS_TROUBLE_DATABASE },
                { "ERR SELECT is not allowed in cluster mode", REDIS_TROUBLE_DATABASE },
                { "ERR max number of clients reached", REDIS_TROUBLE_UNREACHABLE },
                { "BUSY Redis is busy running a script.", REDIS_TROUBLE_LOADING },
                { "BUSYGROUP Consumer Group name already exists", REDIS_TROUBLE_OTHER },
                { "DENIED Redis is running in protected mode", REDIS_TROUBLE_PASSWORD },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                redisReply *reply = bulk(cases[i].text, strlen(cases[i].text));

                test_int(redis_trouble_of(reply), ==, REDIS_TROUBLE_NONE);
                reply->type = REDIS_REPLY_ERROR;
                test_int(redis_trouble_of(reply), ==, cases[i].trouble);
                reply_free(reply);
        }
}

TEST_MAIN("machines", { "names of entries", test_ids }, { "an entry with a chunk", test_chunks },
          { "what is no chunk is refused, with the reason", test_chunks_refused },
          { "owners are read strictly", test_owners },
          { "what is no result is refused, with the reason", test_results_refused },
          { "records survive packing, and bad ones are seen", test_records },
          { "times lie between sending and return", test_times }, { "sizes of chunks", test_sizes },
          { "what is outstanding is found", test_outstanding },
          { "kinds of trouble", test_troubles })
