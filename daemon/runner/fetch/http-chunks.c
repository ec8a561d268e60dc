#include "daemon/runner/fetch/http-chunks.h"

/* There may be any number of leading zeros, too. */
#define DIGITS_MAX 16

static int hex_digit(char c)
{
        if ((unsigned char)(c - '0') < 10)
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int add_digit(struct http_chunks *chunks, char c)
{
        int digit = hex_digit(c);

        if (digit < 0 || ++chunks->n_digits > DIGITS_MAX || chunks->left > INT64_MAX >> 4)
                return -EBADMSG;
        chunks->left = chunks->left << 4 | (unsigned)digit;
        return CHUNKS_DIGITS;
}

static int after_size(const struct http_chunks *chunks)
{
        return chunks->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER_START;
}

static int after_digit(struct http_chunks *chunks, char c)
{
        switch (c) {
        case '\n':
                return after_size(chunks);
        case '\r':
                return CHUNKS_SIZE_LF;
        case ';':
        case ' ':
        case '\t':
                return CHUNKS_EXTENSION;
        default:
                return add_digit(chunks, c);
        }
}

/* The state after @c, or -EBADMSG; for any state but those of data and end. */
static int next_state(struct http_chunks *chunks, char c)
{
        switch (chunks->state) {
        case CHUNKS_SIZE:
                chunks->left = 0;
                chunks->n_digits = 0;
                return add_digit(chunks, c);
        case CHUNKS_DIGITS:
                return after_digit(chunks, c);
        case CHUNKS_EXTENSION:
                ++chunks->n_extra;
                if (c == '\n')
                        return after_size(chunks);
                return c == '\r' ? CHUNKS_SIZE_LF : c == 0 ? -EBADMSG : CHUNKS_EXTENSION;
        case CHUNKS_SIZE_LF:
                return c == '\n' ? after_size(chunks) : -EBADMSG;
        case CHUNKS_DATA_CR:
                return c == '\n' ? CHUNKS_SIZE : c == '\r' ? CHUNKS_DATA_LF : -EBADMSG;
        case CHUNKS_DATA_LF:
                return c == '\n' ? CHUNKS_SIZE : -EBADMSG;
        case CHUNKS_TRAILER_START:
                if (c == '\n')
                        return CHUNKS_END;
                if (c == '\r')
                        return CHUNKS_END_LF;
                /* fall through */
        case CHUNKS_TRAILER:
                ++chunks->n_extra;
                if (c == '\n')
                        return CHUNKS_TRAILER_START;
                return c == '\r' ? CHUNKS_TRAILER_LF : c == 0 ? -EBADMSG : CHUNKS_TRAILER;
        case CHUNKS_TRAILER_LF:
                return c == '\n' ? CHUNKS_TRAILER_START : -EBADMSG;
        case CHUNKS_END_LF:
                return c == '\n' ? CHUNKS_END : -EBADMSG;
        case CHUNKS_DATA:
        case CHUNKS_END:
                break;
        }
        return -EBADMSG;
}

static size_t take_data(struct http_chunks *chunks, size_t n)
{
        size_t taken = (size_t)MIN(chunks->left, (uint64_t)n);

        chunks->left -= taken;
        if (chunks->left == 0)
                chunks->state = CHUNKS_DATA_CR;
        return taken;
}

ssize_t http_chunks_next(struct http_chunks *chunks, const char *data, size_t n, const char **ret,
                         size_t *ret_n)
{
        size_t i = 0;

        *ret = data;
        *ret_n = 0;
        while (i < n && chunks->state != CHUNKS_END) {
                int state;

                if (chunks->state == CHUNKS_DATA) {
                        *ret = data + i;
                        *ret_n = take_data(chunks, n - i);
                        return (ssize_t)(i + *ret_n);
                }
                state = next_state(chunks, data[i++]);
                if (state < 0)
                        return state;
                chunks->state = (unsigned)state;
        }
        return (ssize_t)i;
}
