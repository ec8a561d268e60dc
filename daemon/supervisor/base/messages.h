#pragma once

/*
 * What a person may have to act on. In the journal such a message has a MESSAGE_ID, by which
 * `journalctl -x` finds in the catalog (units/pppctl.catalog) what it means and what to do.
 */

enum message {
        MESSAGE_NONE,
        MESSAGE_JOB_FAILED,
        MESSAGE_JOB_OOM_KILLED,
        MESSAGE_JOB_PIDS_MAX,
        MESSAGE_JOB_TIME_MAX,
        MESSAGE_JOB_CPU_TIME_MAX,
        MESSAGE_WORKERS_KILLED,
        MESSAGE_JOB_TAKEN_UP,
        MESSAGE_LIMITS_LOST, /* those of a job that was taken up */
        MESSAGE_NO_CONTROLLERS,
        MESSAGE_STATE,       /* the state directory, or the database in it */
        MESSAGE_ROW_DAMAGED, /* a job's row in the database */
        MESSAGE_CONFIG,
        _MESSAGE_N,
};

/* 32 hexadecimal digits; NULL for MESSAGE_NONE. */
const char *message_id(enum message message);
