#pragma once

/*
 * Prints the results of a job while it runs. Records appear in the mapped results file in any
 * order; each update looks for those that were not there before and prints them, in the order in
 * which their tasks ended, or as far as the order of the inputs goes without a gap.
 */

#include "cli/output.h"
#include "lib/inputs.h"
#include "lib/results.h"

enum follow_show {
        FOLLOW_ALL,
        FOLLOW_FAILED,
        FOLLOW_NOTHING,
};

#define FOLLOW_CURSORS 64

/* The input looked up last, and where it is; NULL: none was. */
struct follow_cursor {
        uint64_t index;
        const char *at;
};

struct follow {
        struct results results;
        const struct inputs *inputs; /* borrowed */
        struct output *output;       /* borrowed */
        bool ordered;
        enum follow_show show;
        uint64_t low;               /* all tasks below this index were printed */
        uint64_t *printed;          /* bit set, unless ordered */
        struct follow_entry *batch; /* twice its size: the upper half is for sorting */
        size_t n_batch, size_batch;
        int fd; /* the results file, to see whether it is whole */
        struct follow_cursor cursors[FOLLOW_CURSORS]; /* by worker, modulo */
};

#define FOLLOW_NULL                                   \
        {                                             \
                .results = RESULTS_NULL, .fd = -EBADF \
        }

/*
 * Maps @results_fd, which stays the caller's. Returns 0, or prints the error and returns an exit
 * status.
 */
int follow_init(struct follow *follow, int results_fd, const struct inputs *inputs,
                struct output *output, bool ordered, enum follow_show show);
void follow_deinit(struct follow *follow);

/*
 * Prints the results that are new; none before follow_init(). @final: the job has ended, so gaps
 * remain. Returns 0, or prints the error and returns an exit status.
 */
int follow_update(struct follow *follow, bool final);

/*
 * Maps results to be read elsewhere; @results_fd stays the caller's. Returns 0, or prints the error
 * and returns an exit status.
 */
int follow_map(int results_fd, struct results *ret);

/*
 * Whether a task may have a record. The records of a job that has not begun may have no blocks yet:
 * touching them would allocate these, or, on a full file system, fail with SIGBUS.
 */
bool follow_has_begun(const struct results *results);

/*
 * To be called after mapped results were read elsewhere: returns 0, or prints that the file was cut
 * short meanwhile and returns an exit status.
 */
int follow_check_mapped(void);
