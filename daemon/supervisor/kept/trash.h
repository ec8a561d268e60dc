#pragma once

/*
 * The trash: files below <state>/jobs that nobody needs any more. Freeing the blocks of a large
 * file takes the kernel tens of milliseconds, so a child does it. A large file is renamed to a name
 * that no job has, and is removed a moment later or, if this supervisor ends before, by the next
 * one.
 */

#include <systemd/sd-event.h>

#include "daemon/supervisor/child/errand.h"

struct trash {
        sd_event *event;
        int dir_fd;            /* of <state>/jobs, borrowed */
        uint64_t next;         /* makes the name of the next entry unique */
        struct errand *errand; /* the child that removes entries; NULL: none is at work */
        bool again;            /* entries were added after the errand was started */
        unsigned n_told;       /* how many entries could not be removed when that was last logged */
};

/*
 * Begins to remove what the last supervisor left: its trash, and each entry for whose name @is_left
 * returns true.
 */
int trash_init(struct trash *trash, sd_event *event, int dir_fd, bool (*is_left)(const char *name));
/* Entries that have not been removed yet are left for the next supervisor. */
void trash_deinit(struct trash *trash);

/*
 * Removes the file @name, or the directory @name with the files in it; small ones at once. 0 also
 * when there is no such entry. Descriptors of large files should be closed before: the kernel frees
 * the blocks when the last one is closed.
 */
int trash_put(struct trash *trash, const char *name);
