/* The records of a results file as pppctl prints them while a job writes it. */

#include <fcntl.h>
#include <sys/mman.h>

#include "cli/follow.h"
#include "cli/output.h"
#include "cli/say.h"
#include "tests/unit/source-text.h"

static struct capture out, err;

#define A(s) (char *)(s)

/* A results file of five tasks and what a job writes into it. */
struct fixture {
        struct source source;
        struct results writer;
        int fd;
        struct output output;
        struct follow follow;
};

static void fixture_init(struct fixture *f, bool ordered, enum follow_show show)
{
        char *operands[] = { A("a"), A("b"), A("c"), A("d"), A("e"), NULL };

        *f = (struct fixture){ .source = SOURCE_NULL, .follow = FOLLOW_NULL };
        test_int(source_open(&f->source, WORKLOAD_SUM, NULL, operands, 5), ==, 0);
        f->fd = memfd_create("results", MFD_CLOEXEC);
        test_int(results_create(f->fd, 5, 0), ==, 0);
        test_int(results_map(f->fd, true, &f->writer), ==, 0);
        test_int(follow_init(&f->follow, f->fd, &f->source.given, &f->output, ordered, show), ==,
                 0);
}

static void fixture_deinit(struct fixture *f)
{
        follow_deinit(&f->follow);
        results_unmap(&f->writer);
        close_fd(f->fd);
        source_close(&f->source);
}

static void finish_task(struct fixture *f, uint64_t index, uint64_t end_ns, enum ppp_state state)
{
        struct ppp_record record = {
                .value = index,
                .end_ns = end_ns,
                .reason = state == PPP_STATE_FAILED ? PPP_REASON_NEGATIVE : PPP_REASON_NONE,
                .state = (uint8_t)state,
        };

        record_publish(&f->writer.records[index], &record);
        f->writer.header->next = MAX(f->writer.header->next, index + 1);
}

static const char *update(struct fixture *f, bool final)
{
        capture_begin(&out, stdout);
        capture_begin(&err, stderr);
        test_int(follow_update(&f->follow, final), ==, 0);
        capture_end(&err);
        return capture_end(&out);
}

/* Touching what is gone of a mapped file is a signal that kills, if nobody takes it. */
static void test_results_cut_short(void)
{
        static const uint64_t left[] = { 0, PPP_RESULTS_HEADER_SIZE,
                                         PPP_RESULTS_HEADER_SIZE + sizeof(struct ppp_record) };

        for (size_t i = 0; i < 2 * ARRAY_SIZE(left); ++i) {
                struct fixture f;

                fixture_init(&f, i % 2, FOLLOW_ALL);
                finish_task(&f, 0, 1, PPP_STATE_DONE);
                finish_task(&f, 3, 2, PPP_STATE_DONE);
                test_int(ftruncate(f.fd, (off_t)left[i / 2]), ==, 0);
                capture_begin(&out, stdout);
                capture_begin(&err, stderr);
                test_int(follow_update(&f.follow, true), ==, CLI_FAILED);
                capture_end(&out);
                test_contains(capture_end(&err), "the file was cut short");
                fixture_deinit(&f);
        }
}

static void test_follow_as_they_end(void)
{
        struct fixture f;

        fixture_init(&f, false, FOLLOW_ALL);
        test_str(update(&f, false), "");
        finish_task(&f, 3, 10, PPP_STATE_DONE);
        finish_task(&f, 2, 20, PPP_STATE_DONE);
        finish_task(&f, 0, 15, PPP_STATE_DONE);
        test_str(update(&f, false), "d: 3\na: 0\nc: 2\n");
        test_str(update(&f, false), "");
        finish_task(&f, 1, 30, PPP_STATE_FAILED);
        test_str(update(&f, true), "");
        test_contains(err.text, "b: failed: negative");
        test_str(update(&f, true), "");
        fixture_deinit(&f);
}

/* After a restart of the runner the claim counter starts over: records above it still count. */
static void test_follow_resumed(void)
{
        struct fixture f;

        fixture_init(&f, false, FOLLOW_ALL);
        finish_task(&f, 4, 10, PPP_STATE_DONE);
        f.writer.header->next = 1;
        test_str(update(&f, false), "");
        test_str(update(&f, true), "e: 4\n");
        fixture_deinit(&f);
}

