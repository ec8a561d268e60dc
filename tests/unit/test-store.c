/* The database of jobs: what is written is read back, and in which order. */

#include <sys/wait.h>

#include "tests/unit/store-file.h"

/* A row that was not committed goes, and its number is the next one's. */
static void test_not_committed(void)
{
        struct job_record record = { .state = JOB_QUEUED, .spec = json_object(), .n_tasks = 1 };
        uint64_t first, number = 0;

        begin();
        first = add(JOB_DONE, 1000, 1);
        test_int(store_insert(store, &record, &number), ==, 0);
        test_int(number, ==, first + 1);
        store_rollback(store);
        test_true(!is_there(number));
        test_int(store_commit(store), <, 0);
        store_rollback(store);

        test_int(store_insert(store, &record, &number), ==, 0);
        test_int(reopen(), ==, 0);
        test_true(is_there(first) && !is_there(number));
        test_int(add(JOB_QUEUED, 1000, 0), ==, number);
        test_true(is_there(number));
        job_record_deinit(&record);
        end();
}

static void test_round_trip(void)
{
        struct job_record record = JOB_RECORD_NULL, read = JOB_RECORD_NULL;
        uint64_t number = 0;

        begin();
        record.state = JOB_RUNNING;
        record.owner = 1000;
        record.submitted_ns = 1790000000123456789;
        record.spec = json_pack("{s:s, s:i}", "level", "threads", "workers", 3);
        record.n_tasks = 100;
        record.uses_demo = DEMO_USED;
        record.cgroup = strdup("/sys/fs/cgroup/x");
        test_int(store_insert(store, &record, &number), ==, 0);
        test_int(store_commit(store), ==, 0);
        test_int(number, ==, 1);

        record.number = number;
        record.state = JOB_FAILED;
        record.reason = strdup("runner-died: killed by signal 9 (Killed)");
        record.ended_ns = 1790000001123456789;
        record.n_done = 60;
        record.n_failed = 40;
        record.summary = json_pack("{s:f}", "wall_seconds", 1.5);
        free(record.cgroup);
        record.cgroup = NULL;
        test_int(store_update(store, &record), ==, 0);

        test_int(reopen(), ==, 0);
        test_int(store_get(store, 1, &read), ==, 0);
        test_int(read.number, ==, 1);
        test_int(read.state, ==, JOB_FAILED);
        test_str(read.reason, "runner-died: killed by signal 9 (Killed)");
        test_int(read.owner, ==, 1000);
        test_int(read.submitted_ns, ==, 1790000000123456789);
        test_int(read.ended_ns, ==, 1790000001123456789);
        test_int(read.n_tasks, ==, 100);
        test_int(read.n_done, ==, 60);
        test_int(read.n_failed, ==, 40);
        test_true(!read.cgroup);
        test_int(read.uses_demo, ==, DEMO_USED);
        test_true(json_equal(read.spec, record.spec));
        test_true(json_equal(read.summary, record.summary));
        job_record_deinit(&read);
        job_record_deinit(&record);
        end();
}

static void test_reopen_job(void)
{
        struct job_record record = JOB_RECORD_NULL, read = JOB_RECORD_NULL;

        begin();
        record.state = JOB_QUEUED;
        record.spec = json_pack("{s:s}", "level", "threads");
        test_int(store_insert(store, &record, &record.number), ==, 0);
        test_int(store_commit(store), ==, 0);
        record.state = JOB_DONE;
        record.summary = json_pack("{s:f}", "wall_seconds", 1.5);
        test_int(store_end(store, &record, NULL, 0), ==, 0);
        test_int(store_get_live_after(store, 0, &read), ==, -ENOENT);

        record.state = JOB_QUEUED;
        json_decref(record.spec);
        record.spec = json_pack("{s:s, s:i}", "level", "threads", "nice", 3);
        test_int(store_reopen(store, &record), ==, 0);
        test_int(reopen(), ==, 0);
        test_int(store_get_live_after(store, 0, &read), ==, 0);
        test_int(read.number, ==, record.number);
        test_true(json_equal(read.spec, record.spec));
        test_true(json_equal(read.summary, record.summary));
        record.number = 77;
        test_int(store_reopen(store, &record), ==, -ENOENT);
        test_str(store_error(store), "there is no such job");
        job_record_deinit(&read);
        job_record_deinit(&record);
        end();
}

