#pragma once

/*
 * A job's directory, <state>/jobs/NUMBER/, holds the job's inputs and everything it has produced.
 *
 *     inputs      one input a line
 *     results     <pppctl/results.h>
 *     tasks       <pppctl/tasks.h>, this and the next of a job that runs commands
 *     task-output
 *     output      what the runner wrote to standard output and error
 *     measures    what the runner measured while it ran, JSON
 */

#include "daemon/supervisor/kept/incoming.h"
#include "daemon/supervisor/kept/trash.h"
#include "lib/fault.h"

struct directory {
        int fd;
        int results_fd; /* read-write */
};

#define DIRECTORY_NULL                             \
        {                                          \
                .fd = -EBADF, .results_fd = -EBADF \
        }

/*
 * Makes the directory of job @number in the directory that holds @trash, moves @inputs into it, and
 * lays out a results file without records for as many tasks, and the files of its commands, if it
 * @runs_commands. The directory is called NUMBER.new
 * until directory_publish() renames it, once the job is admitted, that is, once its row is in the
 * database. So the directory of a job that was never admitted can be told from the others. On
 * failure nothing is left behind, and @fault says which step failed on which file.
 */
int directory_make(struct trash *trash, uint64_t number, struct incoming *inputs,
                   bool runs_commands, uint64_t epoch_ns, struct directory *ret,
                   struct fault *fault);

int directory_publish(int jobs_fd, uint64_t number);

/*
 * Publishes the directories that an earlier supervisor did not, because it was killed after it had
 * admitted the job: each NUMBER.new for which @is_admitted returns 1. It returns 0 for a job that
 * was not admitted; a negative errno ends the search and is returned.
 */
int directory_publish_admitted(int jobs_fd, int (*is_admitted)(void *userdata, uint64_t number),
                               void *userdata);

/* Removes a directory that was not published. */
void directory_discard(struct trash *trash, uint64_t number);

/*
 * Reserves the space for @n_tasks results on disk, and if it @runs_commands for the records of
 * these.
 * -ENOSPC, -EDQUOT or -EFBIG if there is none.
 */
int directory_reserve(const struct directory *directory, uint64_t n_tasks, bool runs_commands);

/* The bytes that these files take on disk. */
uint64_t directory_reserved(const struct directory *directory);

/* The bytes that all files of the job take on disk; 0 when it has no directory. */
uint64_t directory_size(int jobs_fd, uint64_t number);

/* Finds the highest job number that a directory has; 0 when there is none. */
int directory_scan(int jobs_fd, uint64_t *ret_highest);

/*
 * Whether @name is that of an unpublished directory. While no job is being admitted, such a
 * directory is a leftover.
 */
bool directory_is_left(const char *name);

/* Opens an existing directory. -ENOENT when it or its results file is gone. */
int directory_open(int jobs_fd, uint64_t number, struct directory *ret);
void directory_deinit(struct directory *directory);

/* Removes a job's directory with all its files. 0 also when there is no such directory. */
int directory_remove(struct trash *trash, uint64_t number);

/* Opens one file of job @number read-only, so that it can be handed to a client. */
int directory_open_file(int jobs_fd, uint64_t number, const char *name, int *ret_fd);

/* Opens the files of the job's commands, to be written. -ENOENT: it runs none. */
int directory_open_tasks(const struct directory *directory, int *ret_tasks_fd, int *ret_output_fd);

/* These open the file for a new runner, and empty it: data of an earlier runner is of no use. */
int directory_open_output(const struct directory *directory, int *ret_fd);
int directory_open_measures(const struct directory *directory, int *ret_fd);

/*
 * The last line of `output` that is not blank, made printable and without its newline; the caller
 * frees it. NULL if there is none.
 */
char *directory_last_line(const struct directory *directory);
