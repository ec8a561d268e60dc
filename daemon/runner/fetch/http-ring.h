#pragma once

/*
 * The transport of a loop: connections for HTTP/1.1 on its ring.
 *
 * The ring holds one multishot poll for each connection, for as long as it is open: it wakes the
 * fiber that waits, and reports when a server closes a connection that nobody uses. The fiber
 * itself reads the data when it runs, with recv(2) into a single buffer that all fibers of the loop
 * share. So the buffer stays in the cache, waiting fibers hold none, and data that came between the
 * wake and the read (a body behind its head) is read in the same call. A multishot receive into
 * provided buffers saves that call, and costs as much again for its cold buffers and for running
 * out of them.
 *
 * Requests go out with the next turn of the loop, all of them by one system call, and do not
 * produce a completion each: a request that fits into the socket's buffer, as nearly all do, is
 * sent when it is submitted.
 *
 * A multishot poll reports only changes: `readable` remembers that there may be something to read
 * until a read has found less than it had room for.
 *
 * A connection in use belongs to one fiber. Closing one cancels its poll, and closes the descriptor
 * on the poll's completion.
 */

#include "daemon/runner/fetch/http-transport.h"

struct fetcher_bounds;
struct loop;

/*
 * @bounds are those of libcurl's part. The transport is part of the loop until that ends (struct
 * loop_hook).
 */
int http_ring_new(struct loop *loop, const struct fetcher_bounds *bounds,
                  struct http_transport **ret);
/* After loop_deinit(). Takes fibers' connections too. */
struct http_transport *http_ring_free(struct http_transport *transport);
