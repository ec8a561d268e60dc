#pragma once

/*
 * A list of inputs on its way into a job's directory. It is checked and copied in one pass to a
 * file beside the directories of jobs, and that file is moved into the job's directory once there
 * is one. A list in a memfd is read, never mapped: if we were the first to touch a page of a hole
 * in it, that page would be charged to us for as long as the client keeps the memfd.
 */

#include "daemon/supervisor/kept/trash.h"
#include "lib/inputs.h"

struct incoming {
        struct trash *trash; /* borrowed; the copy is made in the same directory */
        int fd;              /* of the copy, open for writing */
        char name[32];       /* of the copy; empty: it was taken, or there is none */
        uint64_t size, n_tasks;
        bool uses_demo; /* an input begins with "demo:" */
};

#define INCOMING_NULL        \
        {                    \
                .fd = -EBADF \
        }

int incoming_open(struct trash *trash, struct incoming *ret);
/* Removes the copy unless it was taken. */
void incoming_deinit(struct incoming *incoming);

/*
 * These copy all of @fd from its beginning, or all of @text. -EBADMSG and @error when that is not a
 * valid list of inputs; what follows the first wrong byte is not looked at.
 */
int incoming_copy(struct incoming *incoming, int fd, struct input_error *error);
int incoming_copy_text(struct incoming *incoming, const char *text, size_t n,
                       struct input_error *error);

/* Moves the copy into @dir_fd and calls it @name there. */
int incoming_take(struct incoming *incoming, int dir_fd, const char *name);

/* Whether @name is that of a copy. While no list is on its way, such a file is a leftover. */
bool incoming_is_left(const char *name);
