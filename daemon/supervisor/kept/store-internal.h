#pragma once

/* Definitions that the store's two files share. */

#include <sqlite3.h>

#include "daemon/supervisor/kept/store.h"

enum statement {
        INSERT,
        UPDATE,
        SET_SPEC,
        SET_ASIDE,
        DELETE,
        GET,
        GET_ASIDE,
        GET_BEFORE,
        GET_BEFORE_OF,
        GET_LIVE,
        OVER_KEEP,
        OVER_AGE,
        OLDEST_OF,
        KEPT_SIZES,
        SET_CLOCK,
        SET_SEQUENCE,
        ADD_SEQUENCE,
        ADD_TOTAL,
        GET_TOTALS,
        _STATEMENT_N,
};

struct store {
        sqlite3 *db;
        sqlite3_stmt *statements[_STATEMENT_N];
        int n_log;          /* pages in the write-ahead log */
        uint64_t seen_ns;   /* store_clock() when the database was opened */
        uint64_t opened_ns; /* CLOCK_BOOTTIME when the database was opened */
        const char *why;    /* the text for store_error(); NULL: SQLite's own */
};

/* Turns one of SQLite's codes into a negative errno. */
int store_errno(int code);

/* Runs SQL that returns no rows. */
int store_exec(struct store *store, const char *sql);
