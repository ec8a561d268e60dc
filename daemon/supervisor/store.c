#include "daemon/supervisor/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>

#define STORE_VERSION 3

/* Each takes the database from the version of its index to the next. */
static const char *const migrations[STORE_VERSION] = {
        "CREATE TABLE jobs ("
        "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
        "  state TEXT NOT NULL,"
        "  reason TEXT,"
        "  owner INTEGER NOT NULL,"
        "  submitted_ns INTEGER NOT NULL,"
        "  ended_ns INTEGER NOT NULL,"
        "  spec TEXT NOT NULL,"
        "  n_tasks INTEGER NOT NULL,"
        "  n_done INTEGER NOT NULL,"
        "  n_failed INTEGER NOT NULL,"
        "  summary TEXT,"
        "  cgroup TEXT);"
        "CREATE INDEX jobs_live ON jobs (number) WHERE state IN ('queued', 'running');"
        "CREATE INDEX jobs_owner ON jobs (owner, number);"
        "CREATE INDEX jobs_ended ON jobs (ended_ns) WHERE state NOT IN ('queued', 'running');"
        "PRAGMA user_version = 1;",

        "ALTER TABLE jobs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;"
        "PRAGMA user_version = 2;",

        "CREATE TABLE totals ("
        "  metric TEXT NOT NULL,"
        "  level TEXT NOT NULL,"
        "  workload TEXT NOT NULL,"
        "  outcome TEXT NOT NULL,"
        "  reason TEXT NOT NULL,"
        "  bucket TEXT NOT NULL,"
        "  value NUMERIC NOT NULL,"
        "  PRIMARY KEY (metric, level, workload, outcome, reason, bucket)) WITHOUT ROWID;"
        "PRAGMA user_version = 3;",
};

#define COLUMNS                                                                                    \
        "number, state, reason, owner, submitted_ns, ended_ns, spec, n_tasks, n_done, n_failed, "  \
        "summary, cgroup, paused"

enum statement {
        INSERT, UPDATE, DELETE, GET, GET_BEFORE, GET_BEFORE_OF, GET_LIVE, OVER_KEEP, OVER_AGE,
        ADD_TOTAL, GET_TOTALS, _STATEMENT_N,
};

static const char *const statements[_STATEMENT_N] = {
        [INSERT] = "INSERT INTO jobs (state, reason, owner, submitted_ns, ended_ns, spec, n_tasks, "
                   "n_done, n_failed, summary, cgroup) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
        [UPDATE] = "UPDATE jobs SET state=?1, reason=?2, ended_ns=?3, n_done=?4, n_failed=?5, "
                   "summary=?6, cgroup=?7, paused=?8 WHERE number=?9",
        [DELETE] = "DELETE FROM jobs WHERE number=?1",
        [GET] = "SELECT " COLUMNS " FROM jobs WHERE number=?1",
        [GET_BEFORE] = "SELECT " COLUMNS " FROM jobs WHERE number<?1 ORDER BY number DESC LIMIT 1",
        [GET_BEFORE_OF] = "SELECT " COLUMNS " FROM jobs WHERE number<?1 AND owner=?2 "
                          "ORDER BY number DESC LIMIT 1",
        [GET_LIVE] = "SELECT " COLUMNS " FROM jobs WHERE state IN ('queued', 'running') "
                     "AND number>?1 ORDER BY number LIMIT 1",
        /* The last of those past the newest ?1; one a call, so the order of removal is no matter. */
        [OVER_KEEP] = "SELECT number FROM jobs WHERE state NOT IN ('queued', 'running') "
                      "ORDER BY number DESC LIMIT 1 OFFSET ?1",
        [OVER_AGE] = "SELECT number FROM jobs WHERE state NOT IN ('queued', 'running') "
                     "AND ended_ns<?1 ORDER BY ended_ns LIMIT 1",
        [ADD_TOTAL] = "INSERT INTO totals VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT DO UPDATE "
                      "SET value = value + excluded.value",
        [GET_TOTALS] = "SELECT metric, level, workload, outcome, reason, bucket, value FROM totals "
                       "WHERE metric=?1 ORDER BY level, workload, outcome, reason, bucket",
};

struct store {
        sqlite3 *db;
        sqlite3_stmt *statements[_STATEMENT_N];
        const char *why;                /* when the fault is not SQLite's: the text for store_error() */
};

static int errno_from_sqlite(int code)
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

const char *store_error(const struct store *store)
{
        return store->why ? store->why : sqlite3_errmsg(store->db);
}

