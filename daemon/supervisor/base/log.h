#pragma once

/*
 * The supervisor's log. Where standard error is the journal, messages go there with their fields
 * (sd_journal_send(3)); elsewhere each is a line on standard error, with the program's name.
 */

#include <syslog.h>

#include "daemon/supervisor/base/messages.h"
#include "lib/util.h"

/* What a message is about: the fields MESSAGE_ID, PPPCTL_JOB, PPPCTL_LEVEL and so on. */
struct log_about {
        enum message message;
        uint64_t job;                          /* 0: none */
        const char *level, *workload, *reason; /* NULL: none */
};

/* Looks whether standard error is the journal ($JOURNAL_STREAM). Before it the log is plain. */
void supervisor_log_init(void);

/*
 * From now on messages go without fields, by standard error. journald learns from the sender's
 * process which unit a message with fields belongs to: one that ends at once may be gone by then.
 * The unit of standard error it has known since that was connected.
 */
void supervisor_log_brief(void);

void supervisor_log(int priority, const char *format, ...) _printf_(2, 3);
void supervisor_log_about(const struct log_about *about, int priority, const char *format, ...)
        _printf_(3, 4);

/*
 * For what others can have us say as often as they like: a few messages, then one each while, which
 * tells how many were left out. All zero to begin with.
 */
struct log_limit {
        uint64_t since_ns; /* CLOCK_MONOTONIC */
        unsigned n_said, n_left_out;
};
void supervisor_log_limited(struct log_limit *limit, int priority, const char *format, ...)
        _printf_(3, 4);

/* "out of memory", with the place handed on: return supervisor_log_oom(); */
int supervisor_log_oom(void);

/*
 * For tests: the fields of a message as sd_journal_sendv(3) takes them, "NAME=text" strings that
 * the caller frees; their number. Fields that find no memory are left out.
 */
#define LOG_FIELDS_MAX 8
size_t supervisor_log_fields(const struct log_about *about, int priority, const char *text,
                             char *ret[static LOG_FIELDS_MAX]);
