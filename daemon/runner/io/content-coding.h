#pragma once

/*
 * Undoes a body's Content-Encoding (gzip, x-gzip, deflate; RFC 9110, 8.4.1) by zlib. libcurl could do
 * it too, but takes a stream that ends too early for a whole one, and a page that is cut short is no
 * result. Reused from body to body: zlib's 40 KiB are allocated by the first that is encoded.
 */

#include <zlib.h>

#include <pppctl/workload.h>
#include "lib/util.h"

struct content_coding {
        z_stream stream;
        unsigned char *buffer;          /* what zlib writes to; NULL before the first encoded body */
        enum {
                CODING_IDENTITY,
                CODING_GZIP,
                CODING_DEFLATE,
        } coding;                       /* of the body at hand */
        bool begun;                     /* a byte of it has come */
        bool ended;                     /* the stream's own end has come */
};

/* What to ask for, as a header line. */
extern const char content_coding_accept[];

/* A new body. @header: value of Content-Encoding, NULL for none. -ENOTSUP: one we did not ask for. */
int content_coding_begin(struct content_coding *coding, const char *header);
void content_coding_deinit(struct content_coding *coding);

/*
 * Hands on what @data decodes to, in pieces. Returns 0, -EBADMSG when it is no such stream, -ENOMEM,
 * or what the sink returned: *ret_of_sink tells which.
 */
int content_coding_feed(struct content_coding *coding, const void *data, size_t n, const char *charset,
                        ppp_sink *sink, void *userdata, bool *ret_of_sink);

/* Whether a body may end here: its stream has ended, or there was not a byte of it. */
static inline bool content_coding_is_whole(const struct content_coding *coding)
{
        return coding->coding == CODING_IDENTITY || coding->ended || !coding->begun;
}
