#pragma once

/*
 * Work that takes longer than a turn of the event loop may, done by a child: a copy of this
 * process, which finds in memory what it needs, writes what it found out to a file in memory, and
 * ends. It has none of our descriptors but those it is given, so that connections we close are
 * closed, and ends with us.
 *
 * The child must not touch the event loop, clients, or the database (SQLite's locks are a
 * process's).
 */

#include <systemd/sd-event.h>

#include "lib/util.h"

#define ERRAND_FDS_MAX 4

struct errand;

struct errand_work {
        /* Runs in the child; what it writes to @out_fd is the answer. 0 or a negative errno. */
        int (*run)(void *userdata, int out_fd);
        /*
         * Runs here, later, once: @r is the result of run(), -ECHILD if the child was killed;
         * @out_fd is borrowed. The errand is gone when it returns.
         */
        void (*done)(void *userdata, int r, int out_fd);
        void *userdata;
        int fds[ERRAND_FDS_MAX]; /* that the child keeps, by their numbers */
        size_t n_fds;
};

/* Never calls back before it returns. */
int errand_start(sd_event *event, const struct errand_work *work, struct errand **ret);

/* Kills it; done() is not called. NULL is fine. Returns NULL. */
struct errand *errand_cancel(struct errand *errand);

/*
 * The same after it was given @msec milliseconds to end by itself. Blocks so long: for the daemon's
 * end.
 */
struct errand *errand_await(struct errand *errand, int msec);
