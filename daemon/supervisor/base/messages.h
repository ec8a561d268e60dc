#pragma once

/*
 * Kinds of messages on which somebody may have to act. In the journal such a message has a
 * MESSAGE_ID, by which `journalctl -x` finds an explanation and advice in the catalog
 * (units/pppctl.catalog).
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
        MESSAGE_LIMITS_LOST, /* the limits of a job that was taken up did not hold for a while */
        MESSAGE_NO_CONTROLLERS,
        MESSAGE_STATE,       /* the state directory, or the database in it, cannot be used */
        MESSAGE_ROW_DAMAGED, /* a job's row in the database is damaged */
        MESSAGE_CONFIG,
        _MESSAGE_N,
};

/* 32 hexadecimal digits; NULL for MESSAGE_NONE. */
const char *message_id(enum message message);
