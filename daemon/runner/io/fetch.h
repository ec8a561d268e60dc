#pragma once

/*
 * Fetching by libcurl, for both backends. libcurl is opened at run time by the first fetch
 * (dlopen("libcurl.so.4")): loading it and what it drags in costs 8 ms, which a runner that fetches
 * nothing should not pay.
 *
 * A transfer is one request with its redirects, on an easy handle that is used again. The blocking
 * backend performs it with a small multi handle of its own (fetch.c); the ring backend adds it to
 * the loop's multi handle (fetch-multi.c), whose sockets are watched by polls on the ring and whose
 * clock is a timeout on the ring (curl-ring.c). Errors become enum ppp_reason in fetch.c, once.
 *
 * How long: with a deadline on the task, that alone. Without one, connecting may take 30 s, and a
 * transfer over which nothing came for 60 s has failed (PPP_REASON_TIMEOUT).
 *
 * Plain HTTP/1.1 straight on the ring may join beside this file later: uring_ops.fetch is the
 * place that chooses.
 */

#include "daemon/runner/task.h"

struct transfer;                        /* one easy handle and its state, reusable */
struct fetcher;                         /* a multi handle on a ring */
struct loop;

/*
 * 0, or -ENOPKG after task_fail(PPP_REASON_NO_FETCH). Thread-safe, does its work once. Not from a
 * fiber, whose stack may be too small for it; the fetcher calls it by itself.
 */
int fetch_load(struct ppp_task *task);

/* Needs fetch_load() to have returned 0. */
int transfer_new(struct runner *runner, size_t buffer_size, struct transfer **ret);
struct transfer *transfer_free(struct transfer *transfer);

/* Blocking: performs the transfer on this thread. Cancellation by SIGTERM ends it within 100 ms. */
int transfer_perform(struct transfer *transfer, struct ppp_task *task, const char *url,
                     ppp_sink *sink, void *userdata);

/* Cheap: libcurl is loaded and set up with the first fetch. */
int fetcher_new(struct loop *loop, struct fetcher **ret);
/* Closes all connections; needs a ring on which nothing of it is in flight but its own polls. */
struct fetcher *fetcher_free(struct fetcher *fetcher);

/* On a fiber: adds a transfer, suspends until it is done. */
int fetcher_fetch(struct fetcher *fetcher, struct ppp_task *task, const char *url,
                  ppp_sink *sink, void *userdata);

/* Ends every transfer in flight with -ECANCELED; on the loop's stack. */
void fetcher_cancel_all(struct fetcher *fetcher);
