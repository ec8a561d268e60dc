/* The configuration's parser: every kind of value, every kind of mistake, files and fragments. */

#include "tests/unit/test.h"

#include <stdio.h>
#include <sys/stat.h>

#include "daemon/supervisor/config.h"
#include "lib/inputs.h"

static struct config config;
static char *error;

static int parse(const char *text)
{
        free(error);
        error = NULL;
        config_defaults(&config);
        return config_parse(&config, "x.conf", text, strlen(text), &error);
}

static void test_defaults(void)
{
        test_int(parse(""), ==, 0);
        test_int(config.max_running, ==, 4);
        test_int(config.max_queued, ==, 1000);
        test_int(config.keep_jobs, ==, 1000);
        test_int(config.keep_age_ns / NSEC_PER_SEC, ==, 30 * 86400);
        test_int(config.inputs_size_max, ==, 256 << 20);
}

static void test_values(void)
{
        test_int(parse("# a comment\n; another\n\n [jobs] \n\tmax_running=7\r\nmax_queued =  0\n"
                       "keep_age = 12h\ninputs_size_max = 1M\nkeep_jobs= 5"), ==, 0);
        test_int(config.max_running, ==, 7);
        test_int(config.max_queued, ==, 0);
        test_int(config.keep_age_ns / NSEC_PER_SEC, ==, 12 * 3600);
        test_int(config.inputs_size_max, ==, 1 << 20);
        test_int(config.keep_jobs, ==, 5);
        test_int(parse("[jobs]\nmax_running=1\nmax_running=2\n"), ==, 0);
        test_int(config.max_running, ==, 2);
}

static void expect_error(const char *text, const char *where, const char *why)
{
        test_int(parse(text), ==, -EBADMSG);
        test_contains(error, where);
        test_contains(error, why);
        test_int(config.max_running, ==, 4);
}

static void test_errors(void)
{
        expect_error("[jobs]\nmax_running = 2\nmax_runing = 3\n", "x.conf:3:",
                     "unknown key \"max_runing\" in section [jobs]");
        expect_error("[job]\n", "x.conf:1:", "unknown section [job]");
        expect_error("[jobs\n", "x.conf:1:", "lacks the ]");
        expect_error("max_running = 2\n", "x.conf:1:", "before any section");
        expect_error("[jobs]\nmax_running\n", "x.conf:2:", "neither a section nor KEY = VALUE");
        expect_error("[jobs]\n= 3\n", "x.conf:2:", "neither a section nor KEY = VALUE");
        expect_error("[jobs]\nmax_running = many\n", "x.conf:2:", "takes a number, not \"many\"");
        expect_error("[jobs]\nmax_running =\n", "x.conf:2:", "takes a number, not \"\"");
        expect_error("[jobs]\nmax_running = -1\n", "x.conf:2:", "takes a number");
        expect_error("[jobs]\nmax_running = 2 # two\n", "x.conf:2:", "takes a number");
        expect_error("[jobs]\nmax_running = 0\n", "x.conf:2:", "at least 1 and at most 4096");
        expect_error("[jobs]\nmax_running = 99999999999999999999\n", "x.conf:2:", "out of range");
        expect_error("[jobs]\nkeep_age = 3 fortnights\n", "x.conf:2:", "takes a duration");
        expect_error("[jobs]\nkeep_age = 999999999h\n", "x.conf:2:", "seconds");
        expect_error("[jobs]\ninputs_size_max = 2P\n", "x.conf:2:", "takes a size");
        expect_error("[jobs]\ninputs_size_max = 2G\n", "x.conf:2:", "out of range");
}

static void test_nul(void)
{
        static const char text[] = "[jobs]\nmax_running = 2\0\n";

        free(error);
        error = NULL;
        config_defaults(&config);
        test_int(config_parse(&config, "x.conf", text, sizeof(text) - 1, &error), ==, -EBADMSG);
        test_contains(error, "NUL");
        test_int(config.max_running, ==, 4);
}

static void test_sizes(void)
{
        uint64_t v = 1;

        test_int(parse_size("0", &v), ==, 0);
        test_int(v, ==, 0);
        test_int(parse_size("3K", &v), ==, 0);
        test_int(v, ==, 3072);
        test_int(parse_size("1G", &v), ==, 0);
        test_int(v, ==, 1 << 30);
        test_int(parse_size("17179869184G", &v), ==, -ERANGE);
        test_int(parse_size("", &v), ==, -EINVAL);
        test_int(parse_size("K", &v), ==, -EINVAL);
        test_int(parse_size("1k", &v), ==, -EINVAL);
        test_int(parse_size("1KB", &v), ==, -EINVAL);
        test_int(v, ==, 1 << 30);
}

/* A directory of its own with the files of one case. */
static char directory[64];

static void write_file(const char *name, const char *text)
{
        char path[128];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        f = fopen(path, "we");
        test_true(f);
        test_true(fputs(text, f) >= 0);
        test_int(fclose(f), ==, 0);
}

static int load(const char *name, bool required)
{
        char path[128];

        free(error);
        error = NULL;
        config_defaults(&config);
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        return config_load(&config, path, required, &error);
}

static void make_directory(void)
{
        char path[128];

        strcpy(directory, "/tmp/test-config-XXXXXX");
        test_true(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/a.conf.d", directory);
        test_int(mkdir(path, 0700), ==, 0);
}

static void remove_directory(void)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", directory);
        test_int(system(command), ==, 0);
}

static void test_fragments(void)
{
        make_directory();
        write_file("a.conf", "[jobs]\nmax_running = 5\nkeep_jobs = 5\nmax_queued = 5\n");
        write_file("a.conf.d/20-b.conf", "[jobs]\nmax_running = 20\n");
        write_file("a.conf.d/10-a.conf", "[jobs]\nmax_running = 10\nkeep_jobs = 10\n");
        write_file("a.conf.d/30-c.conf~", "nonsense");
        write_file("a.conf.d/.hidden.conf", "nonsense");
        test_int(load("a.conf", true), ==, 0);
        test_int(config.max_running, ==, 20);
        test_int(config.keep_jobs, ==, 10);
        test_int(config.max_queued, ==, 5);

        /* Enough of them that no other order gives this by chance. */
        for (int i = 59; i >= 50; --i) {
                char name[32], text[32];

                snprintf(name, sizeof(name), "a.conf.d/%d.conf", i);
                snprintf(text, sizeof(text), "[jobs]\nkeep_jobs = %d\n", i);
                write_file(name, text);
        }
        test_int(load("a.conf", true), ==, 0);
        test_int(config.keep_jobs, ==, 59);

        write_file("a.conf.d/40-d.conf", "[jobs]\nmax_queued = 6\nwrong = 1\n");
        test_int(load("a.conf", true), ==, -EBADMSG);
        test_contains(error, "a.conf.d/40-d.conf:3:");
        test_int(config.max_running, ==, 4);
        test_int(config.max_queued, ==, 1000);
        remove_directory();
}

static void test_missing(void)
{
        make_directory();
        test_int(load("b.conf", false), ==, 0);
        test_int(config.max_running, ==, 4);
        test_int(load("b.conf", true), ==, -ENOENT);
        test_contains(error, "b.conf");
        test_int(load("a.conf.d", true), ==, -EISDIR);
        test_contains(error, "a.conf.d");
        remove_directory();
        free(error);
        error = NULL;
}

TEST_MAIN("config",
          { "defaults", test_defaults }, { "values", test_values }, { "errors", test_errors },
          { "a NUL byte", test_nul }, { "sizes", test_sizes }, { "fragments", test_fragments },
          { "missing files", test_missing })