static void test_absent(void)
{
        struct job_record record = { .number = 5, .state = JOB_DONE };
        struct outdated outdated;

        begin();
        test_int(store_get(store, 1, &record), ==, -ENOENT);
        test_int(record.number, ==, 5);
        test_int(store_get(store, UINT64_MAX, &record), ==, -ENOENT);
        test_int(store_update(store, &record), ==, -ENOENT);
        test_int(store_delete(store, 5), ==, -ENOENT);
        test_int(store_get_before(store, UINT64_MAX, STORE_ANY_OWNER, &record), ==, -ENOENT);
        test_int(store_get_live_after(store, 0, &record), ==, -ENOENT);
        test_int(store_get_outdated(store, 0, 1, &outdated), ==, -ENOENT);
        test_int(store_get_oldest_of(store, 0, &outdated), ==, -ENOENT);
        end();
}

/* A number names one job for ever, also when the newest one was forgotten. */
static void test_numbers_grow(void)
{
        begin();
        test_int(add(JOB_DONE, 0, 1), ==, 1);
        test_int(add(JOB_DONE, 0, 1), ==, 2);
        test_int(store_delete(store, 2), ==, 0);
        test_int(reopen(), ==, 0);
        test_int(add(JOB_DONE, 0, 1), ==, 3);
        end();
}

static void test_walks(void)
{
        begin();
        add(JOB_DONE, 10, 1);
        add(JOB_RUNNING, 20, 0);
        add(JOB_CANCELLED, 10, 1);
        add(JOB_QUEUED, 20, 0);
        add(JOB_FAILED, 10, 1);
        test_int(before(UINT64_MAX, STORE_ANY_OWNER), ==, 5);
        test_int(before(5, STORE_ANY_OWNER), ==, 4);
        test_int(before(1, STORE_ANY_OWNER), ==, 0);
        test_int(before(UINT64_MAX, 20), ==, 4);
        test_int(before(4, 20), ==, 2);
        test_int(before(2, 20), ==, 0);
        test_int(before(UINT64_MAX, 30), ==, 0);
        test_int(live_after(0), ==, 2);
        test_int(live_after(2), ==, 4);
        test_int(live_after(4), ==, 0);
        end();
}

static void test_outdated(void)
{
        struct outdated outdated;

        begin();
        add(JOB_DONE, 0, 100);
        add(JOB_QUEUED, 0, 0);
        add(JOB_DONE, 0, 200);
        add(JOB_DONE, 5, 300);
        /* Live jobs do not count and do not go. */
        test_int(store_get_outdated(store, 3, 0, &outdated), ==, -ENOENT);
        test_int(store_get_outdated(store, 2, 0, &outdated), ==, 0);
        test_int(outdated.number, ==, 1);
        test_int(store_get_oldest_of(store, 5, &outdated), ==, 0);
        test_int(outdated.number, ==, 4);
        test_int(outdated.owner, ==, 5);
        end();
}

#define DAY (UINT64_C(86400) * NSEC_PER_SEC)

/* Age is time that a supervisor saw pass: what the wall clock says of the end is no matter. */
static void test_age(void)
{
        struct outdated outdated;

        begin();
        add(JOB_DONE, 0, 1);
        add(JOB_DONE, 0, now_realtime() + 1000 * DAY);
        test_int(store_get_outdated(store, 10, 30 * DAY, &outdated), ==, -ENOENT);
        test_int(store_keep_clock(store), ==, 0);
        store_close(store);
        store = NULL;
        /* 29 and then two more days of it. */
        sql("UPDATE clock SET seen_ns = seen_ns + 29 * 86400 * 1000000000");
        test_int(reopen(), ==, 0);
        test_int(store_get_outdated(store, 10, 30 * DAY, &outdated), ==, -ENOENT);
        add(JOB_DONE, 0, 1);
        test_int(store_keep_clock(store), ==, 0);
        store_close(store);
        store = NULL;
        sql("UPDATE clock SET seen_ns = seen_ns + 2 * 86400 * 1000000000");
        test_int(reopen(), ==, 0);
        for (unsigned i = 1; i <= 2; ++i) {
                test_int(store_get_outdated(store, 10, 30 * DAY, &outdated), ==, 0);
                test_int(outdated.number, ==, i);
                test_int(store_delete(store, i), ==, 0);
        }
        test_int(store_get_outdated(store, 10, 30 * DAY, &outdated), ==, -ENOENT);
        test_int(store_get_outdated(store, 10, 0, &outdated), ==, -ENOENT);
        end();
}

