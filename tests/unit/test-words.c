/* The workload `words`: what inputs name, and what it makes of the streams it gets. */

#include "daemon/runner/runner.h"
#include "daemon/runner/workloads/words-input.h"
#include "daemon/runner/workloads/workloads.h"
#include "tests/unit/test.h"

#define DEMO "http://127.0.0.1:8099"

static void test_input_targets(void)
{
        static const struct {
                const char *input;
                enum words_source source;
                const char *target;
        } cases[] = {
                { "http://example.org/a?b#c", WORDS_FETCH, "http://example.org/a?b#c" },
                { "https://example.org", WORDS_FETCH, "https://example.org" },
                { "HTTPS://example.org", WORDS_FETCH, "HTTPS://example.org" },
                { "demo:2016", WORDS_FETCH, DEMO "/2016" },
                { "/etc/hosts", WORDS_READ, "/etc/hosts" },
                { "a file", WORDS_READ, "a file" },
                { "./demo:2016", WORDS_READ, "./demo:2016" },
                { "notes:today", WORDS_READ, "notes:today" },
                { "http:/one-slash", WORDS_READ, "http:/one-slash" },
                { "1st://no-scheme", WORDS_READ, "1st://no-scheme" },
                { "://", WORDS_READ, "://" },
                { "dir/http://x", WORDS_READ, "dir/http://x" },
                { "100%41", WORDS_READ, "100%41" },
                { "file:///tmp/a", WORDS_READ, "/tmp/a" },
                { "file:/tmp/a", WORDS_READ, "/tmp/a" },
                { "FILE://LocalHost/tmp/a", WORDS_READ, "/tmp/a" },
                { "file:///tmp/a%20b%C3%a9%25", WORDS_READ, "/tmp/a b\xC3\xA9%" },
                { "file:////x", WORDS_READ, "//x" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                _cleanup_(words_input_deinit) struct words_input input = WORDS_INPUT_NULL;

                test_int(words_input_parse(cases[i].input, DEMO, &input), ==, 0);
                test_int(input.source, ==, cases[i].source);
                test_str(input.target, cases[i].target);
        }
}

static void test_input_refused(void)
{
        static const struct {
                const char *input;
                int error;
        } cases[] = {
                { "ftp://x", -EPROTONOSUPPORT },
                { "x+y.z-1://", -EPROTONOSUPPORT },
                { "httpss://x", -EPROTONOSUPPORT },
                { "file://elsewhere/tmp/a", -EINVAL },
                { "file://localhost", -EINVAL },
                { "file://", -EINVAL },
                { "file:relative", -EINVAL },
                { "file:", -EINVAL },
                { "file:///a%", -EINVAL },
                { "file:///a%4", -EINVAL },
                { "file:///a%zz", -EINVAL },
                { "file:///a%00b", -EINVAL },
                { "file:///a?b", -EINVAL },
                { "file:///a#b", -EINVAL },
                { "demo:", -EINVAL },
                { "demo:../etc", -EINVAL },
                { "demo:2016/..", -EINVAL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct words_input input = WORDS_INPUT_NULL;

                test_int(words_input_parse(cases[i].input, DEMO, &input), ==, cases[i].error);
                test_true(!input.target && !input.made);
        }
}

static void test_input_without_demo(void)
{
        struct words_input input = WORDS_INPUT_NULL;

        test_int(words_input_parse("demo:2016", NULL, &input), ==, -EPROTONOSUPPORT);
}

/* What the next call is to hand to the sink, and what it was asked for. */
static struct {
        const char *charset;
        const char *chunks[4];
        int result;
        char asked[64];
} stream;

static int hand_on(const char *how, const char *target, ppp_sink *sink, void *userdata)
{
        snprintf(stream.asked, sizeof(stream.asked), "%s %s", how, target);
        for (size_t i = 0; i < ARRAY_SIZE(stream.chunks) && stream.chunks[i]; ++i) {
                struct ppp_chunk chunk = {
                        .data = stream.chunks[i],
                        .size = strlen(stream.chunks[i]),
                        .charset = stream.charset,
                };
                int r = sink(userdata, &chunk);

                if (r < 0)
                        return r;
        }
        return stream.result;
}

static int fake_fetch(struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata)
{
        return hand_on("fetch", url, sink, userdata);
}

static int fake_read(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata)
{
        return hand_on("read", path, sink, userdata);
}

static size_t n_computed; /* bytes of arguments */

/* With another task and a copy of the argument, as in another process. */
static int fake_compute(struct ppp_task *task, ppp_function *function, void *argument, size_t size)
{
        struct ppp_task other = *task;
        void *copy = malloc(size);
        int r;

        test_true(copy);
        memcpy(copy, argument, size);
        r = function(&other, copy);
        memcpy(argument, copy, size);
        free(copy);
        n_computed += size;
        return r;
}

static const struct io_ops fake_ops = {
        .fetch = fake_fetch,
        .read_file = fake_read,
        .compute = fake_compute,
};

static enum executor executor;

/* Runs `words` on one input; the task keeps the reason. */
static int run(const char *input, struct ppp_task *task, uint64_t *ret)
{
        static struct runner runner;
        static struct worker worker = { .runner = &runner, .io = &fake_ops };

        runner.demo_url = (char *)DEMO;
        runner.spec.executor = executor;
        *task = (struct ppp_task){ .worker = &worker };
        return workload_words.run(task, input, strlen(input), ret);
}

static void check_streams(void)
{
        static const struct {
                const char *input, *charset, *chunks[4], *asked;
                uint64_t words;
        } cases[] = {
                { "/a", NULL, { NULL }, "read /a", 0 },
                { "/a",
                  NULL,
                  { "one tw", "o", " three\xE3\x80",
                    "\x80"
                    "four" },
                  "read /a",
                  4 },
                { "file:/a%20b", NULL, { "x" }, "read /a b", 1 },
                { "http://h/",
                  "utf-8",
                  { "a\xC2", "\xA0"
                             "b" },
                  "fetch http://h/",
                  2 },
                { "demo:2017", "\"UTF-8\"", { "a b" }, "fetch " DEMO "/2017", 2 },
                { "http://h/",
                  "iso-8859-1",
                  { "a\xA0", "b\xC2\xA0"
                             "c" },
                  "fetch http://h/",
                  3 },
                { "http://h/", "shift_jis", { "\x93\xFA\x81", "\x40\x96" }, "fetch http://h/", 2 },
                { "http://h/", "shift_jis", { "a \x93" }, "fetch http://h/", 2 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct ppp_task task;
                uint64_t words = UINT64_MAX;

                stream.charset = cases[i].charset;
                memcpy(stream.chunks, cases[i].chunks, sizeof(stream.chunks));
                stream.result = 0;
                test_int(run(cases[i].input, &task, &words), ==, 0);
                test_str(stream.asked, cases[i].asked);
                test_int(words, ==, cases[i].words);
        }
}

static void test_streams(void)
{
        n_computed = 0;
        check_streams();
        test_int(n_computed, ==, 0);
}

static void test_streams_apart(void)
{
        executor = EXECUTOR_THREADS;
        n_computed = 0;
        check_streams();
        test_int(n_computed, >, 0);
        executor = EXECUTOR_NONE;
}

/* Of a text that is too long to be kept, what was kept is counted, and all that follows. */
static void test_long_text_apart(void)
{
        const size_t n = 700 * 1000;
        char *text = malloc(n + 1);
        struct ppp_task task;
        uint64_t words;

        test_true(text);
        for (size_t i = 0; i < n; ++i)
                text[i] = "ab\xE9 "[i % 4];
        text[n] = 0;
        executor = EXECUTOR_THREADS;
        stream.charset = "iso-8859-1";
        stream.result = 0;
        n_computed = 0;
        memcpy(stream.chunks, (const char *[4]){ text }, sizeof(stream.chunks));
        test_int(run("/a", &task, &words), ==, 0);
        test_int(words, ==, n / 4);
        test_int(n_computed, >, n);
        n_computed = 0;
        memcpy(stream.chunks, (const char *[4]){ text, text, "c d" }, sizeof(stream.chunks));
        test_int(run("/a", &task, &words), ==, 0);
        test_int(words, ==, n / 2 + 2);
        test_int(n_computed, ==, 0);
        executor = EXECUTOR_NONE;
        free(text);
}

static void check_failures(void)
{
        struct ppp_task task;
        uint64_t words = 42;

        memcpy(stream.chunks, (const char *[4]){ "some text" }, sizeof(stream.chunks));
        stream.result = 0;

        stream.charset = "klingon-8";
        test_int(run("http://h/", &task, &words), <, 0);
        test_int(task.reason, ==, PPP_REASON_CHARSET);

        stream.charset = "iso-8859-1";
        stream.result = -EPIPE;
        test_int(run("http://h/", &task, &words), ==, -EPIPE);

        stream.asked[0] = 0;
        test_int(run("gopher://h/", &task, &words), <, 0);
        test_int(task.reason, ==, PPP_REASON_BAD_SCHEME);
        test_int(run("file://h/", &task, &words), <, 0);
        test_int(task.reason, ==, PPP_REASON_BAD_URL);
        test_str(stream.asked, "");
        test_int(words, ==, 42);
}

static void test_failures(void)
{
        check_failures();
        executor = EXECUTOR_THREADS;
        check_failures();
        executor = EXECUTOR_NONE;
}

TEST_MAIN("words", { "what inputs name", test_input_targets },
          { "inputs that name nothing", test_input_refused },
          { "demo: without demo pages", test_input_without_demo },
          { "streams are decoded and counted", test_streams },
          { "so they are elsewhere", test_streams_apart },
          { "a text too long for that", test_long_text_apart }, { "failures", test_failures })
