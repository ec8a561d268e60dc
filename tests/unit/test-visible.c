/*
 * Text that others wrote, on its way to a terminal: nothing of it may be obeyed, or look like other
 * text.
 */

#include "cli/output.h"
#include "cli/say.h"
#include "cli/table.h"
#include "cli/visible.h"
#include "tests/unit/capture.h"

#define HOSTILE             \
        "a\033[2Jb\xc2\x9b" \
        "31mc\xe2\x80\xaetxt.exe"
#define SHOWN "a\\x1b[2Jb\\x9b31mc\\u202etxt.exe"

static struct capture out, err;

static void shows(const char *text, const char *expected)
{
        _cleanup_free_ char *visible = visible_text(text);

        test_str(visible, expected);
}

static void test_what_may_pass(void)
{
        shows("", "");
        shows("plain ~!", "plain ~!");
        shows("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
        shows("\xd9\x85\xe2\x80\x8c\xd8\xae", "\xd9\x85\xe2\x80\x8c\xd8\xae"); /* U+200C */
        shows("\xc2\xa0\xe3\x80\x80", "\xc2\xa0\xe3\x80\x80");                 /* spaces */
}

static void test_controls(void)
{
        shows("\a\b\t\n\v\f\r", "\\a\\b\\t\\n\\v\\f\\r");
        shows("\x01\x1f\x7f", "\\x01\\x1f\\x7f");
        shows(HOSTILE, SHOWN);
        shows("\xc2\x80\xc2\x9f\xc2\xa1", "\\x80\\x9f\xc2\xa1");
}

static void test_hidden(void)
{
        static const struct {
                const char *text, *expected;
        } cases[] = {
                { "\xe2\x80\xaa\xe2\x80\xac", "\\u202a\\u202c" },
                { "\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069" },
                { "\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\\u200e\\u200f\\u061c" },
                { "\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029" },
                { "\xe2\x80\x8b\xef\xbb\xbf\xc2\xad", "\\u200b\\ufeff\\xad" },
                { "\xf3\xa0\x81\x81", "\\U000e0041" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
                shows(cases[i].text, cases[i].expected);
}

/* A terminal that is not set to UTF-8 takes these bytes for controls. */
static void test_no_utf8(void)
{
        shows("\x9b"
              "31m\xff",
              "\\x9b31m\\xff");
        shows("\xe2\x80", "\\xe2\\x80");
        shows("\xc0\x9b", "\\xc0\\x9b");
        shows("\xed\xa0\x80", "\\xed\\xa0\\x80");
}

static void test_messages(void)
{
        capture_begin(&err, stderr);
        cli_fail(CLI_FAILED, "cannot read %s", HOSTILE);
        test_str(capture_end(&err), "pppctl: cannot read " SHOWN "\n");
        capture_begin(&err, stderr);
        cli_note("job waits: %s", HOSTILE "\npppctl: done");
        test_str(capture_end(&err), "job waits: " SHOWN "\\npppctl: done\n");
}

static void test_lines(void)
{
        struct output output = OUTPUT_NULL;

        capture_begin(&out, stdout);
        output_line(&output, "  %-10s%s", "certificates", HOSTILE);
        output_wrapped(&output, "  ", 2, HOSTILE, 80);
        test_str(capture_end(&out), "  certificates" SHOWN "\n  " SHOWN "\n");
}

/* In a pipe data stays as it is. */
static void test_results(void)
{
        const struct ppp_record record = { .value = 1, .state = PPP_STATE_DONE };
        struct output output = OUTPUT_NULL;

        capture_begin(&out, stdout);
        output_result(&output, 0, HOSTILE, strlen(HOSTILE), &record);
        output_lines(&output, HOSTILE "\n");
        test_str(capture_end(&out), HOSTILE ": 1\n" HOSTILE "\n");
        output.out_terminal = true;
        capture_begin(&out, stdout);
        output_result(&output, 0, HOSTILE, strlen(HOSTILE), &record);
        output_lines(&output, HOSTILE "\n" HOSTILE "\n");
        test_str(capture_end(&out), SHOWN ": 1\n" SHOWN "\n" SHOWN "\n");
}

static void test_tables(void)
{
        _cleanup_free_ char *text = NULL;
        struct table table = TABLE_NULL;

        table_add_column(&table, "NODE", true);
        table_add(&table, "%s", HOSTILE "\nnode-2");
        test_int(table_print(&table, SIZE_MAX, false, false, &text), ==, 0);
        test_contains(text, "\n" SHOWN "\\nnode-2");
        table_deinit(&table);
}

static void is_clean(const char *text)
{
        for (size_t i = 0, length; text[i]; i += length) {
                uint32_t c;

                length = utf8_decode(text + i, strlen(text + i), &c);
                test_int(length, >, 0);
                test_true(c == '\n' || !is_hidden(c));
        }
}

/* JSON is data on a terminal too, so it says the same without a character that is obeyed. */
static void test_json(void)
{
        static const char *const texts[] = { HOSTILE, "\x7f\t\"\\\n", "\xf3\xa0\x81\x81",
                                             "\xc3\xa4" };

        for (size_t i = 0; i < ARRAY_SIZE(texts); ++i) {
                const struct ppp_record record = { .state = PPP_STATE_DONE };
                struct output output = { .json = true };
                json_t *json = json_pack("{s:s}", "input", texts[i]), *result;
                _cleanup_free_ char *text = visible_json(json, JSON_INDENT(2));
                json_t *back = json_loads(text, 0, NULL);

                is_clean(text);
                test_true(json_equal(json, back));
                capture_begin(&out, stdout);
                output_result(&output, 0, texts[i], strlen(texts[i]), &record);
                is_clean(capture_end(&out));
                result = json_loads(out.text, 0, NULL);
                test_str(json_string_value(json_object_get(result, "input")), texts[i]);
                json_decref(result);
                json_decref(back);
                json_decref(json);
        }
}

TEST_MAIN("visible", { "what may pass", test_what_may_pass }, { "controls", test_controls },
          { "characters without a glyph", test_hidden },
          { "bytes that are no UTF-8", test_no_utf8 }, { "messages", test_messages },
          { "lines", test_lines }, { "results", test_results }, { "tables", test_tables },
          { "JSON", test_json })
