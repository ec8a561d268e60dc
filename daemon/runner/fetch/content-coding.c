#include "daemon/runner/fetch/content-coding.h"

#include <strings.h>

#include "lib/fetch-error.h"

/* One call of zlib gives at most this many bytes; counting them takes well below a millisecond. */
#define BUFFER_SIZE (16 * 1024)

/* zlib's windowBits: 32 KiB of history, and which frame is around the data. */
#define WINDOW_GZIP (15 + 16)
#define WINDOW_ZLIB 15
#define WINDOW_RAW  (-15)

#define GZIP_FIRST 0x1f

const char content_coding_accept[] = "Accept-Encoding: gzip, deflate";

/* One coding of a body; its input is the output of the next stage further out, or what was fed. */
struct coding_stage {
        z_stream stream;
        bool has_stream; /* inflateInit2() was called for it, once for all bodies */
        enum coding coding;
        enum {
                STAGE_FRESH, /* not a byte has come */
                STAGE_RUNNING,
                STAGE_ENDED,  /* the stream's own end has come */
                STAGE_PADDED, /* and a zero byte after it */
        } state;
        unsigned char buffer[BUFFER_SIZE];
};

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

static bool is_one_of(const char *name, size_t n, const char *const *names)
{
        for (; *names; ++names)
                if (strlen(*names) == n && strncasecmp(*names, name, n) == 0)
                        return true;
        return false;
}

/* Servers say "none" for what has no coding, and curl takes that. */
static void add_one(struct coding_list *list, const char *name, size_t n)
{
        static const char *const gzip[] = { "gzip", "x-gzip", NULL };
        static const char *const deflate[] = { "deflate", NULL };
        static const char *const nothing[] = { "identity", "none", "", NULL };

        if (is_one_of(name, n, nothing))
                return;
        if (!is_one_of(name, n, gzip) && !is_one_of(name, n, deflate))
                list->fault = (int32_t)fetch_error_of_coding(name, n);
        else if (list->n == CODINGS_MAX)
                list->fault = PPP_FETCH_CODINGS;
        else
                list->codings[list->n++] = is_one_of(name, n, gzip) ? CODING_GZIP : CODING_DEFLATE;
}

void coding_list_add(struct coding_list *list, const char *value, size_t n)
{
        const char *s = value, *end = value + n;

        while (s < end && !list->fault) {
                const char *comma = memchr(s, ',', (size_t)(end - s)) ?: end, *last = comma;

                while (s < last && is_blank(*s))
                        ++s;
                while (s < last && is_blank(last[-1]))
                        --last;
                add_one(list, s, (size_t)(last - s));
                s = comma + (comma < end);
        }
}

void coding_list_append(struct coding_list *list, const struct coding_list *more)
{
        for (size_t i = 0; i < more->n && !list->fault; ++i) {
                if (list->n == CODINGS_MAX)
                        list->fault = PPP_FETCH_CODINGS;
                else
                        list->codings[list->n++] = more->codings[i];
        }
        if (!list->fault)
                list->fault = more->fault;
}

static int begin_stage(struct coding_stage **stage, enum coding coding)
{
        if (!*stage) {
                *stage = malloc(sizeof(**stage));
                if (!*stage)
                        return -ENOMEM;
                (*stage)->stream = (z_stream){ 0 };
                (*stage)->has_stream = false;
        }
        (*stage)->stream.avail_in = 0;
        (*stage)->coding = coding;
        (*stage)->state = STAGE_FRESH;
        return 0;
}

int content_coding_begin(struct content_coding *coding, const struct coding_list *list)
{
        assert(!list->fault);
        for (coding->n = 0; coding->n < list->n; ++coding->n)
                if (begin_stage(&coding->stages[coding->n], list->codings[coding->n]) < 0)
                        return -ENOMEM;
        return 0;
}

void content_coding_deinit(struct content_coding *coding)
{
        for (size_t i = 0; i < CODINGS_MAX; ++i) {
                struct coding_stage *stage = coding->stages[i];

                if (stage && stage->has_stream)
                        inflateEnd(&stage->stream);
                free(stage);
        }
        *coding = (struct content_coding)CONTENT_CODING_NULL;
}

