#pragma once

/*
 * A transfer from the inside, for the two that drive it: transfer-blocking.c and fetcher.c (the
 * ring). transfer_begin() makes an easy handle for one request, transfer_end() turns libcurl's
 * result into the task's, and transfer_release() frees the handle. In between the handle belongs to
 * a multi handle.
 *
 * Without a deadline of its task a transfer has until_ns, which moves with every line and piece
 * that comes; the driver calls transfer_time_up() when it has passed.
 */

#include <sys/queue.h>

#include "daemon/runner/fetch/curl-load.h"
#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/fetch/http-answer.h"

struct fetch_request;
struct origin;

struct transfer {
        CURL *easy;                 /* of the request at hand, else NULL */
        struct curl_slist *headers; /* sent with each request */
        CURLM *multi;               /* blocking: its own and its connections; NULL on a ring */
        struct runner *runner;
        size_t buffer_size;

        /* The request at hand. */
        struct http_get *get;
        bool connect_only; /* only a connection is wanted */
        struct http_answer answer;
        int result;        /* negative: our callbacks ended it */
        bool left;         /* enough of a body that nobody wants has come */
        bool by_proxy;     /* whoever is connected to is a proxy */
        int socket_errno;  /* why no socket could be opened */
        bool head_ended;   /* the last head that has come is whole */
        uint64_t until_ns; /* CLOCK_MONOTONIC; 0: libcurl sees to the time */

        char *head; /* the lines of a head; kept from request to request */
        size_t n_head, head_size;

        /*
         * On a ring: called when handing on a body takes long. Then transfer_work() is to be called
         * from time to time, until it says that it is done. NULL: the body is handed on at once.
         */
        void (*put_off)(struct transfer *transfer);
        bool working;               /* put off; it holds a copy of what is left of a piece, */
        char *rest;                 /* or NULL */
        bool paused;                /* libcurl has more, and keeps it for then */
        bool ended;                 /* and is through, without an error */
        TAILQ_ENTRY(transfer) link; /* of those that are put off */

        /* On a ring: */
        struct fetcher *fetcher;
        struct fetch_request *request;
        struct origin *origin; /* NULL: nothing to scout */
        bool scouting;         /* others wait until it has got through to its origin */
        bool resolving;        /* counted as such, until it opens a socket */
        bool opened;           /* a socket */
        struct transfer *next; /* idle transfers; or those in flight, with previous */
        struct transfer *previous;
};

/*
 * Makes a handle for @get, or for just a connection to its server. Returns 0, or a negative errno
 * after task_fail() (a URL that is none, a deadline that has passed): then nothing is to be done,
 * ended or released.
 */
int transfer_begin(struct transfer *transfer, struct http_get *get, bool connect_only);
void transfer_release(struct transfer *transfer);

/*
 * Continues for a moment with a transfer that was put off. HTTP_MORE; or 0: everything is handed
 * on, or has failed, and the transfer is put off no longer.
 */
int transfer_work(struct transfer *transfer);

/*
 * transfer-fail.c: task_fail() for the code that libcurl ended with; and whether a URL has a scheme
 * we take.
 */
int transfer_fail(struct transfer *transfer, CURLcode code);
enum ppp_reason transfer_check_scheme(const char *url);

/* The result of a request that libcurl ended with @code; the same as that of http_answer_end(). */
int transfer_end(struct transfer *transfer, CURLcode code);

/* The result of a request that was taken from libcurl, since until_ns has passed, or for good. */
int transfer_time_up(struct transfer *transfer);
int transfer_abandon(struct transfer *transfer);

/*
 * The connection that was made, before the handle leaves its multi handle: a descriptor of the
 * caller's own or a negative errno after task_fail().
 */
int transfer_socket(struct transfer *transfer);

/* A socket is about to be opened: CURLOPT_OPENSOCKETFUNCTION has to call this. */
void transfer_opens(struct transfer *transfer, const struct curl_sockaddr *address);

/* The connection is made: until_ns begins. CURLOPT_PREREQFUNCTION has to call this. */
void transfer_connected(struct transfer *transfer);

/* Whether nothing of an answer has come. */
bool transfer_unanswered(struct transfer *transfer);

/*
 * Whether a connection that was kept turned out to be lost as the request went out: nothing of an
 * answer has come, and a new connection may do better, which transfer_set_fresh() asks for. libcurl
 * asks again by itself, but only so many times.
 */
bool transfer_is_stale(struct transfer *transfer, CURLcode code);
void transfer_set_fresh(struct transfer *transfer);