static int exec(struct store *store, const char *sql)
{
        int r = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

        return r == SQLITE_OK ? 0 : errno_from_sqlite(r);
}

/* Runs a statement that gives one number; 0 when it gives none. */
static int query_int(struct store *store, const char *sql, int64_t *ret)
{
        sqlite3_stmt *statement;
        int r;

        r = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
        if (r != SQLITE_OK)
                return errno_from_sqlite(r);
        r = sqlite3_step(statement);
        if (r == SQLITE_ROW)
                *ret = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        return r == SQLITE_ROW || r == SQLITE_DONE ? 0 : errno_from_sqlite(r);
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
        r = exec(store, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        for (; version < STORE_VERSION; ++version) {
                r = exec(store, migrations[version]);
                if (r < 0)
                        return r;
        }
        return exec(store, "COMMIT");
}

static int prepare(struct store *store)
{
        for (unsigned i = 0; i < _STATEMENT_N; ++i) {
                int r = sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                           &store->statements[i], NULL);

                if (r != SQLITE_OK)
                        return errno_from_sqlite(r);
        }
        return 0;
}

/* A change that changes nothing tells now, not at the first job, that the file can't be written. */
static int check_writable(struct store *store)
{
        int r;

        r = exec(store, "BEGIN IMMEDIATE; UPDATE sqlite_sequence SET seq = seq;");
        if (r < 0)
                return r;
        return exec(store, "COMMIT");
}

