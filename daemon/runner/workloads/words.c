/*
 * The workload `words`: counts the words of a page or a file. The text is streamed: each chunk is
 * counted in place, and passes through a decoder only if a byte order mark or, without one, the
 * server says another charset than UTF-8. A file without a mark is UTF-8.
 *
 * Where there is an executor, a text is kept until it has come whole, and is counted there.
 */

#include <stdlib.h>

#include <pppctl/workload.h>

#include "daemon/runner/workloads/charset-label.h"
#include "daemon/runner/workloads/charset.h"
#include "daemon/runner/workloads/wordcount.h"
#include "daemon/runner/workloads/words-input.h"

#define MARK_MAX 3

/* A longer text is counted as it comes, by the loop: memory is for more than one. */
#define WHOLE_MAX (1024 * 1024)

/* A whole text, as a function elsewhere gets it: in one piece, since that may be another process.
 */
struct whole {
        uint64_t n_words; /* the result */
        int error;        /* of setting up the decoder; negative errno */
        size_t n_label;   /* with its NUL; 0: no charset is declared */
        size_t n;         /* of data: the label, then the text */
        char data[];
};

struct stream {
        bool apart;          /* the text is kept, not counted */
        struct whole *whole; /* what has been kept, NULL: nothing yet */
        size_t n_room;       /* for its data */
        struct wordcount count;
        struct charset *charset; /* NULL: the text is UTF-8 */
        bool started;
        char first[MARK_MAX]; /* bytes that may be the beginning of a byte order mark */
        size_t n_first;
        char *label; /* declared, if the text may end before it is started */
        int error;   /* of setting up the decoder; negative errno */
};

static void count_text(void *userdata, const void *text, size_t n)
{
        struct stream *stream = userdata;

        wordcount_feed(&stream->count, text, n);
}

static void feed(struct stream *stream, const void *data, size_t n)
{
        if (stream->charset)
                charset_feed(stream->charset, data, n, count_text, stream);
        else
                wordcount_feed(&stream->count, data, n);
}

/* A byte order mark is not part of the text, and takes precedence over the declared charset. */
static int stream_start(struct stream *stream, const char *label)
{
        size_t n_mark = 0;
        const char *marked = charset_of_mark(stream->first, stream->n_first, label, &n_mark);

        stream->started = true;
        label = marked ?: label;
        if (!charset_is_utf8(label))
                stream->error = charset_new(label, &stream->charset);
        if (stream->error == 0)
                feed(stream, stream->first + n_mark, stream->n_first - n_mark);
        return stream->error;
}

static int keep_label(struct stream *stream, const char *label)
{
        if (stream->label || !label)
                return 0;
        stream->label = strdup(label);
        if (!stream->label)
                stream->error = -ENOMEM;
        return stream->error;
}

/* Looks at the first bytes of the text, one by one. Returns how many were taken. */
static ssize_t take_first(struct stream *stream, const struct ppp_chunk *chunk)
{
        const char *data = chunk->data;
        size_t i = 0;
        int r;

        while (i < chunk->size) {
                stream->first[stream->n_first++] = data[i++];
                if (charset_may_be_mark(stream->first, stream->n_first))
                        continue;
                r = stream_start(stream, chunk->charset);
                return r < 0 ? r : (ssize_t)i;
        }
        r = keep_label(stream, chunk->charset);
        return r < 0 ? r : (ssize_t)i;
}

static int count_chunk(struct stream *stream, const struct ppp_chunk *chunk)
{
        ssize_t l = 0;

        if (_unlikely_(!stream->started)) {
                l = take_first(stream, chunk);
                if (l < 0)
                        return (int)l;
        }
        if ((size_t)l < chunk->size)
                feed(stream, (const char *)chunk->data + l, chunk->size - (size_t)l);
        return 0;
}

static int stream_finish(struct stream *stream)
{
        int r;

        if (!stream->started && stream->n_first > 0) {
                r = stream_start(stream, stream->label);
                if (r < 0)
                        return r;
        }
        if (stream->charset)
                charset_finish(stream->charset, count_text, stream);
        return 0;
}

static void stream_deinit(struct stream *stream)
{
        stream->charset = charset_free(stream->charset);
        free(stream->label);
        free(stream->whole);
}

static struct ppp_chunk text_of(const struct whole *whole)
{
        return (struct ppp_chunk){
                .data = whole->data + whole->n_label,
                .size = whole->n - whole->n_label,
                .charset = whole->n_label > 0 ? whole->data : NULL,
        };
}

