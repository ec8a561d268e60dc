#pragma once

/*
 * What commands printed, read from the job's files (<pppctl/tasks.h>), also while they run. Nothing
 * in the files is believed before it was checked: they are written by processes of whoever
 * submitted the job.
 */

#include "lib/tasks.h"

struct task_output {
        struct tasks tasks;
        int fd; /* `task-output` */
};

#define TASK_OUTPUT_NULL                           \
        {                                          \
                .tasks = TASKS_NULL, .fd = -EBADF, \
        }

/* Both descriptors stay the caller's. -EBADMSG: one is no such file, or was cut short. */
int task_output_open(int tasks_fd, int output_fd, struct task_output *ret);
void task_output_close(struct task_output *output);

/* Returns 0, or a negative errno that ends the reading and is returned. */
typedef int task_output_sink(void *userdata, const void *data, size_t n);

/*
 * Hands what the last attempt of a task has printed to @sink, piece by piece, in order. -EBADMSG:
 * the chain of its pieces is broken.
 */
int task_output_read(const struct task_output *output, uint64_t task, enum ppp_stream stream,
                     task_output_sink *sink, void *userdata);