static int open_database(struct store *store, const char *path)
{
        int r;

        r = sqlite3_open_v2(path, &store->db,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
        if (r != SQLITE_OK)
                return errno_from_sqlite(r);
        sqlite3_busy_timeout(store->db, 250);
        r = exec(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                        "PRAGMA wal_autocheckpoint = 1000;");
        if (r >= 0)
                r = migrate(store);
        if (r >= 0)
                r = check_writable(store);
        return r < 0 ? r : prepare(store);
}

static const char *advice(int error)
{
        switch (error) {
        case -EUCLEAN:
                return "move it away (the results of its jobs stay in jobs/) and start again";
        case -EPROTONOSUPPORT:
                return "install that version, or give another directory with --state";
        case -ENOSPC:
                return "make room on its file system";
        case -EBUSY:
                return "end the program that has it open";
        default:
                return "see to the rights and the state of its directory";
        }
}

int store_open(const char *path, struct store **ret, char **ret_error)
{
        _cleanup_(store_closep) struct store *store = NULL;
        int r;

        *ret_error = NULL;
        store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;
        r = open_database(store, path);
        if (r < 0) {
                if (asprintf(ret_error, "cannot open the database of jobs %s: %s; %s", path,
                             store_error(store), advice(r)) < 0)
                        *ret_error = NULL;
                return r;
        }
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

static sqlite3_stmt *begin(struct store *store, enum statement which)
{
        store->why = NULL;
        return store->statements[which];
}

/*
 * Ends a statement: what it bound is borrowed, so it must not outlive the call. @r is sqlite3_step()'s
 * code.
 */
static int finish(sqlite3_stmt *statement, int r)
{
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        return r == SQLITE_DONE || r == SQLITE_ROW ? 0 : errno_from_sqlite(r);
}

static void bind_text(sqlite3_stmt *statement, int i, const char *text)
{
        /* NULL binds NULL. The only failure is a wrong index, and that one is ours. */
        int r = sqlite3_bind_text(statement, i, text, -1, SQLITE_STATIC);

        assert(r == SQLITE_OK || r == SQLITE_TOOBIG);
        (void)r;
}

static void bind_int(sqlite3_stmt *statement, int i, uint64_t value)
{
        int r = sqlite3_bind_int64(statement, i, (sqlite3_int64)value);

        assert(r == SQLITE_OK);
        (void)r;
}

/* The JSON as text; *ret NULL for no JSON. */
static int json_text(const json_t *json, char **ret)
{
        char *text = NULL;

        if (json) {
                text = json_dumps(json, JSON_COMPACT);
                if (!text)
                        return -ENOMEM;
        }
        *ret = text;
        return 0;
}

static int insert(struct store *store, const struct job_record *record, uint64_t *ret_number)
{
        sqlite3_stmt *statement = begin(store, INSERT);
        _cleanup_free_ char *spec = NULL, *summary = NULL;
        int r;

        r = json_text(record->spec, &spec);
        if (r >= 0)
                r = json_text(record->summary, &summary);
        if (r < 0)
                return r;
        bind_text(statement, 1, job_state_name(record->state));
        bind_text(statement, 2, record->reason);
        bind_int(statement, 3, record->owner);
        bind_int(statement, 4, record->submitted_ns);
        bind_int(statement, 5, record->ended_ns);
        bind_text(statement, 6, spec);
        bind_int(statement, 7, record->n_tasks);
        bind_int(statement, 8, record->n_done);
        bind_int(statement, 9, record->n_failed);
        bind_text(statement, 10, summary);
        bind_text(statement, 11, record->cgroup);
        r = finish(statement, sqlite3_step(statement));
        if (r < 0)
                return r;
        *ret_number = (uint64_t)sqlite3_last_insert_rowid(store->db);
        return 0;
}

int store_insert(struct store *store, const struct job_record *record, uint64_t *ret_number)
{
        int r;

        store->why = NULL;
        r = exec(store, "BEGIN IMMEDIATE");
        return r < 0 ? r : insert(store, record, ret_number);
}

int store_commit(struct store *store)
{
        store->why = NULL;
        return exec(store, "COMMIT");
}

/* After some errors SQLite has done it itself. */
void store_rollback(struct store *store)
{
        if (!sqlite3_get_autocommit(store->db))
                (void)exec(store, "ROLLBACK");
}

static int require_change(struct store *store)
{
        if (sqlite3_changes(store->db) > 0)
                return 0;
        store->why = "there is no such job";
        return -ENOENT;
}

int store_update(struct store *store, const struct job_record *record)
{
        sqlite3_stmt *statement = begin(store, UPDATE);
        _cleanup_free_ char *summary = NULL;
        int r;

        r = json_text(record->summary, &summary);
        if (r < 0)
                return r;
        bind_text(statement, 1, job_state_name(record->state));
        bind_text(statement, 2, record->reason);
        bind_int(statement, 3, record->ended_ns);
        bind_int(statement, 4, record->n_done);
        bind_int(statement, 5, record->n_failed);
        bind_text(statement, 6, summary);
        bind_text(statement, 7, record->cgroup);
        bind_int(statement, 8, record->paused);
        bind_int(statement, 9, record->number);
        r = finish(statement, sqlite3_step(statement));
        return r < 0 ? r : require_change(store);
}

static const char *column_text(sqlite3_stmt *statement, int i)
{
        return (const char *)sqlite3_column_text(statement, i);
}

static int add_total(struct store *store, const struct total *total)
{
        sqlite3_stmt *statement = begin(store, ADD_TOTAL);
        int r;

        bind_text(statement, 1, total->metric);
        bind_text(statement, 2, total->level);
        bind_text(statement, 3, total->workload);
        bind_text(statement, 4, total->outcome ?: "");
        bind_text(statement, 5, total->reason ?: "");
        bind_text(statement, 6, total->bucket ?: "");
        r = sqlite3_bind_double(statement, 7, total->value);
        assert(r == SQLITE_OK);
        return finish(statement, sqlite3_step(statement));
}

static int end_in_transaction(struct store *store, const struct job_record *record,
                              const struct total *totals, size_t n_totals)
{
        int r = store_update(store, record);

        for (size_t i = 0; i < n_totals && r >= 0; ++i)
                r = add_total(store, &totals[i]);
        return r < 0 ? r : exec(store, "COMMIT");
}

int store_end(struct store *store, const struct job_record *record, const struct total *totals,
              size_t n_totals)
{
        int r;

        store->why = NULL;
        r = exec(store, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        r = end_in_transaction(store, record, totals, n_totals);
        if (r >= 0)
                return r;
        /* It would not be the last call's error any more after the rollback. */
        if (!store->why)
                store->why = sqlite3_errstr(sqlite3_extended_errcode(store->db));
        (void)exec(store, "ROLLBACK");
        return r;
}

int store_read_totals(struct store *store, const char *metric,
                      void (*each)(void *userdata, const struct total *total), void *userdata)
{
        sqlite3_stmt *statement = begin(store, GET_TOTALS);
        int r;

        bind_text(statement, 1, metric);
        while ((r = sqlite3_step(statement)) == SQLITE_ROW)
                each(userdata, &(struct total){
                        .metric = column_text(statement, 0),
                        .level = column_text(statement, 1),
                        .workload = column_text(statement, 2),
                        .outcome = column_text(statement, 3),
                        .reason = column_text(statement, 4),
                        .bucket = column_text(statement, 5),
                        .value = sqlite3_column_double(statement, 6),
                });
        return finish(statement, r);
}

int store_delete(struct store *store, uint64_t number)
{
        sqlite3_stmt *statement = begin(store, DELETE);
        int r;

        bind_int(statement, 1, number);
        r = finish(statement, sqlite3_step(statement));
        return r < 0 ? r : require_change(store);
}

static int column_dup(sqlite3_stmt *statement, int i, char **ret)
{
        const char *text = column_text(statement, i);

        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

static int column_json(struct store *store, sqlite3_stmt *statement, int i, json_t **ret)
{
        const char *text = column_text(statement, i);

        *ret = text ? json_loads(text, 0, NULL) : NULL;
        if (!text || json_is_object(*ret))
                return 0;
        store->why = "a row holds text that is not a JSON object: the database is damaged";
        return -EUCLEAN;
}

static int read_row(struct store *store, sqlite3_stmt *statement, struct job_record *ret)
{
        const char *state = column_text(statement, 1);
        int r;

        if (!state || job_state_from_name(state, &ret->state) < 0 || !column_text(statement, 6)) {
                store->why = "a row holds a state that is none, or no spec: the database is damaged";
                return -EUCLEAN;
        }
        ret->number = (uint64_t)sqlite3_column_int64(statement, 0);
        ret->owner = (uid_t)sqlite3_column_int64(statement, 3);
        ret->submitted_ns = (uint64_t)sqlite3_column_int64(statement, 4);
        ret->ended_ns = (uint64_t)sqlite3_column_int64(statement, 5);
        ret->n_tasks = (uint64_t)sqlite3_column_int64(statement, 7);
        ret->n_done = (uint64_t)sqlite3_column_int64(statement, 8);
        ret->n_failed = (uint64_t)sqlite3_column_int64(statement, 9);
        ret->paused = sqlite3_column_int64(statement, 12) != 0;
        r = column_dup(statement, 2, &ret->reason);
        if (r >= 0)
                r = column_json(store, statement, 6, &ret->spec);
        if (r >= 0)
                r = column_json(store, statement, 10, &ret->summary);
        return r < 0 ? r : column_dup(statement, 11, &ret->cgroup);
}

static int get_row(struct store *store, sqlite3_stmt *statement, struct job_record *ret)
{
        _cleanup_(job_record_deinit) struct job_record record = JOB_RECORD_NULL;
        int r, step;

        step = sqlite3_step(statement);
        r = step == SQLITE_ROW ? read_row(store, statement, &record) : 0;
        if (r < 0) {
                (void)finish(statement, step);
                return r;
        }
        r = finish(statement, step);
        if (r < 0)
                return r;
        if (step != SQLITE_ROW) {
                store->why = "there is no such job";
                return -ENOENT;
        }
        *ret = record;
        record = (struct job_record)JOB_RECORD_NULL;
        return 0;
}

/* Numbers past SQLite's range name no job. */
static uint64_t clamp(uint64_t number)
{
        return MIN(number, (uint64_t)INT64_MAX);
}

int store_get(struct store *store, uint64_t number, struct job_record *ret)
{
        sqlite3_stmt *statement = begin(store, GET);

        bind_int(statement, 1, clamp(number));
        return get_row(store, statement, ret);
}

int store_get_before(struct store *store, uint64_t before, uid_t owner, struct job_record *ret)
{
        bool any = owner == STORE_ANY_OWNER;
        sqlite3_stmt *statement = begin(store, any ? GET_BEFORE : GET_BEFORE_OF);

        bind_int(statement, 1, clamp(before));
        if (!any)
                bind_int(statement, 2, owner);
        return get_row(store, statement, ret);
}

int store_get_live_after(struct store *store, uint64_t after, struct job_record *ret)
{
        sqlite3_stmt *statement = begin(store, GET_LIVE);

        bind_int(statement, 1, clamp(after));
        return get_row(store, statement, ret);
}

static int get_number(struct store *store, sqlite3_stmt *statement, uint64_t argument,
                      uint64_t *ret)
{
        uint64_t number = 0;
        int r, step;

        bind_int(statement, 1, argument);
        step = sqlite3_step(statement);
        if (step == SQLITE_ROW)
                number = (uint64_t)sqlite3_column_int64(statement, 0);
        r = finish(statement, step);
        if (r < 0)
                return r;
        if (step != SQLITE_ROW)
                return -ENOENT;
        *ret = number;
        return 0;
}

int store_get_outdated(struct store *store, uint64_t keep, uint64_t ended_before_ns,
                       uint64_t *ret_number)
{
        int r;

        r = get_number(store, begin(store, OVER_KEEP), clamp(keep), ret_number);
        if (r != -ENOENT)
                return r;
        return get_number(store, begin(store, OVER_AGE), clamp(ended_before_ns), ret_number);
}
