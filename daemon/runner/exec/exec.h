#pragma once

/*
 * Running commands: the workload exec. Each task is a process, whatever its worker is; what its
 * worker does is to start it, to wait for it and what it prints, and to account for it.
 */

#include "daemon/runner/runner.h"
#include "lib/tasks.h"

/* Shared by all tasks of a job: made before the first, and not changed while they run. */
struct exec {
        const struct command *command;
        struct tasks tasks;
        int output_fd; /* `task-output` */
        int null_fd;
        bool adds_input;    /* the command has no placeholder for it */
        char **environment; /* borrowed */
        char *path;         /* owned: PATH, taken apart */
        const char **directories;
};

/*
 * For a runner whose spec has a command: @tasks_fd and @output_fd are the job's files of
 * <pppctl/tasks.h>, and stay the caller's; the second has to stay open. Errors have been logged.
 */
int exec_new(struct runner *runner, int tasks_fd, int output_fd, struct exec **ret);
struct exec *exec_free(struct exec *exec);

/* As io_ops: runs the command with this input. 0: it has ended with status 0. */
int exec_run(struct ppp_task *task, const char *input, size_t n_input);
