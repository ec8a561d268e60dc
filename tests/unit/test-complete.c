/*
 * What `pppctl --complete` offers to a shell: by the same tables that pppctl reads its command line
 * by.
 */

#include "cli/complete.h"
#include "tests/unit/capture.h"

static struct capture out, err;

#define offers(expected, ...)                                            \
        do {                                                             \
                const char *const _words[] = { __VA_ARGS__ };            \
                                                                         \
                test_str(offered(ARRAY_SIZE(_words), _words), expected); \
        } while (0)

/* After a place of its own, as argv has. */
static const char *offered(size_t n, const char *const *words)
{
        char *argv[8] = { (char *)"pppctl" };

        test_int(n + 1, <, ARRAY_SIZE(argv));
        memcpy(argv + 1, words, n * sizeof(*words));
        capture_begin(&out, stdout);
        capture_begin(&err, stderr);
        test_int(complete((int)n, argv + 1), ==, 0);
        capture_end(&err);
        return capture_end(&out);
}

static void test_verbs(void)
{
        test_contains(offered(1, (const char *const[]){ "" }), "run\trun a workload");
        test_contains(out.text, "\nhelp\tshow help about a verb\n");
        offers("pause\tfreeze a job until it is resumed\n", "pa");
        offers("", "nothing-like-it");
        offers("cancel\tend a job; results so far are kept\n", "help", "ca");
        offers("", "no-such-verb", "");
}

static void test_operands(void)
{
        offers("threads\tin threads of one process\n", "run", "t");
        offers("machines\ton every machine that has joined the daemon's Redis (pppctl nodes);\n",
               "run", "m");
        offers("sum\tadd the numbers below INPUT one by one\n"
               "sum-array\tfill an array with them and add it up\n",
               "run", "--gil", "threads", "su");
        offers("sleep\twait INPUT seconds (0.2, 200ms)\n", "compare", "sl");
        offers(":files\n", "run", "serial", "words", "");
        offers(":files\n", "run", "serial", "words", "a", "b");
        offers(":files\n", "compare", "words", "a", "b");
        offers(":files\n", "run", "serial", "words", "--", "-x");
        offers("", "list", "");
        offers("", "help", "run", "");
        /* There is no daemon to ask. */
        offers("", "--socket", "/nonexistent/socket", "show", "");
}

static void test_options(void)
{
        offers("--failed\tonly the tasks that failed\n", "results", "--fa");
        offers("", "list", "--f");
        offers("--system\ttalk to the system's pppd\n", "--sy");
        offers("--worker-memory-max\n--worker-memory-high\n", "run", "--worker-mem");
        /* The other name of --time-max. */
        offers("--time-max\tcancel the job after this time (90s, 5min)\n", "run", "--time");
}

static void test_values(void)
{
        offers(":files\n", "run", "--from", "");
        offers(":files\n", "run", "--from", "=");
        offers(":files\n", "run", "--from", "=", "x");
        offers(":files\n", "run", "--from=x");
        offers("auto\nalways\n", "--color", "a");
        offers("auto\nalways\n", "--color=a");
        offers(":nospace\nserial,threads\tin threads of one process\n", "compare", "--levels",
               "serial,t");
        offers("", "list", "-n", "");
        offers("", "list", "-n5", "");
        offers("", "run", "--workers", "");
        offers("sum\tadd the numbers below INPUT one by one\n"
               "sum-array\tfill an array with them and add it up\n",
               "run", "serial", "--from", "=", "x", "su");
}

TEST_MAIN("complete", { "verbs", test_verbs }, { "operands", test_operands },
          { "options", test_options }, { "values of options", test_values })