/* A supervisor that is killed has not stored the clock: it never runs backwards past an end. */
static void test_clock_goes_on(void)
{
        uint64_t seen;

        begin();
        sql("UPDATE clock SET seen_ns = 86400 * 1000000000");
        test_int(reopen(), ==, 0);
        add(JOB_DONE, 0, 1);
        seen = store_clock(store);
        test_int(seen, >=, DAY);
        sql("UPDATE clock SET seen_ns = 0");
        test_int(reopen(), ==, 0);
        test_int(store_clock(store), >=, DAY);
        end();
}

static void test_skipped_numbers(void)
{
        begin();
        test_int(store_skip_numbers(store, 7), ==, 0);
        test_int(add(JOB_DONE, 0, 1), ==, 8);
        test_int(store_skip_numbers(store, 3), ==, 0);
        test_int(add(JOB_DONE, 0, 1), ==, 9);
        test_int(store_skip_numbers(store, 20), ==, 0);
        test_int(reopen(), ==, 0);
        test_int(add(JOB_DONE, 0, 1), ==, 21);
        end();
}

static void add_size(void *userdata, uid_t owner, uint64_t size)
{
        uint64_t *sizes = userdata;

        sizes[owner] += size;
}

static void test_sizes(void)
{
        struct job_record record = JOB_RECORD_NULL;
        uint64_t sizes[3] = { 0 };

        begin();
        for (unsigned i = 0; i < 4; ++i) {
                add(i == 3 ? JOB_RUNNING : JOB_DONE, i % 2 + 1, 1);
                test_int(store_get(store, i + 1, &record), ==, 0);
                record.size = 100 * (i + 1);
                test_int(store_update(store, &record), ==, 0);
                job_record_deinit(&record);
        }
        test_int(store_get(store, 3, &record), ==, 0);
        test_int(record.size, ==, 300);
        job_record_deinit(&record);
        test_int(store_read_kept_sizes(store, add_size, sizes), ==, 0);
        test_int(sizes[1], ==, 400);
        test_int(sizes[2], ==, 200);
        end();
}

/* Text for people goes through parameters, not through SQL. */
static void test_quoting(void)
{
        struct job_record record = JOB_RECORD_NULL;

        begin();
        add(JOB_RUNNING, 0, 0);
        test_int(store_get(store, 1, &record), ==, 0);
        record.reason = strdup("'; DROP TABLE jobs; -- \xc3\xa4\n");
        test_int(store_update(store, &record), ==, 0);
        job_record_deinit(&record);
        test_int(store_get(store, 1, &record), ==, 0);
        test_str(record.reason, "'; DROP TABLE jobs; -- \xc3\xa4\n");
        job_record_deinit(&record);
        end();
}

static int insert_one(void)
{
        struct job_record record = { .spec = json_pack("{s:s}", "level", "serial") };
        uint64_t number;
        int r = store_insert(store, &record, &number);

        if (r >= 0)
                r = store_commit(store);
        job_record_deinit(&record);
        return r;
}

static off_t log_size(void)
{
        char name[256];
        struct stat st;

        snprintf(name, sizeof(name), "%s-wal", path);
        return stat(name, &st) < 0 ? -1 : st.st_size;
}

/* glibc hands main()'s arguments to constructors. */
__attribute__((constructor)) static void checkpoint_instead(int argc, char **argv)
{
        if (argc == 3 && streq(argv[1], "--checkpoint"))
                _exit(-store_checkpoint(argv[2]));
}

/* In another process: SQLite's locks are a process's, and the one here keeps the database open. */
static int checkpoint_in_child(void)
{
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                execl("/proc/self/exe", "test-store", "--checkpoint", path, NULL);
                _exit(126);
        }
        return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* Others are not kept waiting for the disk at a commit; the log begins anew once it was moved. */
static void test_checkpoint(void)
{
        off_t size;

        begin();
        for (unsigned i = 0; i < 5000 && !store_wants_checkpoint(store); ++i)
                test_int(insert_one(), ==, 0);
        test_true(store_wants_checkpoint(store));
        test_int(insert_one(), ==, 0);
        test_true(store_wants_checkpoint(store));
        test_int(checkpoint_in_child(), ==, 0);
        size = log_size();
        test_int(size, >, 4000000);
        test_int(insert_one(), ==, 0);
        test_true(!store_wants_checkpoint(store));
        test_int(log_size(), ==, size);
        end();
}

