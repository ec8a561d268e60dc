#pragma once

/*
 * Ctrl-C as something to wait for, next to the socket and to who reads our output, so that it can
 * cancel the job first.
 */

#include "lib/util.h"

/*
 * Blocks SIGINT and SIGTERM and makes them readable: from now on they end only pppd_receive(), and
 * writing to a standard stream that nobody reads (stream.h); so this comes before output_init().
 * Returns 0 or an exit status, with the error said.
 */
int signals_open(int *ret_fd);

/* Takes the signals that came; whether there was one. */
bool signals_drain(int fd);
