#pragma once

/*
 * The fetcher: all fetches of one loop, on one multi handle that the loop's ring drives.
 *
 * libcurl does not run on fibers: their stacks are small, and each page of a thousand of them that
 * is touched counts. A fiber leaves its request in a queue and is suspended; fetcher_turn(), on the
 * loop's stack and once for all fibers that ran, hands the queue to libcurl, lets it work, and
 * wakes those whose transfers are done. Nor may libcurl be called from its own callbacks: transfers
 * end here, after it has returned.
 *
 * There are never more easy handles than fibers in flight. The one that was used last is taken
 * first: its buffer is in the cache.
 */

#include "daemon/runner/fetch/curl-ring.h"
#include "daemon/runner/fetch/fetch-origin.h"
#include "daemon/runner/fetch/transfer.h"
#include "daemon/runner/loop/loop.h"

TAILQ_HEAD(transfers, transfer);

struct fetcher {
        struct loop *loop;
        struct fetcher_bounds bounds;
        struct loop_deferred turn;
        CURLM *multi; /* made by the first turn */
        struct curl_ring driver;
        size_t buffer_size;
        struct fetch_queue queue; /* not yet libcurl's */
        struct fetch_queue held;  /* for want of a place among those that resolve names */
        struct origins origins;
        bool has_proxy; /* then a name's address is not where its requests go */
        unsigned n_resolving;
        bool arm_later; /* the last turn left the ring alone */
        struct transfer *in_flight;
        struct transfers working; /* those of them with a body that was put off, in rotation */
        struct transfer *idle;    /* last in first out */
};

/* Takes a transfer from libcurl for good; its request is done with @result. */
void fetcher_give_up(struct fetcher *fetcher, struct transfer *transfer, int result);

/* fetch-request.c: the request's fiber continues with that result. */
void fetch_request_done(struct fetch_request *request, int result);

/* fetch-scout.c: what a transfer does on behalf of all requests to the same origin. */
void scout_enter(struct transfer *transfer,
                 struct origin *origin);        /* it begins; NULL: none to scout */
void scout_resolved(struct transfer *transfer); /* the name is known */
void scout_connected(struct transfer *transfer, const char *remote, int port);
void scout_leave(struct transfer *transfer); /* it ends, one way or the other */

/* Where a request for @origin has to wait, NULL if it need not. */
struct fetch_queue *scout_find_obstacle(struct fetcher *fetcher, struct origin *origin);

/* Whether another request has found out meanwhile where this one can connect without libcurl. */
bool scout_has_found(const struct fetch_request *request, struct origin *origin);
