/* pppctl's standard output: the lines it prints, and the end when they cannot be written. */

#include <fcntl.h>

#include "cli/output.h"
#include "cli/say.h"
#include "tests/unit/capture.h"

static struct capture out, err;

static const char *print(struct output *output, const char *input, const struct ppp_record *record)
{
        capture_begin(&out, stdout);
        output_result(output, 0, input, strlen(input), record);
        return capture_end(&out);
}

static void test_plain_results(void)
{
        struct output output = OUTPUT_NULL;
        struct ppp_record record = { .value = UINT64_MAX, .state = PPP_STATE_DONE };

        test_str(print(&output, "demo:5", &record), "demo:5: 18446744073709551615\n");
        record.value = 0;
        output_take_workload(&output, WORKLOAD_WORDS);
        test_str(print(&output, "demo:2016", &record), "2016: 0 words\n");
        record.value = 1;
        test_str(print(&output, "demo:2016", &record), "2016: 1 word\n");
        record.value = 0;
        test_str(print(&output, "demo:", &record), "demo:: 0 words\n");
        test_str(print(&output, "a\033[2Jb", &record), "a\033[2Jb: 0 words\n");
        output.out_terminal = true;
        test_str(print(&output, "a\033[2Jb\x7f", &record), "a\\x1b[2Jb\\x7f: 0 words\n");
}

static void test_failed_results(void)
{
        struct output output = OUTPUT_NULL;
        struct ppp_record record = {
                .reason = PPP_REASON_HTTP_STATUS,
                .detail = 404,
                .state = PPP_STATE_FAILED,
        };

        capture_begin(&err, stderr);
        test_str(print(&output, "u", &record), "");
        test_str(capture_end(&err), "u: failed: the server answered with status 404\n");
        output.failures_are_data = true;
        test_str(print(&output, "u", &record), "u: failed: the server answered with status 404\n");
}

static void test_json_results(void)
{
        struct output output = { .json = true };
        struct ppp_record record = {
                .value = 3794,
                .start_ns = 1500,
                .end_ns = 2 * NSEC_PER_SEC + 1,
                .worker = 65535,
                .state = PPP_STATE_DONE,
        };

        test_str(print(&output, "demo:2016", &record),
                 "{\"input\":\"demo:2016\",\"state\":\"done\",\"value\":3794,\"start_seconds\":0."
                 "000001500,\"end_seconds\":2.000000001,\"worker\":65535}\n");
        output_take_workload(&output, WORKLOAD_WORDS);
        test_contains(print(&output, "demo:2016", &record), ",\"value\":3794,\"unit\":\"words\",");
        output_take_workload(&output, WORKLOAD_SLEEP);
        record.value = 250 * NSEC_PER_MSEC;
        test_contains(print(&output, "250ms", &record), ",\"value\":0.25,\"unit\":\"seconds\",");
        output_take_workload(&output, WORKLOAD_SUM);
        record.state = PPP_STATE_FAILED;
        record.reason = PPP_REASON_NEGATIVE;
        test_contains(
                print(&output, "-1", &record),
                "\"state\":\"failed\",\"reason\":\"negative\",\"detail\":0,\"why\":\"negative;");
        record.reason = PPP_REASON_TRANSFER;
        record.detail = PPP_FETCH_CUT_SHORT;
        test_contains(print(&output, "u", &record), "\"reason\":\"transfer\",\"detail\":1201,"
                                                    "\"fetch_error\":\"cut-short\",\"why\":");
}

/* Strings must come back as they were, and bytes that are no UTF-8 as U+FFFD. */
static void test_json_strings(void)
{
        static const struct {
                const char *input, *expected;
        } cases[] = {
                { "plain", "plain" },
                { "q\"b\\t\tn\x01\x7f", "q\"b\\t\tn\x01\x7f" },
                { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
                { "a\xffz", "a\xef\xbf\xbdz" },
                { "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
                { "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        };
        struct output output = { .json = true };
        struct ppp_record record = { .state = PPP_STATE_DONE };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                json_t *json = json_loads(print(&output, cases[i].input, &record), 0, NULL);

                test_true(json);
                test_str(json_string_value(json_object_get(json, "input")), cases[i].expected);
                json_decref(json);
        }
}

static void test_wrapped(void)
{
        struct output output = OUTPUT_NULL;

        capture_begin(&out, stdout);
        output_wrapped(&output, "ab ", 4, "one two three", 11);
        output_wrapped(&output, "cd", 4, "one two", 11);
        output_wrapped(&output, "ef", 4, "unbreakable", 11);
        output_wrapped(&output, "gh", 4, "one unbreakable two", 11);
        output_wrapped(&output, "", 4, "one two", 3);
        output_wrapped(&output, "ij", 4, "one two three", SIZE_MAX);
        test_str(capture_end(&out), "ab  one two\n    three\n"
                                    "cd  one two\n"
                                    "ef  unbreakable\n"
                                    "gh  one\n    unbreakable two\n"
                                    "    one two\n"
                                    "ij  one two three\n");
}

static void test_hints(void)
{
        test_contains(output_hint(-ENOSPC), "free some space");
        test_contains(output_hint(-EBADF), "closed");
        test_true(!strstr(output_hint(-EIO), "space"));
}

static void test_write_errors(void)
{
        struct output output = OUTPUT_NULL;
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC), saved;

        (void)fflush(stdout);
        saved = dup(STDOUT_FILENO);
        (void)dup2(full, STDOUT_FILENO);
        output_line(&output, "%d", 1);
        test_true(!output_flush(&output));
        clearerr(stdout);
        (void)dup2(saved, STDOUT_FILENO);
        close_fd(saved);
        close_fd(full);
        test_int(output.error, ==, -ENOSPC);
        capture_begin(&err, stderr);
        test_int(output_finish(&output), ==, CLI_FAILED);
        test_contains(capture_end(&err), "No space left");
        output.error = -EPIPE;
        capture_begin(&err, stderr);
        test_int(output_finish(&output), ==, CLI_PIPE);
        test_str(capture_end(&err), "");
}

TEST_MAIN("output", { "plain result lines", test_plain_results },
          { "failures", test_failed_results }, { "JSON result lines", test_json_results },
          { "JSON strings", test_json_strings },
          { "lines that are broken at spaces", test_wrapped },
          { "what to do about standard output", test_hints },
          { "standard output that cannot be written", test_write_errors })
