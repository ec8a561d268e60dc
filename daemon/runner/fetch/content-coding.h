#pragma once

/*
 * Undoes the codings of a body (gzip, x-gzip, deflate; RFC 9110, 8.4.1) by zlib, several of them one
 * around the other if need be. libcurl could do it too, but takes a stream that ends too early for a
 * whole one, and a page that is cut short is no result.
 *
 * It is pulled: what was fed comes out piece by piece, each for a bounded amount of work, so that a
 * small body that unfolds to a huge one keeps nobody: between two pieces others may run, and the
 * task may be found to be over.
 *
 * Zero bytes after the end of a stream are padding, as they are to gunzip and browsers. A gzip
 * stream may be followed by another (RFC 1952, 2.2). Whatever else follows is a fault, as it is to
 * curl; browsers and Python's requests ignore it, and so might lose text.
 */

#include <zlib.h>

#include <pppctl/results.h>
#include "lib/util.h"

/* No more are undone, as by curl and by urllib3: each may unfold a byte to a thousand. */
#define CODINGS_MAX 5

enum coding {
        CODING_GZIP,
        CODING_DEFLATE,
};

/* The codings of a body as its fields list them, in the order in which they were applied. */
struct coding_list {
        size_t n;
        enum coding codings[CODINGS_MAX];
        int32_t fault;                  /* enum ppp_answer_fault: it cannot be undone; 0: it can */
};

/* What to ask for, as a header line. */
extern const char content_coding_accept[];

/*
 * Adds what the value of one more field (@n bytes) says: codings with commas between them, none of
 * which is identity too. With a fault the rest is not looked at.
 */
void coding_list_add(struct coding_list *list, const char *value, size_t n);
void coding_list_append(struct coding_list *list, const struct coding_list *more);

struct coding_stage;

/* Reused from body to body: each stage's 56 KiB are allocated by the first body that needs it. */
struct content_coding {
        struct coding_stage *stages[CODINGS_MAX];       /* the innermost, which is undone last, first */
        size_t n;                       /* stages of the body at hand; 0: there is nothing to undo */
};

#define CONTENT_CODING_NULL { 0 }

/* A new body, coded as @list says, which has no fault. 0 or -ENOMEM. */
int content_coding_begin(struct content_coding *coding, const struct coding_list *list);
void content_coding_deinit(struct content_coding *coding);

/*
 * The next @n bytes of the body, when all that was fed before is taken up. @data has to stay where it
 * is until it is taken up too. There has to be something to undo, as for what follows.
 */
void content_coding_feed(struct content_coding *coding, const void *data, size_t n);

/*
 * Goes on a little. Returns 0 when all that was fed is taken up and has come out; 1 when not, with a
 * piece that came out, of @ret_n bytes, which may be none, valid until the next call; -ENOMEM;
 * -EBADMSG: it is no such stream; -EOVERFLOW: there is more after its end (PPP_ANSWER_TRAILING).
 */
int content_coding_next(struct content_coding *coding, const void **ret, size_t *ret_n);

/* How much of what was fed is not taken up yet; and where that lies from now on. */
size_t content_coding_left(const struct content_coding *coding);
void content_coding_move(struct content_coding *coding, const void *data);

/* Whether a body may end here: its streams have ended, or there was not a byte of it. */
bool content_coding_is_whole(const struct content_coding *coding);
