#pragma once

/* A database of jobs in a directory of the test's own. */

#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/supervisor/kept/store.h"
#include "tests/unit/test.h"

static char directory[64], path[128];
static struct store *store;
static struct fault fault;

static inline int reopen(void)
{
        store_close(store);
        store = NULL;
        fault_deinit(&fault);
        return store_open(path, &store, &fault);
}

static inline void begin(void)
{
        strcpy(directory, "/tmp/test-store-XXXXXX");
        test_true(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/jobs.db", directory);
        test_int(reopen(), ==, 0);
}

static inline void end(void)
{
        char command[128];

        store_close(store);
        store = NULL;
        fault_deinit(&fault);
        snprintf(command, sizeof(command), "rm -rf '%s'", directory);
        test_int(system(command), ==, 0);
}

static inline uint64_t add(enum job_state state, uid_t owner, uint64_t ended_ns)
{
        struct job_record record = {
                .state = state,
                .owner = owner,
                .submitted_ns = 1000,
                .ended_ns = ended_ns,
                .spec = json_pack("{s:s}", "workload", "sum"),
                .n_tasks = 7,
        };
        uint64_t number = 0;

        test_int(store_insert(store, &record, &number), ==, 0);
        test_int(store_commit(store), ==, 0);
        job_record_deinit(&record);
        return number;
}

static inline bool is_there(uint64_t number)
{
        struct job_record record = JOB_RECORD_NULL;
        int r = store_get(store, number, &record);

        job_record_deinit(&record);
        test_true(r == 0 || r == -ENOENT);
        return r == 0;
}

static inline void sql(const char *text)
{
        sqlite3 *db;

        test_int(sqlite3_open(path, &db), ==, SQLITE_OK);
        test_int(sqlite3_exec(db, text, NULL, NULL, NULL), ==, SQLITE_OK);
        test_int(sqlite3_close(db), ==, SQLITE_OK);
}

static inline uint64_t before(uint64_t number, uid_t owner)
{
        struct job_record record = JOB_RECORD_NULL;
        int r = store_get_before(store, number, owner, &record);
        uint64_t found = record.number;

        job_record_deinit(&record);
        return r < 0 ? 0 : found;
}

static inline uint64_t live_after(uint64_t number)
{
        struct job_record record = JOB_RECORD_NULL;
        int r = store_get_live_after(store, number, &record);
        uint64_t found = record.number;

        job_record_deinit(&record);
        return r < 0 ? 0 : found;
}