static void test_locked_out(void)
{
        uint64_t number = 0;
        struct job_record record = { .spec = json_object() };
        sqlite3 *other;

        begin();
        test_int(sqlite3_open(path, &other), ==, SQLITE_OK);
        test_int(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
        test_int(store_insert(store, &record, &number), ==, -EBUSY);
        test_contains(store_error(store), "locked");
        test_int(number, ==, 0);
        test_int(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), ==, SQLITE_OK);
        test_int(sqlite3_close(other), ==, SQLITE_OK);
        test_int(store_insert(store, &record, &number), ==, 0);
        test_int(store_commit(store), ==, 0);
        job_record_deinit(&record);
        end();
}

static void test_no_directory(void)
{
        begin();
        store_close(store);
        store = NULL;
        test_int(store_open("/nonexistent/jobs.db", &store, &fault), <, 0);
        test_contains(fault.attempted, "/nonexistent/jobs.db");
        test_true(!store);
        end();
}

static double sums[3]; /* of the level a: done, failed; of b */

static void add_up(void *userdata, const struct total *total)
{
        test_str(total->metric, "jobs");
        test_str(total->workload, "sum");
        test_str(total->bucket, "");
        if (streq(total->level, "b"))
                sums[2] += total->value;
        else
                sums[streq(total->outcome, "failed")] += total->value;
}

static void read_sums(void)
{
        memset(sums, 0, sizeof(sums));
        test_int(store_read_totals(store, "jobs", add_up, NULL), ==, 0);
}

static void test_totals(void)
{
        const struct total totals[] = {
                { "jobs", "a", "sum", "done", "none", NULL, 1 },
                { "jobs", "a", "sum", "failed", "none", NULL, 0.5 },
                { "jobs", "b", "sum", NULL, NULL, NULL, 3 },
                { "other", "a", "sum", NULL, NULL, NULL, 7 },
        };
        struct job_record record = { .number = 0, .state = JOB_DONE }, stored = JOB_RECORD_NULL;

        begin();
        read_sums();
        test_true(sums[0] == 0 && sums[1] == 0 && sums[2] == 0);
        record.number = add(JOB_RUNNING, 1, 0);
        test_int(store_end(store, &record, totals, ARRAY_SIZE(totals)), ==, 0);
        test_int(store_end(store, &record, totals, 1), ==, 0);
        read_sums();
        test_true(sums[0] == 2 && sums[1] == 0.5 && sums[2] == 3);

        /* Both or neither: there is no such job. */
        record.number = 12345;
        test_int(store_end(store, &record, totals, ARRAY_SIZE(totals)), ==, -ENOENT);
        test_str(store_error(store), "there is no such job");
        test_int(reopen(), ==, 0);
        read_sums();
        test_true(sums[0] == 2 && sums[1] == 0.5 && sums[2] == 3);

        /* The jobs are forgotten, the totals are not. */
        test_int(store_get(store, 1, &stored), ==, 0);
        test_int(stored.state, ==, JOB_DONE);
        job_record_deinit(&stored);
        test_int(store_delete(store, 1), ==, 0);
        read_sums();
        test_true(sums[0] == 2);
        end();
}

/* A transaction that fails in its middle leaves no trace, and the next one works. */
static void test_totals_fail(void)
{
        const struct total totals[] = {
                { "jobs", "a", "sum", "done", "none", NULL, 1 },
                { NULL, "a", "sum", NULL, NULL, NULL, 1 },
        };
        struct job_record record = { .state = JOB_DONE }, stored = JOB_RECORD_NULL;

        begin();
        record.number = add(JOB_RUNNING, 1, 0);
        test_int(store_end(store, &record, totals, 2), <, 0);
        test_contains(store_error(store), "constraint");
        test_int(store_get(store, record.number, &stored), ==, 0);
        test_int(stored.state, ==, JOB_RUNNING);
        job_record_deinit(&stored);
        test_int(store_end(store, &record, totals, 1), ==, 0);
        read_sums();
        test_true(sums[0] == 1);
        end();
}

TEST_MAIN("store", { "a job there and back", test_round_trip },
          { "not committed", test_not_committed }, { "what is not there", test_absent },
          { "an ended job is live again", test_reopen_job },
          { "numbers only grow", test_numbers_grow }, { "walks", test_walks },
          { "what is outdated", test_outdated }, { "age is time that was seen to pass", test_age },
          { "the clock goes on", test_clock_goes_on },
          { "numbers that are skipped", test_skipped_numbers }, { "sizes", test_sizes },
          { "quoting", test_quoting }, { "locked by another", test_locked_out },
          { "the log is moved by another process", test_checkpoint },
          { "no directory", test_no_directory }, { "totals", test_totals },
          { "totals that cannot be written", test_totals_fail })
