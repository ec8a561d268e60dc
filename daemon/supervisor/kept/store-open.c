#include "daemon/supervisor/kept/store-internal.h"

#include <stdio.h>

#include "daemon/supervisor/base/failure.h"

#define STORE_VERSION 7

/* migrations[N] takes a database from version N to version N + 1. */
static const char *const migrations[STORE_VERSION] = {
        "CREATE TABLE jobs (  number INTEGER PRIMARY KEY AUTOINCREMENT,  state TEXT NOT NULL,  "
        "reason TEXT,  owner INTEGER NOT NULL,  submitted_ns INTEGER NOT NULL,  ended_ns INTEGER "
        "NOT NULL,  spec TEXT NOT NULL,  n_tasks INTEGER NOT NULL,  n_done INTEGER NOT NULL,  "
        "n_failed INTEGER NOT NULL,  summary TEXT,  cgroup TEXT);"
        "CREATE INDEX jobs_live ON jobs (number) WHERE state IN ('queued', 'running');"
        "CREATE INDEX jobs_owner ON jobs (owner, number);"
        "CREATE INDEX jobs_ended ON jobs (ended_ns) WHERE state NOT IN ('queued', 'running');"
        "PRAGMA user_version = 1;",

        "ALTER TABLE jobs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;"
        "PRAGMA user_version = 2;",

        "CREATE TABLE totals (  metric TEXT NOT NULL,  level TEXT NOT NULL,  workload TEXT NOT "
        "NULL,  outcome TEXT NOT NULL,  reason TEXT NOT NULL,  bucket TEXT NOT NULL,  value "
        "NUMERIC NOT NULL,  PRIMARY KEY (metric, level, workload, outcome, reason, bucket)) "
        "WITHOUT ROWID;"
        "PRAGMA user_version = 3;",

        /* Rows that could not be read, unchanged, with the columns that jobs had at the time. */
        "CREATE TABLE damaged (  number INTEGER PRIMARY KEY, state, reason, owner, submitted_ns, "
        "ended_ns, spec, n_tasks,  n_done, n_failed, summary, cgroup, paused);"
        "PRAGMA user_version = 4;",

        /*
         * Nobody knows how long ago older jobs ended by this clock. They count as just ended, and
         * are kept that much longer.
         */
        "ALTER TABLE jobs ADD COLUMN size INTEGER NOT NULL DEFAULT 0;"
        "UPDATE jobs SET size = 4096 + 32 * n_tasks;"
        "ALTER TABLE jobs ADD COLUMN ended_seen_ns INTEGER NOT NULL DEFAULT 0;"
        "DROP INDEX jobs_ended;"
        "CREATE INDEX jobs_ended ON jobs (ended_seen_ns) WHERE state NOT IN ('queued', 'running');"
        "CREATE TABLE clock (seen_ns INTEGER NOT NULL);"
        "INSERT INTO clock VALUES (0);"
        "PRAGMA user_version = 5;",

        "ALTER TABLE jobs ADD COLUMN parts TEXT;"
        "PRAGMA user_version = 6;",

        "ALTER TABLE jobs ADD COLUMN uses_demo INTEGER;"
        "PRAGMA user_version = 7;",
};

#define OLD_COLUMNS                                                                               \
        "number, state, reason, owner, submitted_ns, ended_ns, spec, n_tasks, n_done, n_failed, " \
        "summary, cgroup, paused"
#define COLUMNS OLD_COLUMNS ", size, parts, uses_demo"
#define ENDED   "state NOT IN ('queued', 'running')"

