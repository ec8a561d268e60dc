#pragma once

/*
 * What a command prints: two pipes, each read as something comes, and appended to the job's
 * `task-output` (<pppctl/tasks.h>). Memory does not grow with it; while the disk is full, the pipes
 * are not read, so that the command waits.
 */

#include <pppctl/tasks.h>

#include "daemon/runner/task.h"

struct exec;

struct output {
        const struct exec *exec;
        struct ppp_task *task;
        struct ppp_task_record *record;
        int fds[_PPP_STREAM_N]; /* our ends; -EBADF: it has ended, or nothing is kept */
};

#define OUTPUT_NULL                       \
        {                                 \
                .fds = { -EBADF, -EBADF } \
        }

/*
 * Makes the pipes, @ret_fds being the command's ends, which the caller closes: /dev/null for a job
 * that keeps no output. A negative errno.
 */
int output_open(struct output *output, const struct exec *exec, struct ppp_task *task,
                struct ppp_task_record *record, int ret_fds[static _PPP_STREAM_N]);

/*
 * Stores what is in the pipe now. 0, or a negative errno: it could not be stored, -ECANCELED when
 * the task was cancelled while the disk was full, -ETIME when its time has come.
 */
int output_take(struct output *output, enum ppp_stream stream, uint64_t until_ns);

void output_close(struct output *output);