static void feed_stage(struct coding_stage *stage, const void *data, size_t n)
{
        assert(stage->stream.avail_in == 0 && n <= UINT_MAX);
        stage->stream.next_in = (unsigned char *)data;
        stage->stream.avail_in = (unsigned)n;
}

void content_coding_feed(struct content_coding *coding, const void *data, size_t n)
{
        feed_stage(coding->stages[coding->n - 1], data, n);
}

void content_coding_move(struct content_coding *coding, const void *data)
{
        coding->stages[coding->n - 1]->stream.next_in = (unsigned char *)data;
}

size_t content_coding_left(const struct content_coding *coding)
{
        return coding->stages[coding->n - 1]->stream.avail_in;
}

/*
 * "deflate" means zlib's frame, and some servers leave the frame out: the first byte shows which it
 * is.
 */
static int window_bits(const struct coding_stage *stage, unsigned char first)
{
        if (stage->coding == CODING_GZIP)
                return WINDOW_GZIP;
        return (first & 0x0f) == Z_DEFLATED && first >> 4 <= 7 ? WINDOW_ZLIB : WINDOW_RAW;
}

static int start(struct coding_stage *stage)
{
        int bits = window_bits(stage, *stage->stream.next_in);
        int z = stage->has_stream ? inflateReset2(&stage->stream, bits)
                                  : inflateInit2(&stage->stream, bits);

        if (z != Z_OK)
                return -ENOMEM;
        stage->has_stream = true;
        stage->state = STAGE_RUNNING;
        return 0;
}

/* The bytes after the end of a stream are padding, or another stream. */
static int go_past_end(struct coding_stage *stage)
{
        z_stream *stream = &stage->stream;

        for (; stream->avail_in > 0 && *stream->next_in == 0; ++stream->next_in, --stream->avail_in)
                stage->state = STAGE_PADDED;
        if (stream->avail_in == 0)
                return 0;
        if (stage->coding != CODING_GZIP || stage->state == STAGE_PADDED ||
            *stream->next_in != GZIP_FIRST)
                return -EOVERFLOW;
        stage->state = STAGE_RUNNING;
        return inflateReset(stream) == Z_OK ? 0 : -EBADMSG;
}

/* One call of zlib, which leaves *@ret_n bytes in the stage's buffer. */
static int decode(struct coding_stage *stage, size_t *ret_n)
{
        z_stream *stream = &stage->stream;
        int z;

        stream->next_out = stage->buffer;
        stream->avail_out = BUFFER_SIZE;
        z = inflate(stream, Z_NO_FLUSH);
        if (z == Z_MEM_ERROR)
                return -ENOMEM;
        if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
                return -EBADMSG;
        if (z == Z_STREAM_END)
                stage->state = STAGE_ENDED;
        *ret_n = BUFFER_SIZE - stream->avail_out;
        return 0;
}

static int run_stage(struct coding_stage *stage, size_t *ret_n)
{
        int r = 0;

        *ret_n = 0;
        if (stage->state == STAGE_FRESH)
                r = start(stage);
        else if (stage->state != STAGE_RUNNING)
                r = go_past_end(stage);
        if (r < 0 || stage->state != STAGE_RUNNING)
                return r;
        return decode(stage, ret_n);
}

/* A full buffer may not have been all that zlib has. */
static bool has_work(const struct coding_stage *stage)
{
        return stage->stream.avail_in > 0 ||
               (stage->state == STAGE_RUNNING && stage->stream.avail_out == 0);
}

int content_coding_next(struct content_coding *coding, const void **ret, size_t *ret_n)
{
        size_t i = 0, n;
        int r;

        *ret_n = 0;
        while (i < coding->n && !has_work(coding->stages[i]))
                ++i;
        if (i == coding->n)
                return 0;
        r = run_stage(coding->stages[i], &n);
        if (r < 0)
                return r;
        if (i > 0) {
                feed_stage(coding->stages[i - 1], coding->stages[i]->buffer, n);
                return 1;
        }
        *ret = coding->stages[0]->buffer;
        *ret_n = n;
        return 1;
}

bool content_coding_is_whole(const struct content_coding *coding)
{
        for (size_t i = 0; i < coding->n; ++i)
                if (coding->stages[i]->state == STAGE_RUNNING)
                        return false;
        return true;
}
