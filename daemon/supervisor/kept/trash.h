#pragma once

/*
 * Files below <state>/jobs that nobody needs any more. Freeing the blocks of a large one takes the
 * kernel tens of milliseconds, so a child does it: what is put here gets a name that no job has,
 * and is gone a moment later, or, if this supervisor ends before that, after the next one's start.
 */

#include <systemd/sd-event.h>

#include "daemon/supervisor/child/errand.h"

struct trash {
        sd_event *event;
        int dir_fd;            /* borrowed */
        uint64_t next;         /* of the names given */
        struct errand *errand; /* removes what is there; NULL: nothing is, or it can't be removed */
        bool again;            /* more has come since the errand was started */
        unsigned n_told;       /* entries that can't be removed, as last told to the log */
};

/*
 * Begins with what the last supervisor left: its trash, and each entry of which @is_left, called
 * with the name, says that it is of no use.
 */
int trash_init(struct trash *trash, sd_event *event, int dir_fd, bool (*is_left)(const char *name));
/* What is there stays for the next supervisor. */
void trash_deinit(struct trash *trash);

/*
 * Removes the file @name, or the directory @name with the files in it; small ones at once. 0 also
 * when there is none. Descriptors of large files are to be closed before: the last one to close
 * pays.
 */
int trash_put(struct trash *trash, const char *name);
