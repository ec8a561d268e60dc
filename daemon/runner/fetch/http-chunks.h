#pragma once

/*
 * Undoes the chunked transfer coding (RFC 9112, 7.1), in pieces cut anywhere, without copying. A
 * line may end in LF alone. Chunk extensions and trailers are skipped, but their bytes are counted.
 */

#include "lib/util.h"

struct http_chunks {
        enum {
                CHUNKS_SIZE, /* the first digit of a size */
                CHUNKS_DIGITS,
                CHUNKS_EXTENSION,
                CHUNKS_SIZE_LF,
                CHUNKS_DATA,
                CHUNKS_DATA_CR, /* what ends a chunk's data */
                CHUNKS_DATA_LF,
                CHUNKS_TRAILER_START,
                CHUNKS_TRAILER,
                CHUNKS_TRAILER_LF,
                CHUNKS_END_LF,
                CHUNKS_END,
        } state;
        unsigned n_digits; /* of the size at hand */
        uint64_t left;     /* of the chunk at hand */
        size_t n_extra;    /* bytes of extensions and trailers so far */
};

#define HTTP_CHUNKS_NULL \
        {                \
                0        \
        }

/*
 * Consumes the front of @data, up to the end of the next piece of body, *@ret of *@ret_n bytes (0
 * of them: @data has no more). Returns how many bytes it took, or -EBADMSG.
 */
ssize_t http_chunks_next(struct http_chunks *chunks, const char *data, size_t n, const char **ret,
                         size_t *ret_n);

static inline bool http_chunks_ended(const struct http_chunks *chunks)
{
        return chunks->state == CHUNKS_END;
}
