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

/* Finds out whether standard error is the journal ($JOURNAL_STREAM). Before, messages are plain. */
void supervisor_log_init(void);

/*
 * From now on messages are written to standard error, without fields. This is for a process that
 * ends right after its message: journald asks the kernel which unit the sender of a message with
 * fields belongs to, and by then the process may be gone. The unit of standard error is known to
 * journald from the moment it was connected.
 */
void supervisor_log_brief(void);

void supervisor_log(int priority, const char *format, ...) _printf_(2, 3);
void supervisor_log_about(const struct log_about *about, int priority, const char *format, ...)
        _printf_(3, 4);

/*
 * Limits messages that others can cause as often as they like: five a minute are logged, and the
 * first of the next minute is preceded by the number of those that were left out. All zero at
 * first.
 */
struct log_limit {
        uint64_t since_ns;           /* CLOCK_MONOTONIC at the beginning of the present minute */
        unsigned n_said, n_left_out; /* messages of the present minute */
};
void supervisor_log_limited(struct log_limit *limit, int priority, const char *format, ...)
        _printf_(3, 4);

/* Logs "out of memory" and returns -ENOMEM, so that one can write: return supervisor_log_oom(); */
int supervisor_log_oom(void);

/*
 * Makes the fields of a message for sd_journal_sendv(3), "NAME=text" strings that the caller frees,
 * and returns their number. Fields for which there is no memory are left out. Extern for tests.
 */
#define LOG_FIELDS_MAX 8
size_t supervisor_log_fields(const struct log_about *about, int priority, const char *text,
                             char *ret[static LOG_FIELDS_MAX]);
