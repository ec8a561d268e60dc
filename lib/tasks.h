#pragma once

/*
 * The file `tasks` of a job that runs commands (format: <pppctl/tasks.h>), mapped: the supervisor
 * sizes it, workers write records into the mapping, readers map it read-only. And the head of the
 * file `task-output`.
 */

#include <pppctl/tasks.h>
#include "lib/util.h"

struct tasks {
        struct ppp_tasks_header *header;
        struct ppp_task_record *records;
        uint64_t n_tasks;
        size_t size; /* of the mapping */
};

#define TASKS_NULL               \
        {                        \
                NULL, NULL, 0, 0 \
        }

/* Bytes of the file for @n_tasks. */
uint64_t tasks_size(uint64_t n_tasks);

/* Lays out both in empty files; each takes one block on disk. */
int tasks_create(int fd, uint64_t n_tasks);
int task_output_create(int fd);

/*
 * Reserves the blocks of `tasks` before workers map it, so that a full disk is an error here
 * (-ENOSPC) and not a SIGBUS in a worker.
 */
int tasks_reserve(int fd, uint64_t n_tasks);

/*
 * Maps @fd and checks its header against its real size. -EBADMSG: it is no such file, or was cut
 * short. @fd may be closed afterwards. The writer can change the header; use tasks.n_tasks.
 */
int tasks_map(int fd, bool writable, struct tasks *ret);
void tasks_unmap(struct tasks *tasks);
