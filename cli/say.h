#pragma once

/*
 * Messages of pppctl for people, on standard error, and the exit statuses that go with them.
 *
 * Everywhere in cli/ a function that can fail prints the reason itself, and returns the exit
 * status; 0 is success. So an error is printed once, where it is known what was attempted on what.
 */

#include "lib/util.h"

enum cli_status {
        CLI_OK = 0,
        CLI_FAILED = 1, /* a task failed, the job did, or something else */
        CLI_USAGE = 2,
        CLI_NO_DAEMON = 3, /* or it was lost */
        CLI_NO_SUCH_JOB = 4,
        CLI_NOT_ALLOWED = 5,
        CLI_QUEUE_FULL = 75,   /* EX_TEMPFAIL of sysexits.h */
        CLI_INTERRUPTED = 130, /* 128 + SIGINT */
        CLI_PIPE = 141,        /* 128 + SIGPIPE, as a program that died of it */
};

/* "pppctl: " and the text; returns @status. Clears a progress bar first. */
int cli_fail(int status, const char *format, ...) _printf_(2, 3);

/* A line of information, without "pppctl: ". */
void cli_note(const char *format, ...) _printf_(1, 2);

int cli_no_memory(void);
