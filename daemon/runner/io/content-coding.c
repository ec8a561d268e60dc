#include "daemon/runner/io/content-coding.h"

#include <strings.h>

#define BUFFER_SIZE (64 * 1024)

/* zlib's windowBits: 32 KiB of history, and which frame is around the data. */
#define WINDOW_GZIP (15 + 16)
#define WINDOW_ZLIB 15
#define WINDOW_RAW  (-15)

const char content_coding_accept[] = "Accept-Encoding: gzip, deflate";

int content_coding_begin(struct content_coding *coding, const char *header)
{
        coding->begun = coding->ended = false;
        coding->coding = CODING_IDENTITY;
        if (!header || !*header || strcasecmp(header, "identity") == 0)
                return 0;
        if (strcasecmp(header, "gzip") == 0 || strcasecmp(header, "x-gzip") == 0)
                coding->coding = CODING_GZIP;
        else if (strcasecmp(header, "deflate") == 0)
                coding->coding = CODING_DEFLATE;
        else
                return -ENOTSUP;
        return 0;
}

void content_coding_deinit(struct content_coding *coding)
{
        if (coding->buffer)
                inflateEnd(&coding->stream);
        free(coding->buffer);
        coding->buffer = NULL;
}

/* "deflate" means zlib's frame, and some servers leave that out: its first byte tells. */
static int window_bits(const struct content_coding *coding, unsigned char first)
{
        if (coding->coding == CODING_GZIP)
                return WINDOW_GZIP;
        return (first & 0x0f) == Z_DEFLATED && first >> 4 <= 7 ? WINDOW_ZLIB : WINDOW_RAW;
}

static int start(struct content_coding *coding, unsigned char first)
{
        int bits = window_bits(coding, first);

        if (coding->buffer)
                return inflateReset2(&coding->stream, bits) == Z_OK ? 0 : -ENOMEM;
        coding->buffer = malloc(BUFFER_SIZE);
        if (!coding->buffer)
                return -ENOMEM;
        coding->stream = (z_stream){ 0 };
        if (inflateInit2(&coding->stream, bits) == Z_OK)
                return 0;
        free(coding->buffer);
        coding->buffer = NULL;
        return -ENOMEM;
}

/* One call of zlib, and its output to the sink. */
static int step(struct content_coding *coding, const char *charset, ppp_sink *sink, void *userdata,
                bool *ret_of_sink)
{
        struct ppp_chunk chunk = { .data = coding->buffer, .charset = charset };
        int z, r = 0;

        coding->stream.next_out = coding->buffer;
        coding->stream.avail_out = BUFFER_SIZE;
        z = inflate(&coding->stream, Z_NO_FLUSH);
        if (z == Z_MEM_ERROR)
                return -ENOMEM;
        if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
                return -EBADMSG;
        coding->ended = z == Z_STREAM_END;
        chunk.size = BUFFER_SIZE - coding->stream.avail_out;
        if (chunk.size > 0) {
                r = sink(userdata, &chunk);
                *ret_of_sink = r < 0;
        }
        return r;
}

int content_coding_feed(struct content_coding *coding, const void *data, size_t n, const char *charset,
                        ppp_sink *sink, void *userdata, bool *ret_of_sink)
{
        int r = 0;

        *ret_of_sink = false;
        if (n > 0 && !coding->begun)
                r = start(coding, *(const unsigned char *)data);
        if (r < 0 || n == 0)
                return r;
        coding->begun = true;
        coding->stream.next_in = (unsigned char *)data;
        coding->stream.avail_in = (unsigned)n;
        do {
                /* A gzip file may be several, one after the other (RFC 1952, 2.2). */
                if (coding->ended && (coding->coding != CODING_GZIP ||
                                      inflateReset(&coding->stream) != Z_OK))
                        return -EBADMSG;
                r = step(coding, charset, sink, userdata, ret_of_sink);
        } while (r >= 0 && (coding->stream.avail_in > 0 ||
                            (coding->stream.avail_out == 0 && !coding->ended)));
        return r < 0 ? r : 0;
}
