#pragma once

/*
 * The constants that all fetching shares, and fetching by libcurl for both back ends: libcurl does
 * what the engine (http-fetch.h) does not do by itself. libcurl is opened at run time by the first
 * fetch that needs it (dlopen("libcurl.so.4")): loading it and the libraries it needs costs 8 ms,
 * which a runner that does not use it should not pay.
 *
 * A transfer is one request without its redirects, on an easy handle of its own (curl-easy.h). The
 * blocking backend performs it with a small multi handle of its own (transfer-blocking.c); the ring
 * backend adds it to the loop's multi handle (fetcher.c), whose sockets are watched by polls on
 * the ring and whose clock is a timeout on the ring (curl-ring.c). Errors become enum ppp_reason in
 * transfer-fail.c, once.
 */

#include "daemon/runner/fetch/http-url.h"
#include "daemon/runner/task.h"

#define FETCH_REDIRECTS_MAX 10U
/*
 * A body that nobody wants, of an error or a redirect, is read up to this size, to keep the
 * connection; if it is longer, the connection is closed.
 */
#define FETCH_DISCARD_MAX (64 * 1024)
/* Header lines of one answer, with those of the 1xx before it and its trailers. */
#define FETCH_HEADERS_MAX (1024 * 1024)
#define FETCH_USER_AGENT  "pppctl/" PPPCTL_VERSION

/*
 * How long a fetch may wait. If the task has a deadline, that alone decides. Without one,
 * connecting may take connect_ns, and a transfer on which nothing came for stall_ns has failed
 * (PPP_REASON_TIMEOUT): otherwise a server that vanished without a word would hold the job for
 * ever. In either case a body that nobody wants is waited for no longer than discard_ns in all.
 * Unit tests set other times.
 */
struct fetch_patience {
        uint64_t connect_ns;
        uint64_t stall_ns;
        uint64_t discard_ns;
};

extern struct fetch_patience fetch_patience;

struct transfer; /* a request by libcurl and its state, reusable */
struct fetcher;  /* a multi handle on a ring */
struct http_get;
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

/*
 * Blocking: does @get on this thread; returns the same as http_answer_end(). It ends early when the
 * task is cancelled, which @interrupt signals.
 */
int transfer_perform(struct transfer *transfer, struct http_get *get,
                     const struct interrupt *interrupt);

/*
 * Blocking: only connects to the server of @url, an http: URL. 0 and a descriptor of the caller's,
 * or a negative errno after task_fail().
 */
int transfer_connect(struct transfer *transfer, struct ppp_task *task,
                     const struct interrupt *interrupt, const char *url, int *ret_fd);

/* Names that a loop resolves at a time, where there are enough descriptors. */
#define FETCHER_RESOLVING_MAX 64U

/* The bounds on libcurl's use in one loop. */
struct fetcher_bounds {
        unsigned connections_max; /* 0: any number */
        unsigned resolving_max; /* names that it resolves at a time, in a thread each; at least 1 */
};

/* Cheap: libcurl is loaded and set up with the first fetch. */
int fetcher_new(struct loop *loop, const struct fetcher_bounds *bounds, struct fetcher **ret);
/* Closes all connections. Nothing of the fetcher but its own polls may be in flight on the ring. */
struct fetcher *fetcher_free(struct fetcher *fetcher);

/* The same on a fiber, which is suspended until it is done. */
int fetcher_fetch(struct fetcher *fetcher, struct http_get *get);

/*
 * Returns FETCH_KNOWN, if the caller accepts that: nothing was connected, since another request has
 * found the server meanwhile, and fetcher_find_address() gives its address.
 */
#define FETCH_KNOWN 1
int fetcher_connect(struct fetcher *fetcher, struct ppp_task *task, const char *url,
                    bool may_be_known, int *ret_fd);

/* Where libcurl has found the server of @url, an http: URL with a name. False: nobody knows. */
bool fetcher_find_address(struct fetcher *fetcher, const char *url, union http_address *ret);
/* It could not be reached there. */
void fetcher_forget_address(struct fetcher *fetcher, const char *url);

/* Ends every transfer in flight with -ECANCELED; on the loop's stack. */
void fetcher_cancel_all(struct fetcher *fetcher);
