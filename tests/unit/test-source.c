/* The inputs of pppctl: from arguments, files and standard input. */

#include <fcntl.h>

#include "cli/say.h"
#include "tests/unit/source-text.h"

static struct capture err;

#define A(s) (char *)(s)

static void test_relative_paths(void)
{
        static const char *const relative[] = { "a",       "a/b",    "./x:y",    "../x",
                                                "1:2",     "-",      ":x",       "day:1",
                                                "x-y.1:",  "http:x", "https:/x", "mailto:x",
                                                "files:/x" };
        static const char *const others[] = { "/a",      "http://h/",  "demo:2016",
                                              "file:/x", "HTTPS://h/", "gopher://h/" };

        for (size_t i = 0; i < ARRAY_SIZE(relative); ++i)
                test_true(is_relative_path(relative[i], strlen(relative[i])));
        for (size_t i = 0; i < ARRAY_SIZE(others); ++i)
                test_true(!is_relative_path(others[i], strlen(others[i])));
}

/* What pppd would read. */
static const char *sent(const struct source *source)
{
        static char *text;

        free(text);
        text = contents(source->fd);
        return text;
}

static void test_source_operands(void)
{
        char *operands[] = { A("/a"), A("b"), A("demo:2016"), NULL };
        struct source source = SOURCE_NULL;
        _cleanup_free_ char *cwd = getcwd(NULL, 0), *expected = NULL;
        size_t n;

        test_int(source_open(&source, WORKLOAD_WORDS, NULL, operands, 3), ==, 0);
        test_int(asprintf(&expected, "/a\n%s/b\ndemo:2016\n", cwd), >, 0);
        test_str(sent(&source), expected);
        test_int(source.given.n, ==, 3);
        test_true(strncmp(inputs_get(&source.given, 1, &n), "b\n", 2) == 0);
        test_int(n, ==, 1);
        test_int(fcntl(source.fd, F_GET_SEALS) & F_SEAL_WRITE, !=, 0);
        source_close(&source);

        test_int(source_open(&source, WORKLOAD_SUM, NULL, operands, 2), ==, 0);
        test_str(sent(&source), "/a\nb\n");
        source_close(&source);
}

static void test_source_defaults(void)
{
        struct source source = SOURCE_NULL;

        test_int(source_open(&source, WORKLOAD_WORDS, NULL, NULL, 0), ==, 0);
        test_str(sent(&source), "demo:2016\ndemo:2017\ndemo:2018\ndemo:2019\n");
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM_ARRAY, NULL, NULL, 0), ==, 0);
        test_str(sent(&source), "201600000\n201700000\n201800000\n201900000\n");
        source_close(&source);
}

static void refuse_text(const char *text, size_t n, const char *expected)
{
        struct source source = SOURCE_NULL;

        test_int(source_from_text(&source, text, n, &err), ==, CLI_USAGE);
        test_contains(err.text, expected);
        source_close(&source);
}

static void test_source_files(void)
{
        struct source source = SOURCE_NULL;
        _cleanup_free_ char *line = malloc(INPUT_MAX + 1);

        test_int(source_from_text(&source, "1\n2", 3, &err), ==, 0);
        test_str(sent(&source), "1\n2\n");
        test_int(source.given.n, ==, 2);
        source_close(&source);

        memset(line, 'x', INPUT_MAX + 1);
        test_int(source_from_text(&source, line, INPUT_MAX, &err), ==, 0);
        source_close(&source);
        refuse_text(line, INPUT_MAX + 1, "line 1: it is longer than 65536 bytes");
        refuse_text("", 0, "the list is empty");
        refuse_text("a\n\nb\n", 5, "line 2: it is empty");
        refuse_text("a\nb\0c\n", 6, "line 2: it holds a NUL byte");
        refuse_text("a\nb\r\nc\r\n", 8, "line 2: it ends with CR LF");
        refuse_text("\xef\xbb\xbf"
                    "5\n",
                    5, "line 1: it begins with a byte order mark");
}

/* The name of a file may begin with a blank, and is made absolute then. */
static void test_source_blanks(void)
{
        static const char *const urls[] = { " http://h/", "\thttps://h/", " \t demo:2016",
                                            "\xef\xbb\xbfhttp://h/", " file:/x" };
        char *files[] = { A(" notes"), A("\tday:1") };
        struct source source = SOURCE_NULL;

        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i) {
                char *operands[] = { A("/a"), A(urls[i]) };

                capture_begin(&err, stderr);
                test_int(source_open(&source, WORKLOAD_WORDS, NULL, operands, 2), ==, CLI_USAGE);
                test_contains(capture_end(&err),
                              "argument 2: a blank or a byte order mark stands before its URL");
                source_close(&source);
        }
        test_int(source_open(&source, WORKLOAD_WORDS, NULL, files, 2), ==, 0);
        test_contains(sent(&source), "/ notes\n");
        test_contains(sent(&source), "/\tday:1\n");
        source_close(&source);
}

static void test_source_errors(void)
{
        char *operands[] = { A("a"), A("b\nc"), NULL };
        struct source source = SOURCE_NULL;

        capture_begin(&err, stderr);
        test_int(source_open(&source, WORKLOAD_SUM, NULL, operands, 2), ==, CLI_USAGE);
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM, "/nope", NULL, 0), ==, CLI_USAGE);
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM, "/", NULL, 0), ==, CLI_USAGE);
        source_close(&source);
        test_int(source_open(&source, WORKLOAD_SUM, "/nope", operands, 1), ==, CLI_USAGE);
        source_close(&source);
        capture_end(&err);
        test_contains(err.text, "argument 2: it holds a newline");
        test_contains(err.text, "cannot read inputs from /nope: No such file");
        test_contains(err.text, "cannot read inputs from /: Is a directory");
        test_contains(err.text, "given twice");
}

TEST_MAIN("source", { "relative paths", test_relative_paths },
          { "inputs from arguments", test_source_operands },
          { "default inputs", test_source_defaults }, { "inputs from a file", test_source_files },
          { "blanks before URLs", test_source_blanks },
          { "inputs that are refused", test_source_errors })
