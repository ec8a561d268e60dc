#pragma once

/*
 * The inputs of a job, twice: as they were given, for printing, and as pppd gets them, in a sealed
 * memfd. The two differ only where a relative path had to be made absolute, since pppd works in
 * another directory; else both are the same memfd. Only pages of memfds are held, however many
 * inputs there are.
 */

#include "cli/args.h"
#include "lib/inputs.h"
#include "lib/spec.h"

struct source {
        struct inputs given; /* with an index */
        int fd;              /* to be sent */
        bool may_be_empty;   /* given by the caller: that is no error, */
        bool is_empty;       /* and told here, instead of any inputs */
        bool ends_with_nul;  /* given by the caller: each input of a file does, and not each line */
};

#define SOURCE_NULL                                \
        {                                          \
                .given = INPUTS_NULL, .fd = -EBADF \
        }

/*
 * From --from, else from @operands, else the workload's default inputs. Returns 0, or prints
 * the error and returns an exit status.
 */
int source_open(struct source *source, enum workload_id workload, const char *from,
                char *const *operands, size_t n_operands);
void source_close(struct source *source);

/*
 * Copies the lines of @from, at most 1 GiB, into a sealed memfd. @name is what messages call their
 * source. Returns 0, or prints the error and returns an exit status.
 */
int source_copy(int from, const char *name, int *ret_fd);

/*
 * Whether @input of the words workload is a path that depends on the working directory: not
 * absolute, and no URL (lib/input-kind.h).
 */
bool is_relative_path(const char *input, size_t n);
