/*
 * The workload `words`: counts the words of a page or a file. The text streams: each chunk is
 * counted where it lies, and passes through a decoder only if the server declared a charset other
 * than UTF-8. A file is UTF-8.
 */

#include <pppctl/workload.h>

#include "daemon/runner/runner.h"
#include "daemon/runner/workloads/charset.h"
#include "daemon/runner/workloads/wordcount.h"
#include "daemon/runner/workloads/words-input.h"

struct stream {
        struct wordcount count;
        struct charset *charset;        /* NULL: the text is UTF-8 */
        bool started;
        int error;                      /* of setting up the decoder; negative errno */
};

static void count_text(void *userdata, const void *text, size_t n)
{
        struct stream *stream = userdata;

        wordcount_feed(&stream->count, text, n);
}

/* Runs on the first chunk, since the charset comes with it. */
static int stream_start(struct stream *stream, const char *charset)
{
        stream->started = true;
        if (!charset_is_utf8(charset))
                stream->error = charset_new(charset, &stream->charset);
        return stream->error;
}

static int take_chunk(void *userdata, const struct ppp_chunk *chunk)
{
        struct stream *stream = userdata;
        int r;

        if (_unlikely_(!stream->started)) {
                r = stream_start(stream, chunk->charset);
                if (r < 0)
                        return r;
        }
        if (stream->charset)
                charset_feed(stream->charset, chunk->data, chunk->size, count_text, stream);
        else
                wordcount_feed(&stream->count, chunk->data, chunk->size);
        return 0;
}

static void stream_deinit(struct stream *stream)
{
        stream->charset = charset_free(stream->charset);
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
        int r;

        r = words_input_parse(text, task->worker->runner->demo_url, &input);
        if (r < 0)
                return fail_input(task, r);
        if (input.source == WORDS_FETCH)
                r = ppp_fetch(task, input.target, take_chunk, &stream);
        else
                r = ppp_read_file(task, input.target, take_chunk, &stream);
        if (stream.error < 0)
                return fail_charset(task, stream.error);
        if (r < 0)
                return r;
        if (stream.charset)
                charset_finish(stream.charset, count_text, &stream);
        *ret_value = wordcount_finish(&stream.count);
        return 0;
}

const struct ppp_workload workload_words = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "words",
        .unit = "words",
        .run = words_run,
};