static const char *const statements[_STATEMENT_N] = {
        [INSERT] = "INSERT INTO jobs (state, reason, owner, submitted_ns, ended_ns, spec, n_tasks, "
                   "n_done, n_failed, summary, cgroup, size, ended_seen_ns, uses_demo) VALUES "
                   "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
        [UPDATE] = "UPDATE jobs SET state=?1, reason=?2, ended_ns=?3, n_done=?4, n_failed=?5, "
                   "summary=?6, cgroup=?7, paused=?8, size=?10, ended_seen_ns=?11, parts=?12 WHERE "
                   "number=?9",
        [SET_SPEC] = "UPDATE jobs SET spec=?1 WHERE number=?2",
        [SET_ASIDE] = "INSERT OR REPLACE INTO damaged (" OLD_COLUMNS ") SELECT " OLD_COLUMNS
                      " FROM jobs WHERE number=?1",
        [DELETE] = "DELETE FROM jobs WHERE number=?1",
        [GET] = "SELECT " COLUMNS " FROM jobs WHERE number=?1",
        [GET_ASIDE] = "SELECT number FROM damaged WHERE number=?1",
        [GET_BEFORE] = "SELECT " COLUMNS " FROM jobs WHERE number<?1 ORDER BY number DESC LIMIT 1",
        [GET_BEFORE_OF] = "SELECT " COLUMNS
                          " FROM jobs WHERE number<?1 AND owner=?2 ORDER BY number DESC LIMIT 1",
        [GET_LIVE] = "SELECT " COLUMNS " FROM jobs WHERE state IN ('queued', 'running') AND "
                     "number>?1 ORDER BY number LIMIT 1",
        /*
         * The newest ended job that is not among the newest ?1. Each call finds one, until none is
         * left, so the order does not matter.
         */
        [OVER_KEEP] = "SELECT number, owner, size FROM jobs WHERE " ENDED
                      " ORDER BY number DESC LIMIT 1 OFFSET ?1",
        [OVER_AGE] = "SELECT number, owner, size FROM jobs WHERE " ENDED
                     " AND ended_seen_ns<?1 ORDER BY ended_seen_ns LIMIT 1",
        [OLDEST_OF] = "SELECT number, owner, size FROM jobs WHERE owner=?1 AND " ENDED
                      " ORDER BY number LIMIT 1",
        [KEPT_SIZES] = "SELECT owner, SUM(size) FROM jobs WHERE " ENDED " GROUP BY owner",
        [SET_CLOCK] = "UPDATE clock SET seen_ns=?1",
        [SET_SEQUENCE] = "UPDATE sqlite_sequence SET seq=MAX(seq, ?1) WHERE name='jobs'",
        [ADD_SEQUENCE] = "INSERT INTO sqlite_sequence (name, seq) SELECT 'jobs', ?1 WHERE NOT "
                         "EXISTS (SELECT 1 FROM sqlite_sequence WHERE name='jobs')",
        [ADD_TOTAL] = "INSERT INTO totals VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT DO UPDATE SET "
                      "value = value + excluded.value",
        [GET_TOTALS] = "SELECT metric, level, workload, outcome, reason, bucket, value FROM totals "
                       "WHERE metric=?1 ORDER BY level, workload, outcome, reason, bucket",
};

int store_errno(int code)
{
        switch (code & 0xff) {
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_READONLY:
                return -EROFS;
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return -EACCES;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EUCLEAN;
        case SQLITE_TOOBIG:
                return -E2BIG;
        default:
                return -EIO;
        }
}

/* If a system call failed, its errno tells more: SQLite calls an exceeded quota an I/O error. */
static int store_errno_of(struct store *store, int code)
{
        int error = sqlite3_system_errno(store->db), r = store_errno(code);

        return r == -EIO && error > 0 ? -error : r;
}

int store_exec(struct store *store, const char *sql)
{
        int r = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

        return r == SQLITE_OK ? 0 : store_errno_of(store, r);
}

/* Runs a query for one number. *@ret is left alone when there is no row. */
static int query_int(struct store *store, const char *sql, int64_t *ret)
{
        sqlite3_stmt *statement;
        int r;

        r = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
        if (r != SQLITE_OK)
                return store_errno(r);
        r = sqlite3_step(statement);
        if (r == SQLITE_ROW)
                *ret = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        return r == SQLITE_ROW || r == SQLITE_DONE ? 0 : store_errno(r);
}

