#pragma once

/*
 * The head of an answer in HTTP/1 (RFC 9112): found as it comes in, then read in one go where it
 * lies. No input or output, no memory of its own.
 */

#include "lib/util.h"

struct http_head {
        unsigned status;                /* 100 .. 999 */
        bool persistent;                /* the connection may be used again after the body */
        bool chunked;                   /* the body is; then its length does not count */
        bool has_length;
        uint64_t length;                /* of the body, at most INT64_MAX */
        /* Values of fields, NUL-terminated within the head, or NULL. Of several, the first. */
        const char *content_type;
        const char *content_encoding;
        const char *location;           /* the first that is not empty */
};

/*
 * Whether what has come so far may be the beginning of an answer. To be asked before the head is
 * whole: who speaks another protocol may wait for us to go on.
 */
bool http_head_may_begin(const char *data, size_t n);

/*
 * The size of the head at the front of @data, with the empty line that ends it; 0: it is not whole.
 * *@scanned, 0 at first, tells the next call where to go on, so that all calls for one head
 * together look at each byte once.
 */
size_t http_head_find_end(const char *data, size_t n, size_t *scanned);

/*
 * Reads the head, @n bytes as found above, and writes NULs into it. Returns 0 or
 *   -EPROTONOSUPPORT  no answer in HTTP/1.0 or 1.1,
 *   -EBADMSG          broken, or a body's length that can be read in two ways,
 *   -ENOTSUP          a transfer coding we have not asked for.
 */
int http_head_read(char *data, size_t n, struct http_head *ret);

/* A status line for which no body follows, whatever the fields say. */
static inline bool http_head_is_bodiless(const struct http_head *head)
{
        return head->status < 200 || head->status == 204 || head->status == 304;
}
