/*
 * packaging/pppctl.conf, the configuration that is installed: all keys, commented out, with their
 * defaults.
 */

#include "tests/unit/test.h"

#include <fcntl.h>

#include "daemon/supervisor/base/config.h"

#define FILE_NAME "packaging/pppctl.conf"

static char *text;
static size_t size;

static int parse(struct config *config)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r = config_parse(config, FILE_NAME, true, text, size, &fault);

        if (r < 0)
                fprintf(stderr, "%s\n", fault_text(fault.why));
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

static json_t *machines_of(const struct config *config)
{
        const struct machines_config *machines = &config->machines;

        return json_pack("{s:o, s:b, s:b, s:i, s:o}", "all", machines_config_to_json(machines),
                         "serve", machines->serve, "redis", machines_has_redis(machines),
                         "workloads", (int)machines->workloads, "node",
                         spec_to_json(&machines->node));
}

/* Numbers are all before the sections about machines. */
static void expect_same(const struct config *a, const struct config *b)
{
        json_t *of_a = machines_of(a), *of_b = machines_of(b);

        test_true(memcmp(a, b, offsetof(struct config, machines)) == 0);
        test_true(of_a && of_b);
        test_true(json_equal(of_a, of_b));
        json_decref(of_a);
        json_decref(of_b);
}

static void poison(struct config *config)
{
        config_defaults(config);
        memset(config, 0xaa, offsetof(struct config, machines));
}

static void test_changes_nothing(void)
{
        struct config config, untouched;

        poison(&config);
        config.machines.serve = true;
        config.machines.heartbeat_ns = 1;
        untouched = config;
        test_int(parse(&config), ==, 0);
        expect_same(&config, &untouched);
        config_deinit(&config);
}

static void test_names_all_defaults(void)
{
        struct config config, defaults;

        config_defaults(&defaults);
        poison(&config);
        config.machines.serve = true;
        config.machines.heartbeat_ns = config.machines.workloads = 1;
        config.machines.node.level = LEVEL_ASYNC;
        uncomment();
        test_int(parse(&config), ==, 0);
        expect_same(&config, &defaults);
        config_deinit(&config);
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
                fprintf(stderr, "cannot read " FILE_NAME ": %s; run this in the source tree\n",
                        strerror(-r));
                return EXIT_FAILURE;
        }
        r = test_main("package config", cases, ARRAY_SIZE(cases));
        free(text);
        return r;
}
