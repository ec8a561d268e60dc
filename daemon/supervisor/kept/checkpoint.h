#pragma once

/*
 * A checkpoint moves committed changes from the database's write-ahead log into the database itself
 * once there are many of them. Since that waits for the disk, a separate process does it: this
 * program executed again, because SQLite forbids a forked child to use a database that its parent
 * has open.
 */

#include "daemon/supervisor/child/errand.h"
#include "daemon/supervisor/kept/store.h"

/* The first argument of that process; the second is the path of the database. */
#define CHECKPOINT_ARG "--checkpoint"

struct checkpoint {
        sd_event *event;
        const struct store *store; /* borrowed */
        char *path;                /* of the database, borrowed */
        struct errand *errand;     /* the checkpoint at work; NULL: none is */
};

/* Begins a checkpoint if one is due and none is at work. */
void checkpoint_look(struct checkpoint *checkpoint);
void checkpoint_deinit(struct checkpoint *checkpoint);
