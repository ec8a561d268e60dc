/* packaging/pppctl.conf, the configuration that is installed: all keys, commented out, with their defaults. */

#include "tests/unit/test.h"

#include <fcntl.h>

#include "daemon/supervisor/config.h"

#define FILE_NAME "packaging/pppctl.conf"

static char *text;
static size_t size;

static int parse(struct config *config)
{
        _cleanup_free_ char *error = NULL;
        int r = config_parse(config, FILE_NAME, text, size, &error);

        if (r < 0)
                fprintf(stderr, "%s\n", error ? error : strerror(-r));
        return r;
}

/* As an administrator would: "#key = value" without the "#". */
static void uncomment(void)
{
        for (char *line = text; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z')
                        line[0] = ' ';
        }
}

static void test_changes_nothing(void)
{
        struct config config, untouched;

        memset(&config, 0xaa, sizeof(config));
        untouched = config;
        test_int(parse(&config), ==, 0);
        test_true(memcmp(&config, &untouched, sizeof(config)) == 0);
}

static void test_names_all_defaults(void)
{
        struct config config, defaults;

        config_defaults(&defaults);
        memset(&config, 0xaa, sizeof(config));
        uncomment();
        test_int(parse(&config), ==, 0);
        test_true(memcmp(&config, &defaults, sizeof(config)) == 0);
}

int main(void)
{
        static const struct test_case cases[] = {
                { "changes nothing", test_changes_nothing },
                { "names all defaults", test_names_all_defaults },
        };
        int r;

        r = read_file_at(AT_FDCWD, FILE_NAME, &text, &size);
        if (r < 0) {
                fprintf(stderr, "cannot read " FILE_NAME ": %s; run this in the source tree\n", strerror(-r));
                return EXIT_FAILURE;
        }
        r = test_main("package config", cases, ARRAY_SIZE(cases));
        free(text);
        return r;
}
