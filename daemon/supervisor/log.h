#pragma once

/*
 * The supervisor's log: one line a message on standard error, with the syslog level as a "<n>"
 * prefix when standard error is the journal (sd-daemon(3)), plain with the program's name otherwise.
 */

#include <syslog.h>

#include "lib/util.h"

/* Looks whether standard error is the journal ($JOURNAL_STREAM). Before it the log is plain. */
void supervisor_log_init(void);

void supervisor_log(int priority, const char *format, ...) _printf_(2, 3);

/* "out of memory", with the place handed on: return supervisor_log_oom(); */
int supervisor_log_oom(void);
