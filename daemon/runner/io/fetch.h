#pragma once

/*
 * Fetching by libcurl, for both backends: all of it for the blocking one; for the ring what
 * http-fetch.h, which chooses, does not do by itself. libcurl is opened at run time by the first fetch
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
 */

#include "daemon/runner/io/http-url.h"
#include "daemon/runner/task.h"

#define FETCH_REDIRECTS_MAX     10U
#define FETCH_CONNECT_NS        (30 * NSEC_PER_SEC)
/*
 * Without --task-timeout a transfer over which nothing came for this long has failed too: a server
 * that vanished without a word would hold the job forever. With one, that alone decides.
 */
#define FETCH_STALL_NS          (60 * NSEC_PER_SEC)
/*
 * An error page is read, to keep the connection, up to here; a longer one costs its connection.
 */
#define FETCH_DISCARD_MAX       (64 * 1024)
/* Header lines of one request, with those of its redirects and its trailers. */
#define FETCH_HEADERS_MAX       (1024 * 1024)
#define FETCH_USER_AGENT        "pppctl/" PPPCTL_VERSION

struct transfer;                        /* one easy handle and its state, reusable */
struct fetcher;                         /* a multi handle on a ring */
struct interrupt;
struct loop;

/*
 * 0, or -ENOPKG after task_fail(PPP_REASON_NO_FETCH). Thread-safe, does its work once. Not from a
 * fiber, whose stack may be too small for it; the fetcher calls it by itself.
 */
int fetch_load(struct ppp_task *task);

/* Whether the environment names a proxy; if so, only this machine is sure to be reached without. */
bool fetch_has_proxy(void);

/* Needs fetch_load() to have returned 0. */
int transfer_new(struct runner *runner, size_t buffer_size, struct transfer **ret);
struct transfer *transfer_free(struct transfer *transfer);

/* Blocking: performs the transfer on this thread. What cancels the task, of which @interrupt tells, ends it. */
int transfer_perform(struct transfer *transfer, struct ppp_task *task, const struct interrupt *interrupt,
                     const char *url, ppp_sink *sink, void *userdata);

/* Cheap: libcurl is loaded and set up with the first fetch. */
int fetcher_new(struct loop *loop, struct fetcher **ret);
/* Closes all connections; needs a ring on which nothing of it is in flight but its own polls. */
struct fetcher *fetcher_free(struct fetcher *fetcher);

/*
 * On a fiber: adds a transfer that follows at most @redirects_max redirects, suspends until it is
 * done. 0 or a negative errno after task_fail(), or FETCH_DIRECT, if @may_be_direct: nothing was
 * done, but fetcher_find_address() knows now where the server is.
 */
#define FETCH_DIRECT 1
int fetcher_fetch(struct fetcher *fetcher, struct ppp_task *task, const char *url,
                  unsigned redirects_max, bool may_be_direct, ppp_sink *sink, void *userdata);

/* Where libcurl has found the server of @url, an http: URL with a name. False: ask fetcher_fetch(). */
bool fetcher_find_address(struct fetcher *fetcher, const char *url, union http_address *ret);
/* It could not be reached there. */
void fetcher_forget_address(struct fetcher *fetcher, const char *url);

/* Ends every transfer in flight with -ECANCELED; on the loop's stack. */
void fetcher_cancel_all(struct fetcher *fetcher);
