#pragma once

/*
 * Data on standard output: result lines, plain or as JSON, through large buffers. Nothing else goes
 * there. A write error is kept, and printed once, by output_finish().
 */

#include <jansson.h>
#include <pppctl/results.h>
#include <stdio.h>

#include "lib/spec.h"

struct command_output;
struct rows;

struct output {
        bool json;
        bool out_terminal, err_terminal; /* inputs are printed as cli/visible.h says */
        bool interleaved;                /* standard error is the same file: keep lines in order */
        bool failures_are_data;          /* failures go to standard output too (results --failed) */
        const char *unit;                /* what values count, in the singular; NULL: nothing */
        bool nanoseconds;                /* values are nanoseconds, and shown in seconds */
        const char *prefix; /* taken off inputs that begin with it ("demo:"), NULL: none */
        const struct command_output *commands; /* borrowed; NULL: the job's tasks are no commands */
        struct rows *rows;                     /* borrowed; NULL: results are lines, or JSON */
        bool failed; /* something could not be printed, and that was said */
        int error;   /* negative errno of the first write that failed */
};

#define OUTPUT_NULL          \
        {                    \
                .unit = NULL \
        }

void output_init(struct output *output, bool json);

/* How results of @workload are printed: their unit; demo pages by their year. */
void output_take_workload(struct output *output, enum workload_id workload);

/* One task's result: "INPUT: VALUE UNIT" or "INPUT: failed: why"; @input is not NUL-terminated. */
void output_result(struct output *output, uint64_t task, const char *input, size_t n_input,
                   const struct ppp_record *record);

/* "INPUT: TEXT", to one of the standard streams. */
void output_about(struct output *output, FILE *to, const char *input, size_t n_input,
                  const char *text);

/* Prints text of our own unchanged, colors included. */
void output_text(struct output *output, const char *text);

/* Prints a line for people, in which control characters are escaped (cli/visible.h). */
void output_line(struct output *output, const char *format, ...) _printf_(2, 3);

/* Prints whole lines of data from pppd: unchanged in a pipe, escaped on a terminal. */
void output_lines(struct output *output, const char *text);

/*
 * JSON text by json_dumps(3) with @flags, and a newline. Returns 0, or prints the error and returns
 * an exit status.
 */
int output_json(struct output *output, json_t *json, size_t flags);

/*
 * @label, padded to @indent columns, and @text, broken at spaces so that a terminal of @room
 * columns does not break words; its further lines begin below the first. SIZE_MAX: nothing is
 * broken.
 */
void output_wrapped(struct output *output, const char *label, size_t indent, const char *text,
                    size_t room);

/* Flushes. Returns false once standard output cannot be written any more. */
bool output_flush(struct output *output);

/* What to do about an error of writing to standard output. */
const char *output_hint(int error);

/*
 * Flushes for the last time. Returns 0 or an exit status: CLI_PIPE, without a message, when the
 * reader has left; CLI_INTERRUPTED when a signal came while nobody read.
 */
int output_finish(struct output *output);
