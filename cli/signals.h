#pragma once

/* Ctrl-C as something to wait for, next to the socket, so that it can cancel the job first. */

#include "lib/util.h"

/*
 * Blocks SIGINT and SIGTERM and makes them readable: from now on they end only pppd_receive().
 * Returns 0 or an exit status, with the error said.
 */
int signals_open(int *ret_fd);

/* Takes the signals that came. */
void signals_drain(int fd);
