#include "daemon/supervisor/kept/store-internal.h"

#include "daemon/supervisor/base/log.h"
#include "lib/json-text.h"

static const char no_such_job[] = "there is no such job";

const char *store_error(const struct store *store)
{
        return store->why ? store->why : sqlite3_errmsg(store->db);
}

static sqlite3_stmt *begin(struct store *store, enum statement which)
{
        store->why = NULL;
        return store->statements[which];
}

/*
 * Ends a statement, and drops its bindings, since the bound text is borrowed. @r is what
 * sqlite3_step() returned.
 */
static int finish(sqlite3_stmt *statement, int r)
{
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        return r == SQLITE_DONE || r == SQLITE_ROW ? 0 : store_errno(r);
}

static void bind_text(sqlite3_stmt *statement, int i, const char *text)
{
        /* NULL binds SQL's NULL. A wrong index would be our own bug. */
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

/* Without JSON *@ret is NULL. */
static int dump(const json_t *json, char **ret)
{
        *ret = json ? json_text(json, JSON_COMPACT) : NULL;
        return json && !*ret ? -ENOMEM : 0;
}

/* An ended job is written only once an end, so this call tells when it ended. */
static uint64_t ended_seen(const struct store *store, const struct job_record *record)
{
        return job_state_is_live(record->state) ? 0 : store_clock(store);
}

static int insert(struct store *store, const struct job_record *record, uint64_t *ret_number)
{
        sqlite3_stmt *statement = begin(store, INSERT);
        _cleanup_free_ char *spec = NULL, *summary = NULL;
        int r;

        r = dump(record->spec, &spec);
        if (r >= 0)
                r = dump(record->summary, &summary);
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
        bind_int(statement, 12, record->size);
        bind_int(statement, 13, ended_seen(store, record));
        bind_int(statement, 14, record->uses_demo == DEMO_USED);
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
        r = store_exec(store, "BEGIN IMMEDIATE");
        return r < 0 ? r : insert(store, record, ret_number);
}

int store_commit(struct store *store)
{
        store->why = NULL;
        return store_exec(store, "COMMIT");
}

/* After some errors SQLite has already rolled back by itself. */
void store_rollback(struct store *store)
{
        if (!sqlite3_get_autocommit(store->db))
                (void)store_exec(store, "ROLLBACK");
}

static int require_change(struct store *store)
{
        if (sqlite3_changes(store->db) > 0)
                return 0;
        store->why = no_such_job;
        return -ENOENT;
}

int store_update(struct store *store, const struct job_record *record)
{
        sqlite3_stmt *statement = begin(store, UPDATE);
        _cleanup_free_ char *summary = NULL, *parts = NULL;
        int r;

        r = dump(record->summary, &summary);
        if (r >= 0)
                r = dump(record->parts, &parts);
        if (r < 0)
                return r;
        bind_text(statement, 1, job_state_name(record->state));
        bind_text(statement, 2, record->reason);
        bind_int(statement, 3, record->ended_ns);
        bind_int(statement, 4, record->n_done);
        bind_int(statement, 5, record->n_failed);
        bind_text(statement, 6, summary);
        bind_text(statement, 7, record->cgroup);
        bind_int(statement, 8, record->paused + 2U * record->resuming);
        bind_int(statement, 9, record->number);
        bind_int(statement, 10, record->size);
        bind_int(statement, 11, ended_seen(store, record));
        bind_text(statement, 12, parts);
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
        return r < 0 ? r : store_exec(store, "COMMIT");
}

/* Keeps the error, which the rollback would replace. */
static int give_up_transaction(struct store *store, int r)
{
        if (!store->why)
                store->why = sqlite3_errstr(sqlite3_extended_errcode(store->db));
        (void)store_exec(store, "ROLLBACK");
        return r;
}

int store_end(struct store *store, const struct job_record *record, const struct total *totals,
              size_t n_totals)
{
        int r;

        store->why = NULL;
        r = store_exec(store, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        r = end_in_transaction(store, record, totals, n_totals);
        return r < 0 ? give_up_transaction(store, r) : r;
}

static int set_spec(struct store *store, const struct job_record *record)
{
        sqlite3_stmt *statement = begin(store, SET_SPEC);
        _cleanup_free_ char *spec = NULL;
        int r;

        r = dump(record->spec, &spec);
        if (r < 0)
                return r;
        bind_text(statement, 1, spec);
        bind_int(statement, 2, record->number);
        return finish(statement, sqlite3_step(statement));
}

int store_reopen(struct store *store, const struct job_record *record)
{
        int r;

        store->why = NULL;
        r = store_exec(store, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        r = store_update(store, record);
        if (r >= 0)
                r = set_spec(store, record);
        if (r >= 0)
                r = store_exec(store, "COMMIT");
        return r < 0 ? give_up_transaction(store, r) : r;
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

/*
 * *@ret is left alone when the column is NULL. A failure is tried once more: jansson does not
 * always tell a lack of memory from invalid text, and a row must not count as damaged only because
 * memory was short.
 */
static int column_json(sqlite3_stmt *statement, int i, json_t **ret)
{
        const char *text = column_text(statement, i);
        json_error_t error;

        if (!text)
                return 0;
        *ret = json_loads(text, 0, &error) ?: json_loads(text, 0, &error);
        if (json_is_object(*ret))
                return 0;
        return !*ret && (*error.text == 0 || json_error_code(&error) == json_error_out_of_memory)
                       ? -ENOMEM
                       : -EBADMSG;
}

static enum demo_use column_demo(sqlite3_stmt *statement, int i)
{
        if (sqlite3_column_type(statement, i) == SQLITE_NULL)
                return DEMO_UNKNOWN;
        return sqlite3_column_int64(statement, i) ? DEMO_USED : DEMO_UNUSED;
}

/* -EBADMSG when the row is damaged; *@ret_why then says how. */
static int read_row(struct store *store, sqlite3_stmt *statement, struct job_record *ret,
                    const char **ret_why)
{
        const char *state = column_text(statement, 1);
        int r;

        if (!state && sqlite3_errcode(store->db) == SQLITE_NOMEM)
                return -ENOMEM;
        *ret_why = "its state is unknown";
        if (!state || job_state_from_name(state, &ret->state) < 0)
                return -EBADMSG;
        ret->number = (uint64_t)sqlite3_column_int64(statement, 0);
        ret->owner = (uid_t)sqlite3_column_int64(statement, 3);
        ret->submitted_ns = (uint64_t)sqlite3_column_int64(statement, 4);
        ret->ended_ns = (uint64_t)sqlite3_column_int64(statement, 5);
        ret->n_tasks = (uint64_t)sqlite3_column_int64(statement, 7);
        ret->n_done = (uint64_t)sqlite3_column_int64(statement, 8);
        ret->n_failed = (uint64_t)sqlite3_column_int64(statement, 9);
        ret->size = (uint64_t)MAX(sqlite3_column_int64(statement, 13), 0);
        ret->paused = sqlite3_column_int64(statement, 12) & 1;
        ret->resuming = ret->paused && sqlite3_column_int64(statement, 12) & 2;
        ret->uses_demo = column_demo(statement, 15);
        r = column_dup(statement, 2, &ret->reason);
        if (r >= 0)
                r = column_dup(statement, 11, &ret->cgroup);
        if (r >= 0) {
                *ret_why = "its spec is not a JSON object";
                r = column_json(statement, 6, &ret->spec);
                if (r >= 0 && !ret->spec)
                        r = -EBADMSG;
        }
        if (r >= 0) {
                *ret_why = "its summary is not a JSON object";
                r = column_json(statement, 10, &ret->summary);
        }
        if (r >= 0) {
                *ret_why = "the usage of its parts is not a JSON object";
                r = column_json(statement, 14, &ret->parts);
        }
        return r;
}

static int move_aside(struct store *store, int64_t number)
{
        int r;

        store->why = NULL;
        r = store_exec(store, "BEGIN IMMEDIATE");
        for (enum statement i = SET_ASIDE; i <= DELETE && r >= 0; ++i) {
                sqlite3_stmt *statement = begin(store, i);

                bind_int(statement, 1, (uint64_t)number);
                r = finish(statement, sqlite3_step(statement));
        }
        if (r >= 0)
                r = store_exec(store, "COMMIT");
        if (r < 0)
                store_rollback(store);
        return r;
}

/*
 * Moves a damaged row to a table of its own, where nothing reads it but an expert can look at it.
 * If that fails, no harm is done: readers skip the row.
 */
static void set_aside(struct store *store, int64_t number, const char *why)
{
        const struct log_about about = { .message = MESSAGE_ROW_DAMAGED,
                                         .job = (uint64_t)MAX(number, 0) };

        if (move_aside(store, number) < 0)
                supervisor_log_about(
                        &about, LOG_ERR,
                        "job %lld is skipped: its row in the database of jobs is "
                        "damaged (%s), and cannot be moved to the table \"damaged\": %s",
                        (long long)number, why, store_error(store));
        else
                supervisor_log_about(
                        &about, LOG_ERR,
                        "job %lld is skipped: its row in the database of jobs is damaged (%s) "
                        "and was moved to the table \"damaged\"; its results stay in jobs/%lld/",
                        (long long)number, why, (long long)number);
}

/*
 * Gets the row that @statement finds with its bindings. A damaged row is set aside: then -EBADMSG
 * is returned, and *@ret_damaged is its number.
 */
static int get_row(struct store *store, sqlite3_stmt *statement, struct job_record *ret,
                   int64_t *ret_damaged)
{
        _cleanup_(job_record_deinit) struct job_record record = JOB_RECORD_NULL;
        const char *why = NULL;
        int64_t number = 0;
        int r = -ENOENT, step;

        store->why = no_such_job;
        step = sqlite3_step(statement);
        if (step == SQLITE_ROW) {
                number = sqlite3_column_int64(statement, 0);
                r = read_row(store, statement, &record, &why);
        }
        if (finish(statement, step) < 0) {
                store->why = NULL;
                return store_errno(step);
        }
        if (r == -EBADMSG) {
                set_aside(store, number, why);
                *ret_damaged = number;
        }
        if (r == -ENOMEM)
                store->why = "out of memory";
        if (r < 0)
                return r;
        *ret = record;
        record = (struct job_record)JOB_RECORD_NULL;
        return 0;
}

/* No job has a number beyond SQLite's range. */
static int64_t clamp(uint64_t number)
{
        return (int64_t)MIN(number, (uint64_t)INT64_MAX);
}

/* Gets the first undamaged row after @from, in the order of the statement @which. */
static int get_next(struct store *store, enum statement which, uint64_t from, uid_t owner,
                    struct job_record *ret)
{
        int64_t at = clamp(from);
        int r;

        do {
                sqlite3_stmt *statement = begin(store, which);

                bind_int(statement, 1, (uint64_t)at);
                if (which == GET_BEFORE_OF)
                        bind_int(statement, 2, owner);
                r = get_row(store, statement, ret, &at);
        } while (r == -EBADMSG);
        return r;
}

static bool was_set_aside(struct store *store, uint64_t number)
{
        sqlite3_stmt *statement = begin(store, GET_ASIDE);
        int step;

        bind_int(statement, 1, (uint64_t)clamp(number));
        step = sqlite3_step(statement);
        (void)finish(statement, step);
        return step == SQLITE_ROW;
}

int store_get(struct store *store, uint64_t number, struct job_record *ret)
{
        sqlite3_stmt *statement = begin(store, GET);
        int64_t damaged;
        int r;

        bind_int(statement, 1, (uint64_t)clamp(number));
        r = get_row(store, statement, ret, &damaged);
        if (r != -EBADMSG && (r != -ENOENT || !was_set_aside(store, number))) {
                if (r == -ENOENT)
                        store->why = no_such_job;
                return r;
        }
        store->why =
                "its row in the database of jobs was damaged and has been set aside; its results, "
                "if there are any, are still in the state directory, in jobs/";
        return -EUCLEAN;
}

int store_get_before(struct store *store, uint64_t before, uid_t owner, struct job_record *ret)
{
        return get_next(store, owner == STORE_ANY_OWNER ? GET_BEFORE : GET_BEFORE_OF, before, owner,
                        ret);
}

int store_get_live_after(struct store *store, uint64_t after, struct job_record *ret)
{
        return get_next(store, GET_LIVE, after, STORE_ANY_OWNER, ret);
}

uint64_t store_clock(const struct store *store)
{
        return store->seen_ns + (now_boottime() - store->opened_ns);
}

static int run_with(struct store *store, enum statement which, uint64_t argument)
{
        sqlite3_stmt *statement = begin(store, which);

        bind_int(statement, 1, argument);
        return finish(statement, sqlite3_step(statement));
}

int store_keep_clock(struct store *store)
{
        return run_with(store, SET_CLOCK, store_clock(store));
}

int store_skip_numbers(struct store *store, uint64_t number)
{
        int r;

        r = run_with(store, SET_SEQUENCE, (uint64_t)clamp(number));
        return r < 0 ? r : run_with(store, ADD_SEQUENCE, (uint64_t)clamp(number));
}

static int get_outdated(struct store *store, enum statement which, uint64_t argument,
                        struct outdated *ret)
{
        sqlite3_stmt *statement = begin(store, which);
        struct outdated found = { 0 };
        int r, step;

        bind_int(statement, 1, argument);
        step = sqlite3_step(statement);
        if (step == SQLITE_ROW)
                found = (struct outdated){
                        .number = (uint64_t)sqlite3_column_int64(statement, 0),
                        .owner = (uid_t)sqlite3_column_int64(statement, 1),
                        .size = (uint64_t)sqlite3_column_int64(statement, 2),
                };
        r = finish(statement, step);
        if (r < 0)
                return r;
        if (step != SQLITE_ROW)
                return -ENOENT;
        *ret = found;
        return 0;
}

int store_get_outdated(struct store *store, uint64_t keep, uint64_t age_ns, struct outdated *ret)
{
        uint64_t now = store_clock(store);
        int r;

        r = get_outdated(store, OVER_KEEP, (uint64_t)clamp(keep), ret);
        if (r != -ENOENT || age_ns == 0 || age_ns > now)
                return r;
        return get_outdated(store, OVER_AGE, now - age_ns, ret);
}

int store_get_oldest_of(struct store *store, uid_t owner, struct outdated *ret)
{
        return get_outdated(store, OLDEST_OF, owner, ret);
}

int store_read_kept_sizes(struct store *store,
                          void (*each)(void *userdata, uid_t owner, uint64_t size), void *userdata)
{
        sqlite3_stmt *statement = begin(store, KEPT_SIZES);
        int r;

        while ((r = sqlite3_step(statement)) == SQLITE_ROW)
                each(userdata, (uid_t)sqlite3_column_int64(statement, 0),
                     (uint64_t)MAX(sqlite3_column_int64(statement, 1), 0));
        return finish(statement, r);
}
