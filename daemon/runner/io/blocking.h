#pragma once

/*
 * The blocking back end: each call blocks the calling thread. Each thread or process has one
 * context, which keeps that worker's libcurl handle (and with it its open connections) and its read
 * buffer.
 */

#include "daemon/runner/task.h"

struct blocking_io;

extern const struct io_ops blocking_ops;

int blocking_io_new(struct runner *runner, struct blocking_io **ret);
struct blocking_io *blocking_io_free(struct blocking_io *io);
