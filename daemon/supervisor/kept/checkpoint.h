#pragma once

/*
 * Moves what was committed from the database's write-ahead log into the database itself, when there
 * is much of it. That waits for the disk, so a process of its own does it: this program again,
 * since SQLite does not take a child that inherited an open database.
 */

#include "daemon/supervisor/child/errand.h"
#include "daemon/supervisor/kept/store.h"

/* The first argument of that process; the second is the path of the database. */
#define CHECKPOINT_ARG "--checkpoint"

struct checkpoint {
        sd_event *event;
        const struct store *store; /* borrowed */
        char *path;                /* of the database, borrowed */
        struct errand *errand;
};

/* Begins one if it is due and none is at work. */
void checkpoint_look(struct checkpoint *checkpoint);
void checkpoint_deinit(struct checkpoint *checkpoint);
