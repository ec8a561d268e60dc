#pragma once

/* Facts that the files of the store share with each other and nobody else. */

#include <sqlite3.h>

#include "daemon/supervisor/kept/store.h"

enum statement {
        INSERT,
        UPDATE,
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
        uint64_t seen_ns;   /* see store_clock(), as it was when the database was opened, */
        uint64_t opened_ns; /* which was then, CLOCK_BOOTTIME */
        const char *why;    /* when the fault is not SQLite's: the text for store_error() */
};

/* store-open.c: SQLite's code as a negative errno; and SQL that gives nothing, run. */
int store_errno(int code);
int store_exec(struct store *store, const char *sql);
