#pragma once

/*
 * Makes Ctrl-C an event to wait for, like the socket and standard output, so that it can cancel the
 * job before we leave.
 */

#include "lib/util.h"

/*
 * Blocks SIGINT and SIGTERM and makes them readable: from now on they end only pppd_receive(), and
 * writing to a standard stream that nobody reads (stream.h); so this comes before output_init().
 * Returns 0, or prints the error and returns an exit status.
 */
int signals_open(int *ret_fd);

/* Takes the signals that came. Returns whether there was one. */
bool signals_drain(int fd);
