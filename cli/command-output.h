#pragma once

/*
 * How tasks that ran commands are printed: what the command has printed, byte for byte, and lines
 * about how it ended.
 */

#include "cli/client.h"
#include "cli/output.h"
#include "lib/task-output.h"

struct command_output {
        struct task_output files;
        bool lines;   /* a line about each task, not only those that failed, */
        bool as_data; /* which goes to standard output */
        bool streams; /* what the tasks printed */
};

#define COMMAND_OUTPUT_NULL               \
        {                                 \
                .files = TASK_OUTPUT_NULL \
        }

/*
 * Of the reply to Results, whose job runs commands. Returns 0, or prints the error and returns an
 * exit status.
 */
int command_output_open(struct command_output *commands, const struct pppd *pppd,
                        struct pppd_reply *reply);
void command_output_close(struct command_output *commands);

/* One task that has its result. */
void command_output_put(const struct command_output *commands, struct output *output, uint64_t task,
                        const char *input, size_t n_input, const struct ppp_record *record);

/* Copies to @to what a task has printed on its stream @from until now. -EBADMSG: the file is
 * broken. */
int command_output_copy(const struct command_output *commands, uint64_t task, enum ppp_stream from,
                        FILE *to);

/* The numbers that are kept of each command, in the order in which they are told. */
enum {
        COMMAND_ATTEMPTS,
        COMMAND_OUTPUT_BYTES,
        COMMAND_ERROR_BYTES,
        COMMAND_CPU_USER,
        COMMAND_CPU_SYSTEM,
        COMMAND_MEMORY_PEAK,
        COMMAND_RSS_PEAK,
        COMMAND_NUMBERS = 17,
};

struct command_number {
        const char *name; /* with its unit */
        bool known;       /* it was measured */
        uint64_t value;
};

void command_output_numbers(const struct command_output *commands, uint64_t task,
                            struct command_number ret[static COMMAND_NUMBERS]);

/* The members of a task's JSON that only commands have, each with a comma before it. */
void command_output_put_json(const struct command_output *commands, uint64_t task,
                             const struct ppp_record *record, FILE *to);
