#pragma once

/*
 * The command of a job whose workload is exec: what is run for each task, and where. It is the
 * member "command" of the spec.
 *
 * Placeholders in its words are replaced for each task; what else is in braces stays as it is:
 *
 *     {}    the input                    {#}   the task's number, from 1
 *     {.}   without its extension        {%}   the number of the worker that runs it, from 1
 *     {/}   without its directory
 *     {//}  its directory
 *     {/.}  without both
 *
 * Without any of the first five, the input is one more word at the end.
 */

#include <jansson.h>
#include <sys/types.h>

#include "lib/fault.h"

#define COMMAND_WORDS_MAX        4096
#define COMMAND_WORD_MAX         131071 /* bytes, as the kernel takes: MAX_ARG_STRLEN */
#define COMMAND_SIZE_MAX         (UINT64_C(1) << 19) /* bytes of all words and of the environment */
#define COMMAND_ENVIRONMENT_MAX  4096                /* variables */
#define COMMAND_RETRY_MEMORY_MIN 2
#define COMMAND_RETRY_MEMORY_MAX 100

/* How the command gets its input. */
enum command_input {
        COMMAND_INPUT_ARGUMENT, /* in its words */
        COMMAND_INPUT_STDIN,    /* on standard input, with a newline after it */
        COMMAND_INPUT_NONE,     /* there is one task, whose input says nothing */
        _COMMAND_INPUT_N,
};

struct command {
        char **words; /* owned, as all here; ends with NULL; NULL: there is no command */
        size_t n_words;
        bool shell; /* the words, with blanks between, are a script of /bin/sh; inputs are quoted */
        enum command_input input;
        char *directory;    /* absolute; NULL: the root directory */
        char **environment; /* "NAME=VALUE", ends with NULL; NULL: what the daemon was started with
                             */
        size_t n_environment;
        bool has_umask; /* else the daemon's */
        mode_t umask;
        bool no_output;         /* what it prints is thrown away */
        bool no_group;          /* no cgroup of its own for each task */
        uint64_t output_max;    /* bytes of a stream that are kept; 0: all */
        uint32_t retry_memory;  /* a task that ran out of memory runs again with its limit so many
                                   times as high; 0: it does not */
        uint64_t kill_after_ns; /* from SIGTERM to SIGKILL, past --task-timeout; 0: 5 s */
};

#define COMMAND_NULL          \
        {                     \
                .words = NULL \
        }

#define COMMAND_KILL_AFTER_NS (5 * NSEC_PER_SEC)

static inline uint64_t command_kill_after(const struct command *command)
{
        return command->kill_after_ns ?: COMMAND_KILL_AFTER_NS;
}

/*
 * Strict as spec_from_json(): -EBADMSG or -ENOMEM, and @fault tells, with the field. @path is the
 * object's name in messages, "spec.command".
 */
int command_from_json(json_t *json, const char *path, struct command *ret, struct fault *fault);

/* A new reference; members at their defaults are left out. NULL when out of memory. */
json_t *command_to_json(const struct command *command);

/* The words with blanks between, for people; allocated, NULL when out of memory. */
char *command_line(const struct command *command);

void command_deinit(struct command *command);
