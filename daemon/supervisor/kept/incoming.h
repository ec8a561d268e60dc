#pragma once

/*
 * A list of inputs on its way into a job's directory: checked and copied in one pass, to a file
 * beside the directories of jobs, which becomes the job's when there is one. A list in a memfd is
 * read, never mapped: a page of a hole that we were the first to touch would be charged to us, and
 * stay so as long as the client keeps the memfd.
 */

#include "daemon/supervisor/kept/trash.h"
#include "lib/inputs.h"

struct incoming {
        struct trash *trash; /* borrowed; it is made beside that */
        int fd;              /* the copy */
        char name[32];       /* its name in there; empty: it was taken, or there is none */
        uint64_t size, n_tasks;
        bool uses_demo; /* an input begins with "demo:" */
};

#define INCOMING_NULL        \
        {                    \
                .fd = -EBADF \
        }

int incoming_open(struct trash *trash, struct incoming *ret);
/* Removes the file, if it was not taken. */
void incoming_deinit(struct incoming *incoming);

/*
 * Copies all of @fd, from its beginning, or of @text. -EBADMSG and @error when it is no list of
 * inputs; nothing past the first byte that is wrong was looked at.
 */
int incoming_copy(struct incoming *incoming, int fd, struct input_error *error);
int incoming_copy_text(struct incoming *incoming, const char *text, size_t n,
                       struct input_error *error);

/* Makes it the file @name in @dir_fd. */
int incoming_take(struct incoming *incoming, int dir_fd, const char *name);

/* Whether a file by this name is a copy: nobody's, where no list is on its way. */
bool incoming_is_left(const char *name);