static int migrate(struct store *store)
{
        int64_t version = 0;
        int r;

        r = query_int(store, "PRAGMA user_version", &version);
        if (r < 0)
                return r;
        if (version < 0 || version > STORE_VERSION) {
                store->why = "it was written by a newer version of pppd";
                return -EPROTONOSUPPORT;
        }
        if (version == STORE_VERSION)
                return 0;
        r = store_exec(store, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        for (; version < STORE_VERSION; ++version) {
                r = store_exec(store, migrations[version]);
                if (r < 0)
                        return r;
        }
        return store_exec(store, "COMMIT");
}

/* The clock continues from the last job's end, if that was after the clock was last stored. */
static int start_clock(struct store *store)
{
        int64_t seen = 0;
        int r;

        r = query_int(store,
                      "SELECT MAX((SELECT seen_ns FROM clock), IFNULL((SELECT MAX(ended_seen_ns) "
                      "FROM jobs), 0))",
                      &seen);
        store->seen_ns = (uint64_t)MAX(seen, 0);
        store->opened_ns = now_boottime();
        return r;
}

static int prepare(struct store *store)
{
        for (unsigned i = 0; i < _STATEMENT_N; ++i) {
                int r = sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                           &store->statements[i], NULL);

                if (r != SQLITE_OK)
                        return store_errno(r);
        }
        return 0;
}

/* An update without effect shows now, and not at the first job, whether the file can be written. */
static int check_writable(struct store *store)
{
        int r;

        r = store_exec(store, "BEGIN IMMEDIATE; UPDATE sqlite_sequence SET seq = seq;");
        if (r < 0)
                return r;
        return store_exec(store, "COMMIT");
}

/*
 * Sizes of the write-ahead log, in pages, at which another process is to move it into the database,
 * and at which a commit does so itself because no other process has.
 */
#define LOG_PAGES     1000
#define LOG_PAGES_MAX 16000

static int on_commit(void *userdata, sqlite3 *db, const char *name, int n_pages)
{
        struct store *store = userdata;

        store->n_log = n_pages;
        if (n_pages >= LOG_PAGES_MAX)
                (void)sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        return SQLITE_OK;
}

bool store_wants_checkpoint(const struct store *store)
{
        return store->n_log >= LOG_PAGES;
}

int store_checkpoint(const char *path)
{
        sqlite3 *db;
        int r;

        r = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        /*
         * sqlite3_wal_checkpoint_v2() would do nothing here: SQLite looks for a write-ahead log
         * only when the first statement is run.
         */
        if (r == SQLITE_OK)
                r = sqlite3_exec(db, "PRAGMA wal_checkpoint(PASSIVE)", NULL, NULL, NULL);
        sqlite3_close(db);
        return r == SQLITE_OK ? 0 : store_errno(r);
}

/* How long, in milliseconds, we wait at the start for a program that has locked the database. */
#define START_BUSY_MS 250

static int open_database(struct store *store, const char *path)
{
        int r;

        r = sqlite3_open_v2(path, &store->db,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
        if (r != SQLITE_OK)
                return store_errno_of(store, r);
        sqlite3_busy_timeout(store->db, START_BUSY_MS);
        r = store_exec(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
        /* This replaces SQLite's own hook, which makes the checkpoint within a commit. */
        (void)sqlite3_wal_hook(store->db, on_commit, store);
        if (r >= 0)
                r = migrate(store);
        if (r >= 0)
                r = start_clock(store);
        if (r >= 0)
                r = check_writable(store);
        if (r >= 0)
                r = prepare(store);
        /* From here on, waiting for a lock would hold up all clients. */
        sqlite3_busy_timeout(store->db, 0);
        return r;
}

static const char *advice(int error)
{
        switch (error) {
        case -EUCLEAN:
                return "move it away (the results of its jobs stay in jobs/) and start again";
        case -EPROTONOSUPPORT:
                return "install that version, or give another directory with --state DIR";
        case -EBUSY:
                return "end the program that has locked it";
        default:
                return failure_advice(error);
        }
}

int store_open(const char *path, struct store **ret, struct fault *fault)
{
        _cleanup_(store_closep) struct store *store = NULL;
        int r;
        store = calloc(1, sizeof(*store));
        if (!store)
                return fault_errno(fault, -ENOMEM, advice(-ENOMEM), "open the database of jobs %s",
                                   path);
        r = open_database(store, path);
        if (r < 0)
                return fault_why(fault, r, store_error(store), advice(r),
                                 "open the database of jobs %s", path);
        *ret = steal_ptr(store);
        return 0;
}

void store_close(struct store *store)
{
        if (!store)
                return;
        for (unsigned i = 0; i < _STATEMENT_N; ++i)
                sqlite3_finalize(store->statements[i]);
        sqlite3_close(store->db);
        free(store);
}
