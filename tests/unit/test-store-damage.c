/* The database of jobs: what a broken file gets, one of another version, and damaged rows. */

#include "tests/unit/store-file.h"

static void overwrite(const char *text)
{
        FILE *f;

        store_close(store);
        store = NULL;
        f = fopen(path, "we");
        test_true(f);
        for (int i = 0; i < 1000; ++i)
                test_true(fputs(text, f) >= 0);
        test_int(fclose(f), ==, 0);
}

static void test_not_a_database(void)
{
        begin();
        overwrite("this is no database ");
        test_int(reopen(), ==, -EUCLEAN);
        test_contains(fault.attempted, path);
        test_contains(fault.why, "not a database");
        test_contains(fault.advice, "move it away");
        end();
}

static void test_newer_version(void)
{
        begin();
        sql("PRAGMA user_version = 99");
        test_int(reopen(), ==, -EPROTONOSUPPORT);
        test_contains(fault.why, "newer version");
        end();
}

/* A database of the first version gets what was added since. */
static void test_older_version(void)
{
        struct job_record record = JOB_RECORD_NULL;

        begin();
        add(JOB_QUEUED, 0, 0);
        sql("DROP TABLE damaged; DROP TABLE totals; DROP TABLE clock; DROP INDEX jobs_ended;"
            "CREATE INDEX jobs_ended ON jobs (ended_ns) WHERE state NOT IN ('queued', 'running');"
            "ALTER TABLE jobs DROP COLUMN size; ALTER TABLE jobs DROP COLUMN ended_seen_ns; ALTER "
            "TABLE jobs DROP COLUMN paused; "
            "ALTER TABLE jobs DROP COLUMN parts; ALTER TABLE jobs DROP COLUMN uses_demo; "
            "PRAGMA user_version = 1");
        test_int(reopen(), ==, 0);
        test_int(store_get(store, 1, &record), ==, 0);
        test_true(!record.paused);
        test_true(!record.parts);
        test_int(record.uses_demo, ==, DEMO_UNKNOWN);
        record.paused = true;
        record.parts = json_pack("{s:f}", "cpu_seconds", 1.5);
        test_int(store_update(store, &record), ==, 0);
        job_record_deinit(&record);
        test_int(reopen(), ==, 0);
        test_int(store_get(store, 1, &record), ==, 0);
        test_true(record.paused);
        test_true(json_number_value(json_object_get(record.parts, "cpu_seconds")) == 1.5);
        test_str(job_record_state_name(&record), "paused");
        test_int(record.state, ==, JOB_QUEUED);
        job_record_deinit(&record);
        end();
}

static void damage(void)
{
        add(JOB_DONE, 10, 1);
        add(JOB_RUNNING, 10, 0);
        add(JOB_QUEUED, 10, 0);
        add(JOB_RUNNING, 10, 0);
        add(JOB_DONE, 10, 1);
        add(JOB_DONE, 10, 1);
        sql("UPDATE jobs SET spec = '{:\"sum\"}' WHERE number IN (2, 3);"
            "UPDATE jobs SET summary = '[1]' WHERE number = 5;"
            "UPDATE jobs SET state = 'asleep' WHERE number = 6");
}

/* Whoever comes across it, in whichever order. */
static void test_damaged_rows(void)
{
        begin();
        damage();
        test_int(live_after(0), ==, 4);
        test_int(live_after(4), ==, 0);
        test_int(before(UINT64_MAX, STORE_ANY_OWNER), ==, 4);
        test_int(before(4, STORE_ANY_OWNER), ==, 1);
        test_int(before(4, 10), ==, 1);
        test_int(before(1, 10), ==, 0);
        test_int(reopen(), ==, 0);
        test_int(before(UINT64_MAX, 10), ==, 4);
        end();
}

/* Another's lock keeps it from being set aside; it is passed over just the same. */
static void test_damaged_in_place(void)
{
        sqlite3 *other;

        begin();
        damage();
        test_int(sqlite3_open(path, &other), ==, SQLITE_OK);
        test_int(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
        test_int(live_after(0), ==, 4);
        test_int(before(4, 10), ==, 1);
        test_int(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), ==, SQLITE_OK);
        test_int(sqlite3_close(other), ==, SQLITE_OK);
        test_int(live_after(0), ==, 4);
        end();
}

static void test_damaged_by_number(void)
{
        struct job_record record = JOB_RECORD_NULL;

        begin();
        damage();
        for (unsigned i = 0; i < 2; ++i) {
                test_int(store_get(store, 2, &record), ==, -EUCLEAN);
                test_contains(store_error(store), "damaged");
                test_int(store_get(store, 6, &record), ==, -EUCLEAN);
        }
        test_int(store_get(store, 7, &record), ==, -ENOENT);
        /* The database as a whole goes on, and a number names one job for ever. */
        test_int(add(JOB_DONE, 0, 1), ==, 7);
        test_int(store_get(store, 7, &record), ==, 0);
        job_record_deinit(&record);
        end();
}

static unsigned n_asked, refused; /* allocations of jansson, and which of them it does not get */

static void *allocate(size_t size)
{
        return n_asked++ == refused ? NULL : malloc(size);
}

/* Want of memory is no damage. */
static void test_want_of_memory(void)
{
        struct job_record record = JOB_RECORD_NULL;

        begin();
        add(JOB_DONE, 0, 1);
        for (refused = 0; refused == 0 || n_asked >= refused; ++refused) {
                int r;

                n_asked = 0;
                json_set_alloc_funcs(allocate, free);
                r = store_get(store, 1, &record);
                json_set_alloc_funcs(malloc, free);
                test_true(r == 0 || r == -ENOMEM);
                job_record_deinit(&record);
        }
        test_int(refused, >, 5);
        test_true(is_there(1));
        end();
}

TEST_MAIN("store-damage", { "not a database", test_not_a_database },
          { "a newer version", test_newer_version }, { "an older version", test_older_version },
          { "damaged rows", test_damaged_rows },
          { "damaged rows that stay", test_damaged_in_place },
          { "a damaged row by its number", test_damaged_by_number },
          { "want of memory is no damage", test_want_of_memory })
