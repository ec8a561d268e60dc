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

#include "daemon/supervisor/incoming.h"

struct directory {
        int fd;
        int results_fd;         /* read-write */
};

#define DIRECTORY_NULL { .fd = -EBADF, .results_fd = -EBADF }

/*
 * Makes the directory of job @number below @jobs_fd with its inputs, which are taken, and an empty results
 * file for as many tasks. One that is there already belongs to no job (its number is new): it is replaced.
 * On failure nothing is left; *@ret_attempted says which step failed, on which file.
 */
int directory_make(int jobs_fd, uint64_t number, struct incoming *inputs, uint64_t epoch_ns,
                   struct directory *ret, const char **ret_attempted);

/* Opens one that is there. -ENOENT when it or its results are gone. */
int directory_open(int jobs_fd, uint64_t number, struct directory *ret);
void directory_deinit(struct directory *directory);

/* Removes it with all that is in it. 0 when there is none. */
int directory_remove(int jobs_fd, uint64_t number);

/* Opens one file of job @number read-only, to hand to a client. */
int directory_open_file(int jobs_fd, uint64_t number, const char *name, int *ret_fd);

/* Empty files for a new runner: what the last one wrote is of no use to it. */
int directory_open_output(const struct directory *directory, int *ret_fd);
int directory_open_measures(const struct directory *directory, int *ret_fd);

/* The last line of `output` that is not empty, printable, without its newline. NULL if there is none. */
char *directory_last_line(const struct directory *directory);
