#pragma once

/*
 * A request and the meaning of its answer, no matter whether the engine (http-exchange.h) or
 * libcurl (transfer.h) reads it from the wire. Both hand over each head whole and unchanged, and
 * the body without its framing. So it is stated only here what a head may say, which body is
 * wanted, how it is decoded, where a redirect leads and which failure is reported.
 *
 * A body that nobody wants (of a redirect, of an error) is read only to keep the connection, up to
 * FETCH_DISCARD_MAX bytes and for FETCH_DISCARD_NS; then the result is HTTP_ENOUGH.
 */

#include "daemon/runner/fetch/content-coding.h"
#include "daemon/runner/fetch/http-head.h"
#include "daemon/runner/task.h"

struct http_cookies;

/* Only encoded bodies need a decoder, for as long as the body comes in. */
struct http_coding {
        struct content_coding coding;
        struct http_coding *next;
};

/* Decoders that are free; the last one given back is taken first. */
struct http_codings {
        struct http_coding *first;
};

void http_codings_deinit(struct http_codings *codings);

/* One request, without the redirects that follow it. */
struct http_get {
        struct ppp_task *task;
        const char *url;              /* its host is of ASCII */
        struct http_cookies *cookies; /* to be sent, and to be added to by a redirect */
        struct http_codings *codings;
        ppp_sink *sink;
        void *userdata;
        char *location; /* of HTTP_FOLLOW: the absolute URL; the caller's */
};

struct http_answer {
        struct http_get *get;
        struct http_head head; /* status 0: it has not come */
        size_t n_head;         /* bytes of heads and trailers */
        size_t n_discarded;
        bool transfer_undone;       /* who reads it undoes the transfer's codings too */
        struct http_coding *coding; /* NULL: none to undo */
        const char *plain;          /* of a body that is not coded: fed, and not handed on */
        size_t n_plain;
        /*
         * Called between two pieces that are handed on: the task's time may be up, or others may
         * want to run. 0 or a negative errno after task_fail(). The data that was fed may move
         * meanwhile.
         */
        int (*breathe)(struct http_answer *answer);
        const char *charset; /* NULL, where the head was, or charset_kept */
        char *charset_kept;
};

#define HTTP_ENOUGH 1 /* a body nobody wants: its connection is not worth the rest */
#define HTTP_FOLLOW 2 /* a redirect: get->location is to be asked for */
#define HTTP_MORE   3 /* there is more to be handed on */

void http_answer_init(struct http_answer *answer, struct http_get *get,
                      int (*breathe)(struct http_answer *answer));

/*
 * One head, @n bytes as http_head_find_end() found them, into which NULs are written. It has to
 * stay where it is until http_answer_keep(). A status below 200: the next head is to come. Returns
 * 0 or a negative errno after task_fail().
 */
int http_answer_head(struct http_answer *answer, char *data, size_t n);

/*
 * Checks the part of an incomplete head that has come so far, or @n further bytes of trailers.
 * Returns as above.
 */
int http_answer_check(struct http_answer *answer, const char *data, size_t n);
int http_answer_count(struct http_answer *answer, size_t n);

/* Copies the parts of the head that are still needed. 0 or a negative errno after task_fail(). */
int http_answer_keep(struct http_answer *answer);

/* Whether the body is read only to keep the connection. */
static inline bool http_answer_is_unwanted(const struct http_answer *answer)
{
        return answer->head.status >= 400 || answer->get->location;
}

/*
 * Takes a piece of the body. Returns 0, HTTP_ENOUGH, or a negative errno: the sink's, or after
 * task_fail().
 */
int http_answer_body(struct http_answer *answer, const char *data, size_t n);

/*
 * The same in steps, for a caller that has to let others run: feeds a piece, and hands on only as
 * much of it as takes far less than a millisecond, which may be nothing yet. HTTP_MORE: call again.
 * Until then the piece is in use; its rest may lie elsewhere from one call to the next.
 */
void http_answer_feed(struct http_answer *answer, const char *data, size_t n);
int http_answer_next(struct http_answer *answer);
size_t http_answer_left(const struct http_answer *answer);
void http_answer_move(struct http_answer *answer, const char *data);

/*
 * The result of an answer that came to its end (@r 0), or of a failure that was noted (@r
 * negative). The server's status takes precedence over the way in which the body ended. 0,
 * HTTP_FOLLOW or a negative errno.
 */
int http_answer_end(struct http_answer *answer, int r);

/* task_fail() for @error, with the reason that belongs to it. */
int http_fail(struct ppp_task *task, enum ppp_fetch_error error);

/* task_fail() for a time that is up: the task's own, or else that in which some byte should come.
 */
int http_fail_time(struct ppp_task *task);
