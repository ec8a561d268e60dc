#pragma once

/*
 * A job's directory, <state>/jobs/NUMBER/: what the job was given and what came of it.
 *
 *     inputs      one input a line
 *     results     <pppctl/results.h>
 *     output      what the runner wrote to standard output and error
 *     measures    what the runner measured of itself, JSON
 *     runner      where there is no cgroup: the runner's process and its start time
 */

#include "daemon/supervisor/kept/incoming.h"
#include "daemon/supervisor/kept/trash.h"

struct directory {
        int fd;
        int results_fd; /* read-write */
};

#define DIRECTORY_NULL                             \
        {                                          \
                .fd = -EBADF, .results_fd = -EBADF \
        }

/*
 * Makes the directory of job @number beside @trash with its inputs, which are taken, and an empty
 * results file for as many tasks. It is called NUMBER.new until the job is admitted, that is until
 * its row is in the database, and directory_publish() gives it its own name. So a directory of a
 * job that was never admitted can be told from the others. On failure nothing is left;
 * *@ret_attempted says which step failed, on which file.
 */
int directory_make(struct trash *trash, uint64_t number, struct incoming *inputs, uint64_t epoch_ns,
                   struct directory *ret, const char **ret_attempted);

int directory_publish(int jobs_fd, uint64_t number);

/*
 * Publishes what a supervisor that was killed in between has not: each NUMBER.new for which
 * @is_admitted returns 1 (0: the job was not admitted; a negative errno ends the search and is
 * returned).
 */
int directory_publish_admitted(int jobs_fd, int (*is_admitted)(void *userdata, uint64_t number),
                               void *userdata);

/* Removes one that was not published. */
void directory_discard(struct trash *trash, uint64_t number);

/* Reserves what the results of @n_tasks take on disk. -ENOSPC, -EDQUOT, -EFBIG: it can't be had. */
int directory_reserve(const struct directory *directory, uint64_t n_tasks);

/* Bytes on disk of the results file. */
uint64_t directory_reserved(const struct directory *directory);

/* Bytes on disk of all its files; 0 when there is none. */
uint64_t directory_size(int jobs_fd, uint64_t number);

/* The highest number of those there are. */
int directory_scan(int jobs_fd, uint64_t *ret_highest);

/* Whether an entry by this name is not published. While no job is being admitted it never will be.
 */
bool directory_is_left(const char *name);

/* Opens one that is there. -ENOENT when it or its results are gone. */
int directory_open(int jobs_fd, uint64_t number, struct directory *ret);
void directory_deinit(struct directory *directory);

/* Removes it with all that is in it. 0 when there is none. */
int directory_remove(struct trash *trash, uint64_t number);

/* Opens one file of job @number read-only, to hand to a client. */
int directory_open_file(int jobs_fd, uint64_t number, const char *name, int *ret_fd);

/* Empty files for a new runner: what the last one wrote is of no use to it. */
int directory_open_output(const struct directory *directory, int *ret_fd);
int directory_open_measures(const struct directory *directory, int *ret_fd);

/* The last line of `output` that is not empty, printable, without its newline. NULL if there is
 * none. */
char *directory_last_line(const struct directory *directory);
