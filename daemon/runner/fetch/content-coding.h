#pragma once

/*
 * Undoes the codings of a body (gzip, x-gzip, deflate; RFC 9110, 8.4.1) by zlib, several of them
 * one around the other if need be. libcurl could do it too, but accepts a stream that ends too
 * early as complete, and a page that is cut short is no result.
 *
 * The caller pulls: the data it has fed comes out piece by piece, each for a bounded amount of
 * work. So a small body that unfolds to a huge one holds nobody up: between two pieces others may
 * run, and the task's end can be noticed.
 *
 * Zero bytes after the end of a stream are padding, as they are to gunzip and browsers. A gzip
 * stream may be followed by another (RFC 1952, 2.2). Anything else that follows is a fault, as it
 * is to curl; browsers and Python's requests ignore it, and so may lose text.
 */

#include <zlib.h>

#include <pppctl/results.h>
#include "lib/util.h"

/* No more codings than this are undone, as in curl and urllib3: each may unfold a byte to a
 * thousand. */
#define CODINGS_MAX 5

enum coding {
        CODING_GZIP,
        CODING_DEFLATE,
};

/* The codings of a body as its fields list them, in the order in which they were applied. */
struct coding_list {
        size_t n;
        enum coding codings[CODINGS_MAX];
        int32_t fault; /* enum ppp_fetch_error: it cannot be undone; 0: it can */
};

/* The codings to ask for, as a header line. */
extern const char content_coding_accept[];

/*
 * Adds the codings of one more field, whose value is @n bytes: names separated by commas, where
 * identity is a name for none. Once there is a fault the rest is not looked at.
 */
void coding_list_add(struct coding_list *list, const char *value, size_t n);
void coding_list_append(struct coding_list *list, const struct coding_list *more);

struct coding_stage;

/* A decoder, reused from body to body: each stage's 56 KiB are allocated for the first body that
 * needs it. */
struct content_coding {
        struct coding_stage *stages[CODINGS_MAX]; /* the innermost, which is undone last, first */
        size_t n; /* stages of the body at hand; 0: there is nothing to undo */
};

#define CONTENT_CODING_NULL \
        {                   \
                0           \
        }

/* A new body, coded as @list says, which has no fault. 0 or -ENOMEM. */
int content_coding_begin(struct content_coding *coding, const struct coding_list *list);
void content_coding_deinit(struct content_coding *coding);

/*
 * Feeds the next @n bytes of the body, once everything fed before is used up. @data has to stay in
 * place until it is used up too. This and the following functions are only for a body that has a
 * coding.
 */
void content_coding_feed(struct content_coding *coding, const void *data, size_t n);

/*
 * Does a little more work. Returns 0 when everything fed is used up and has come out; otherwise 1
 * and a piece of output of @ret_n bytes, possibly none, which is valid until the next call;
 * -ENOMEM; -EBADMSG: it is no such stream; -EOVERFLOW: there is more after its end
 * (PPP_FETCH_TRAILING).
 */
int content_coding_next(struct content_coding *coding, const void **ret, size_t *ret_n);

/* How much of the data fed is not used up yet; and tells where that lies from now on. */
size_t content_coding_left(const struct content_coding *coding);
void content_coding_move(struct content_coding *coding, const void *data);

/* Whether a body may end here: its streams have ended, or there was not a byte of it. */
bool content_coding_is_whole(const struct content_coding *coding);
