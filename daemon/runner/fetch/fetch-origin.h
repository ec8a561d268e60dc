#pragma once

/*
 * Origins decide which transfer goes first. libcurl resolves a name in a thread for each transfer
 * that asks before the first answer is there, and opens a connection for each that asks before it
 * knows whether the server speaks HTTP/2, or that finds all streams of the open ones taken. A
 * window of 256 fibers that sets out for one host at once would start 256 threads and 256
 * handshakes. So the first transfer to an origin (scheme, host, port) is its scout; the others wait
 * until it has got through, and find the name in the cache and the connection open. Where a server
 * multiplexes, one scout goes ahead for every further connection too.
 *
 * An http: origin that is an address needs no scout. If it is a name, the scout finds out which
 * address libcurl has reached; for as long as libcurl, too, keeps the resolved name, others may
 * connect to that address without libcurl.
 */

#include "daemon/runner/fetch/http-url.h"
#include "daemon/runner/loop/loop.h"

struct http_get;
struct transfer;

/* A ring of links: one may leave without knowing the queue that it is in. */
struct fetch_link {
        struct fetch_link *previous, *next;
};

/* A request of a fiber, which waits for it; it is on the fiber's stack. */
struct fetch_request {
        struct loop_deadline deadline;
        struct fetcher *fetcher;
        struct loop_fiber *fiber;
        struct http_get *get;
        bool connect_only; /* only a connection is wanted, whose descriptor is */
        int fd;            /* this, -EBADF before */
        bool may_be_known; /* the fiber can do it by itself if it knows the address */
        int result;        /* as of fetcher_fetch(), once it is done */
        bool done;
        bool woken;                /* the fiber is about to run */
        unsigned n_refused;        /* times that a closing server did not take it */
        struct transfer *transfer; /* that is in flight for it; NULL: it is in a queue */
        struct fetch_link link;
};

/* First in first out; stays where it is. */
struct fetch_queue {
        struct fetch_link ends; /* next: the first; previous: the last */
};

static inline void fetch_queue_init(struct fetch_queue *queue)
{
        queue->ends.next = queue->ends.previous = &queue->ends;
}

static inline bool fetch_queue_is_empty(const struct fetch_queue *queue)
{
        return queue->ends.next == &queue->ends;
}

static inline void fetch_queue_push(struct fetch_queue *queue, struct fetch_request *request)
{
        struct fetch_link *last = queue->ends.previous;

        request->link = (struct fetch_link){ last, &queue->ends };
        last->next = queue->ends.previous = &request->link;
}

/* Takes it out of the queue it is in. */
static inline void fetch_queue_remove(struct fetch_request *request)
{
        request->link.previous->next = request->link.next;
        request->link.next->previous = request->link.previous;
}

static inline struct fetch_request *fetch_queue_pop(struct fetch_queue *queue)
{
        struct fetch_request *request = container_of(queue->ends.next, struct fetch_request, link);

        if (fetch_queue_is_empty(queue))
                return NULL;
        fetch_queue_remove(request);
        return request;
}

/* Appends all of @from, which is empty then. */
static inline void fetch_queue_move(struct fetch_queue *queue, struct fetch_queue *from)
{
        struct fetch_link *first = from->ends.next, *last = from->ends.previous;

        if (fetch_queue_is_empty(from))
                return;
        first->previous = queue->ends.previous;
        first->previous->next = first;
        last->next = &queue->ends;
        queue->ends.previous = last;
        fetch_queue_init(from);
}

/* Requests at a time on one connection over HTTP/2; RFC 9113 wants a server to allow as many. */
#define ORIGIN_STREAMS 100U

struct origin {
        struct origin *next;        /* in its bucket */
        struct fetch_queue waiting; /* for a scout, or for room */
        uint32_t hash;
        unsigned n_users; /* transfers in flight; it stays as long as there are any */
        unsigned room;    /* for so many in flight; UINT_MAX: no limit, HTTP/1.1 */
        bool secure;      /* https: */
        bool scouting;    /* a transfer is on its way to open a connection */
        bool known;       /* one got through */
        bool multiplexes; /* over HTTP/2 */
        bool has_address;
        union http_address address; /* that was reached last */
        uint64_t address_until_ns;  /* then somebody has to look again */
        size_t n_key;
        char key[]; /* scheme, then host and port, as the URL has them */
};

#define ORIGIN_BUCKETS 1024

struct origins {
        struct origin *buckets[ORIGIN_BUCKETS];
        size_t n;
        size_t limit; /* more are not remembered, unless used */
};

void origins_init(struct origins *origins);
void origins_deinit(struct origins *origins);

/*
 * The origin of @url; NULL where there is nothing to scout or no memory to remember it: the request
 * then goes without an origin. The result is valid as long as it has users, or else until the next
 * call.
 */
struct origin *origins_get(struct origins *origins, const char *url);

/* Notes the address that libcurl has reached, in libcurl's notation. */
void origin_set_address(struct origin *origin, const char *ip, int port);
void origin_forget_address(struct origin *origin);

/*
 * The address to connect to for this origin; false: it is not known, or the knowledge is too old.
 */
bool origin_get_address(const struct origin *origin, union http_address *ret);

/*
 * Called for a transfer that is about to look up the address by libcurl: until it has, others
 * continue with the old address, if there is one.
 */
void origin_extend_address(struct origin *origin);