static int append(struct stream *stream, const void *data, size_t n)
{
        struct whole *whole = stream->whole;
        size_t used = whole ? whole->n : 0, n_room = MAX(used + n, 2 * stream->n_room);

        if (!whole || used + n > stream->n_room) {
                whole = realloc(whole, sizeof(*whole) + n_room);
                if (!whole)
                        return stream->error = -ENOMEM;
                if (!stream->whole)
                        *whole = (struct whole){ 0 };
                stream->whole = whole;
                stream->n_room = n_room;
        }
        memcpy(whole->data + whole->n, data, n);
        whole->n += n;
        return 0;
}

static int keep_chunk(struct stream *stream, const struct ppp_chunk *chunk)
{
        int r;

        if (!stream->whole && chunk->charset) {
                r = append(stream, chunk->charset, strlen(chunk->charset) + 1);
                if (r < 0)
                        return r;
                stream->whole->n_label = stream->whole->n;
        }
        return append(stream, chunk->data, chunk->size);
}

static int count_kept(struct stream *stream)
{
        struct ppp_chunk text;

        stream->apart = false;
        if (!stream->whole)
                return 0;
        text = text_of(stream->whole);
        return count_chunk(stream, &text);
}

static int take_chunk(void *userdata, const struct ppp_chunk *chunk)
{
        struct stream *stream = userdata;
        size_t n_kept = stream->whole ? stream->whole->n : 0;
        int r;

        if (stream->apart && n_kept + chunk->size <= WHOLE_MAX)
                return keep_chunk(stream, chunk);
        if (stream->apart) {
                r = count_kept(stream);
                if (r < 0)
                        return r;
        }
        return count_chunk(stream, chunk);
}

static int count_whole(struct ppp_task *task, void *argument)
{
        _cleanup_(stream_deinit) struct stream stream = { .count = WORDCOUNT_NULL };
        struct whole *whole = argument;
        struct ppp_chunk text = text_of(whole);

        if (count_chunk(&stream, &text) == 0)
                (void)stream_finish(&stream);
        whole->error = stream.error;
        whole->n_words = wordcount_finish(&stream.count);
        return 0;
}

static int stream_count(struct ppp_task *task, struct stream *stream, uint64_t *ret)
{
        struct whole *whole = stream->whole;
        int r;

        if (stream->apart && whole) {
                r = ppp_compute(task, count_whole, whole, sizeof(*whole) + whole->n);
                stream->error = whole->error;
                *ret = whole->n_words;
                return r;
        }
        r = stream_finish(stream);
        *ret = wordcount_finish(&stream->count);
        return r;
}

static int fail_input(struct ppp_task *task, int error)
{
        switch (error) {
        case -EPROTONOSUPPORT:
                return ppp_fail(task, PPP_REASON_BAD_SCHEME, 0);
        case -EINVAL:
                return ppp_fail(task, PPP_REASON_BAD_URL, 0);
        default:
                return ppp_fail(task, PPP_REASON_NO_MEMORY, 0);
        }
}

static int fail_charset(struct ppp_task *task, int error)
{
        switch (error) {
        case -ENOENT:
                return ppp_fail(task, PPP_REASON_CHARSET, 0);
        case -ENOMEM:
                return ppp_fail(task, PPP_REASON_NO_MEMORY, 0);
        default:
                return ppp_fail(task, PPP_REASON_IO, -error);
        }
}

static int words_run(struct ppp_task *task, const char *text, size_t n_text, uint64_t *ret_value)
{
        _cleanup_(words_input_deinit) struct words_input input = WORDS_INPUT_NULL;
        _cleanup_(stream_deinit) struct stream stream = { .count = WORDCOUNT_NULL };
        uint64_t n_words = 0;
        int r;

        stream.apart = ppp_computes_apart(task);
        r = words_input_parse(text, ppp_demo_url(task), &input);
        if (r < 0)
                return fail_input(task, r);
        if (input.source == WORDS_FETCH)
                r = ppp_fetch(task, input.target, take_chunk, &stream);
        else
                r = ppp_read_file(task, input.target, take_chunk, &stream);
        if (r == 0)
                r = stream_count(task, &stream, &n_words);
        if (stream.error < 0)
                return fail_charset(task, stream.error);
        if (r < 0)
                return r;
        *ret_value = n_words;
        return 0;
}

const struct ppp_workload workload_words = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "words",
        .unit = "words",
        .run = words_run,
};
