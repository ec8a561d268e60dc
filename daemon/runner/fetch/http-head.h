#pragma once

/*
 * The head of an answer in HTTP/1 (RFC 9112): its end is found while it comes in, then it is read
 * at once, in place. This does no input or output and allocates no memory.
 *
 * It reads all that curl and Python's requests both read, unless another reader (a proxy, a
 * browser) could see the body end elsewhere: that is refused, for else one answer's text becomes
 * the next one's. So these are read, and the connection is not used again after any of them:
 *  - several blanks before the status;
 *  - a blank before the colon (the field is read without it, as RFC 9112, 5.1 has a proxy do), and
 *    a name with a blank or a control character in it, or no name at all (the line is passed over);
 *    not if the name is Content-Length or Transfer-Encoding but for these;
 *  - a CR that ends no line: it is a blank (RFC 9112, 2.2); not if an empty line or one of these
 *    two fields would begin there for a reader to whom it ends one;
 *  - a line folded into the next, but of these two fields only by blanks.
 * Transfer-Encoding may say chunked twice, which means once, and gzip or deflate before it. With
 * codings but not chunked the body goes to the end of the connection, and there may be no length.
 *
 * Where the two differ, and what is done: `http/1.1` (curl reads it) and HTTP/1.2 (requests does)
 * are refused, as are a line without colon, NUL, a folded first line, `Content-Length: +13` and `13
 * bytes` (only digits are a number), a length of which no end is known, and chunked followed by
 * another coding. gzip as a transfer coding (curl undoes it, requests counts it compressed) is
 * undone.
 */

#include "daemon/runner/fetch/content-coding.h"

struct http_head {
        unsigned status; /* 100 .. 999; 0: the status line itself is broken */
        bool persistent; /* the connection may be used again after the body */
        bool chunked;    /* the body is; then its length does not count */
        bool has_length;
        uint64_t length;                     /* of the body, at most INT64_MAX */
        struct coding_list content_codings;  /* of all fields together */
        struct coding_list transfer_codings; /* other than chunked; no fault */
        /* Values of fields, NUL-terminated within the head, or NULL. Of several, the first. */
        const char *content_type;
        const char *location; /* the first that is not empty */
};

/*
 * Whether the bytes so far may be the beginning of an answer. To be asked before the head is
 * complete: a server of another protocol may be waiting for us to speak.
 */
bool http_head_may_begin(const char *data, size_t n);

/*
 * The size of the head at the front of @data, with the empty line that ends it; 0: it is not whole.
 * *@scanned, 0 at first, tells the next call where to go on, so that all calls for one head
 * together look at each byte once.
 */
size_t http_head_find_end(const char *data, size_t n, size_t *scanned);

/*
 * Reads the head, @n bytes as found above, and writes NULs into it. Returns 0, or the fault (enum
 * ppp_fetch_error) for which it is refused; then only @ret->status counts.
 */
int http_head_read(char *data, size_t n, struct http_head *ret);

/* A status line for which no body follows, whatever the fields say. */
static inline bool http_head_is_bodiless(const struct http_head *head)
{
        return head->status < 200 || head->status == 204 || head->status == 304;
}
