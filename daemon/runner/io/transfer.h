#pragma once

/*
 * A transfer from the inside, for the two that drive it: fetch.c (blocking) and fetch-multi.c
 * (ring). transfer_begin() makes the handle ready for one request, transfer_end() turns how libcurl
 * says it went into the task's result. Between the two the handle belongs to a multi handle.
 */

#include "daemon/runner/io/content-coding.h"
#include "daemon/runner/io/curl-load.h"
#include "daemon/runner/io/fetch.h"

struct fetch_request;
struct origin;

struct transfer {
        CURL *easy;
        struct curl_slist *headers;     /* sent with each request */
        CURLM *multi;                   /* blocking: its own and its connections; NULL on a ring */
        struct runner *runner;

        /* What the handle is set to, so that only what changes is set again. */
        long timeout_ms;
        unsigned redirects_max;
        bool pipewait;
        bool fresh;

        /* The request at hand. */
        struct ppp_task *task;
        ppp_sink *sink;
        void *userdata;
        int sink_result;                /* negative: the sink ended the transfer */
        int socket_errno;               /* why no socket could be opened */
        long status;                    /* 0 before the body begins */
        size_t n_header;                /* bytes of header lines */
        bool head_ended;                /* the empty line has come, of the last answer's head */
        size_t n_discarded;             /* of the body of an error answer */
        struct content_coding coding;   /* of this body, and what undoes it */
        const char *charset;            /* declared for this body: NULL or charset_text */

        char *charset_text;             /* kept from request to request, grown when need be */
        size_t charset_size;

        /* On a ring: */
        struct fetcher *fetcher;
        struct fetch_request *request;
        struct origin *origin;          /* NULL: nothing to scout */
        bool scouting;                  /* others wait until it has got through to its origin */
        bool resolving;                 /* counted as such, until it opens a socket */
        bool opened;                    /* a socket */
        struct transfer *next;          /* idle transfers; or those in flight, with previous */
        struct transfer *previous;
};

/*
 * Sets the handle for one request. Returns 0, or a negative errno after task_fail() (a URL that is
 * none, a deadline that has passed): then nothing is to be done or ended.
 */
int transfer_begin(struct transfer *transfer, struct ppp_task *task, const char *url,
                   ppp_sink *sink, void *userdata);

/* The result of a request that libcurl ended with @code: 0, the sink's, or that of task_fail(). */
int transfer_end(struct transfer *transfer, CURLcode code);

/* Whether nothing of an answer has come. */
bool transfer_unanswered(struct transfer *transfer);

/*
 * Whether a connection that was kept turned out to be lost as the request went out: nothing of an
 * answer has come, and a new connection (CURLOPT_FRESH_CONNECT) may do better.
 */
bool transfer_is_stale(struct transfer *transfer, CURLcode code);

/* Whether the next request may go over a kept connection. */
void transfer_set_fresh(struct transfer *transfer, bool fresh);

/* The result of a request that was taken from libcurl before its end. */
int transfer_abandon(struct transfer *transfer);