static void test_follow_ordered(void)
{
        struct fixture f;

        fixture_init(&f, true, FOLLOW_ALL);
        finish_task(&f, 1, 10, PPP_STATE_DONE);
        test_str(update(&f, false), "");
        finish_task(&f, 0, 20, PPP_STATE_DONE);
        test_str(update(&f, false), "a: 0\nb: 1\n");
        finish_task(&f, 3, 30, PPP_STATE_DONE);
        test_str(update(&f, false), "");
        test_str(update(&f, true), "d: 3\n");
        fixture_deinit(&f);
}

static void test_follow_failed_only(void)
{
        struct fixture f;

        fixture_init(&f, true, FOLLOW_FAILED);
        f.output.failures_are_data = true;
        finish_task(&f, 0, 10, PPP_STATE_DONE);
        finish_task(&f, 1, 10, PPP_STATE_FAILED);
        test_contains(update(&f, true), "b: failed: negative");
        test_true(!strstr(out.text, "a: "));
        fixture_deinit(&f);
}

/* More than one word of the bit map, more than one stride of the inputs, in a shuffled order. */
static void test_follow_many(void)
{
        enum { N = 1000 };
        _cleanup_free_ char *text = calloc(N, 8);
        struct source source = SOURCE_NULL;
        struct output output = OUTPUT_NULL;
        struct follow follow = FOLLOW_NULL;
        struct results writer;
        size_t size = 0, lines = 0;
        int fd = memfd_create("results", MFD_CLOEXEC);

        for (unsigned i = 0; i < N; ++i)
                size += (size_t)sprintf(text + size, "i%u\n", i);
        test_int(source_from_text(&source, text, size, &err), ==, 0);
        test_int(results_create(fd, N, 0), ==, 0);
        test_int(results_map(fd, true, &writer), ==, 0);
        test_int(follow_init(&follow, fd, &source.given, &output, false, FOLLOW_ALL), ==, 0);
        for (unsigned round = 0; round < 4; ++round) {
                capture_begin(&out, stdout);
                for (unsigned k = round * N / 4; k < (round + 1) * N / 4; ++k) {
                        unsigned i = k * 7 % N;
                        struct ppp_record record = { i, 0, k, 0, 0, 0, PPP_STATE_DONE };

                        record_publish(&writer.records[i], &record);
                }
                writer.header->next = N;
                test_int(follow_update(&follow, round == 3), ==, 0);
                capture_end(&out);
                for (char *at = out.text; *at; at = strchr(at, '\n') + 1, ++lines) {
                        unsigned name, value;

                        test_int(sscanf(at, "i%u: %u\n", &name, &value), ==, 2);
                        test_int(name, ==, lines * 7 % N);
                        test_int(value, ==, name);
                }
        }
        test_int(lines, ==, N);
        follow_deinit(&follow);
        results_unmap(&writer);
        close_fd(fd);
        source_close(&source);
}

static void test_follow_foreign_file(void)
{
        struct fixture f;
        struct follow follow = FOLLOW_NULL;
        int fd = memfd_create("results", MFD_CLOEXEC);

        fixture_init(&f, true, FOLLOW_ALL);
        capture_begin(&err, stderr);
        test_int(follow_init(&follow, fd, &f.source.given, &f.output, true, FOLLOW_ALL), ==,
                 CLI_FAILED);
        test_int(results_create(fd, 4, 0), ==, 0);
        test_int(follow_init(&follow, fd, &f.source.given, &f.output, true, FOLLOW_ALL), ==,
                 CLI_FAILED);
        capture_end(&err);
        test_contains(err.text, "cut short");
        test_contains(err.text, "of 4 tasks, but there are 5 inputs");
        follow_deinit(&follow);
        close_fd(fd);
        fixture_deinit(&f);
}

TEST_MAIN("follow", { "results that are cut short meanwhile", test_results_cut_short },
          { "results as tasks end", test_follow_as_they_end },
          { "results of a job that was resumed", test_follow_resumed },
          { "results in order", test_follow_ordered }, { "failures only", test_follow_failed_only },
          { "many results, shuffled", test_follow_many },
          { "results files that do not fit", test_follow_foreign_file })
