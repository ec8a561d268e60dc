/* The configuration's parser: every kind of value, every kind of mistake, files and fragments. */

#include "tests/unit/test.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/supervisor/base/config.h"
#include "lib/inputs.h"

static struct config config;
static struct fault fault;

/* A configuration that nothing was read into. */
static void start_over(void)
{
        static bool used;

        if (used)
                config_deinit(&config);
        used = true;
        fault_deinit(&fault);
        config_defaults(&config);
}

static int parse(const char *text)
{
        start_over();
        return config_parse(&config, "x.conf", false, text, strlen(text), &fault);
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
                       "keep_age = 12h\ninputs_size_max = 1M\nkeep_jobs= 5"),
                 ==, 0);
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
        test_contains(fault.why, where);
        test_contains(fault.why, why);
}

static void test_errors(void)
{
        expect_error("[jobs]\nmax_running = 2\nmax_runing = 3\n",
                     "x.conf:3:", "unknown key \"max_runing\" in section [jobs]");
        expect_error("[job]\n", "x.conf:1:", "unknown section [job]");
        expect_error("[jobs\n", "x.conf:1:", "lacks the closing ]");
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

        start_over();
        test_int(config_parse(&config, "x.conf", false, text, sizeof(text) - 1, &fault), ==,
                 -EBADMSG);
        test_contains(fault.why, "NUL");
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

        start_over();
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        return config_load(&config, path, required, &fault);
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
        test_contains(fault.why, "a.conf.d/40-d.conf:3:");
        remove_directory();
}

static void test_missing(void)
{
        make_directory();
        test_int(load("b.conf", false), ==, 0);
        test_int(config.max_running, ==, 4);
        test_int(load("b.conf", true), ==, -ENOENT);
        test_contains(fault.attempted, "b.conf");
        test_int(load("a.conf.d", true), ==, -EISDIR);
        test_contains(fault.attempted, "a.conf.d");
        remove_directory();
}

static void test_exec(void)
{
        test_int(parse(""), ==, 0);
        test_int(config.exec_group, ==, -1);
        test_int(parse("[exec]\nallow = root\n"), ==, 0);
        test_int(config.exec_group, ==, 0);
        test_int(parse("[exec]\nallow = root\nallow =\n"), ==, 0);
        test_int(config.exec_group, ==, -1);
        expect_error("[exec]\nallow = no such group\n", "x.conf:2:", "no group \"no such group\"");
        expect_error("[exec]\nuser = root\n", "x.conf:2:", "unknown key");
}

static void test_machines_defaults(void)
{
        json_t *json;

        test_int(parse(""), ==, 0);
        test_true(!machines_has_redis(&config.machines));
        test_true(!config.machines.serve);
        test_int(config.machines.heartbeat_ns, ==, 5 * NSEC_PER_SEC);
        test_int(config.machines.node.level, ==, LEVEL_THREADS);
        test_int(config.machines.workloads, ==, workloads_of_nodes());
        test_int(machines_config_check(&config.machines, &fault), ==, 0);

        test_int(parse("[machines]\nredis = unix:/run/r.sock\n"), ==, 0);
        json = machines_config_to_json(&config.machines);
        test_true(json);
        test_str(json_string_value(json_object_get(json, "redis")), "unix:/run/r.sock");
        test_str(json_string_value(json_object_get(json, "prefix")), "pppctl:");
        test_true(json_string_value(json_object_get(json, "name")));
        test_true(!json_object_get(json, "password"));
        json_decref(json);
}

static void test_machines(void)
{
        json_t *json;

        test_int(parse("[machines]\nredis = redis://someone:p%20w@redis.example/2\nserve = yes\n"
                       "workloads = sum, sleep\nlevel = processes\nworkers = 3\nheartbeat = 2s\n"
                       "prefix = x:\nname = here\n"
                       "[node]\nmemory-max = 64M\nworker-pids-max = 4\n"),
                 ==, 0);
        test_int(machines_config_check(&config.machines, &fault), ==, 0);
        test_true(config.machines.serve);
        test_int(config.machines.workloads, ==, 1 << WORKLOAD_SUM | 1 << WORKLOAD_SLEEP);
        test_int(config.machines.node.level, ==, LEVEL_PROCESSES);
        test_int(config.machines.node.workers, ==, 3);
        test_int(config.machines.node.limits.values[LIMIT_MEMORY_MAX], ==, 64 << 20);
        test_int(config.machines.node.worker_limits.values[LIMIT_PIDS_MAX], ==, 4);
        json = machines_config_to_json(&config.machines);
        test_str(json_string_value(json_object_get(json, "redis")), "redis://redis.example:6379/2");
        test_str(json_string_value(json_object_get(json, "username")), "someone");
        test_str(json_string_value(json_object_get(json, "password")), "p w");
        test_int(json_integer_value(json_object_get(json, "heartbeat_ns")), ==, 2 * NSEC_PER_SEC);
        test_str(json_string_value(json_object_get(json, "name")), "here");
        json_decref(json);

        /* What a later file says counts, and it may take back that there is a Redis. */
        test_int(parse("[machines]\nredis = redis://:pw@a\nredis = redis://b\n"), ==, 0);
        test_str(config.machines.url.host, "b");
        test_true(!config.machines.url.password);
        test_int(parse("[machines]\nredis = redis://:pw@a\nredis =\n"), ==, 0);
        test_true(!machines_has_redis(&config.machines));
}

static void test_machines_errors(void)
{
        expect_error("[machines]\nredis = localhost:6379\n", "x.conf:2:", "redis: ");
        expect_error("[machines]\npassword = secret\n", "x.conf:2:", "unknown key \"password\"");
        expect_error("[machines]\npassword-file = pw\n", "x.conf:2:", "not an absolute path");
        expect_error("[machines]\npassword-file = /nonexistent/pw\n", "x.conf:2:", "No such file");
        expect_error("[machines]\nca-file = /nonexistent/ca\n", "x.conf:2:", "No such file");
        expect_error("[machines]\nusername =\n", "x.conf:2:", "username is empty");
        expect_error("[machines]\nname = a b\n", "x.conf:2:", "name takes");
        expect_error("[machines]\nprefix = x*\n", "x.conf:2:", "prefix takes");
        expect_error("[machines]\nheartbeat = soon\n", "x.conf:2:", "heartbeat takes a duration");
        expect_error("[machines]\nheartbeat = 5ms\n",
                     "x.conf:2:", "out of range: give 100ms to 1h");
        expect_error("[machines]\nheartbeat = 99999999999\n",
                     "x.conf:2:", "out of range: give 100ms to 1h");
        expect_error("[machines]\nserve = true\n", "x.conf:2:", "serve takes yes or no");
        expect_error("[machines]\nworkloads = sum exec\n", "x.conf:2:", "no workload \"exec\"");
        expect_error("[machines]\nworkloads =\n", "x.conf:2:", "workloads is empty");
        expect_error("[machines]\nlevel = serial\n",
                     "x.conf:2:", "one of threads, processes, async, not");
        expect_error("[machines]\nworkers = 0\n", "x.conf:2:", "workers takes a number");
        expect_error("[machines]\nmemory-max = 64M\n", "x.conf:2:", "unknown key \"memory-max\"");
        expect_error("[node]\nmemory-max = lots\n", "x.conf:2:", "memory-max: \"lots\"");
        expect_error("[node]\nworker-cpu-max = 0%\n", "x.conf:2:", "worker-cpu-max: ");
        expect_error("[node]\ntime-max = 5s\n", "x.conf:2:", "unknown key \"time-max\"");
}

static void expect_conflict(const char *text, const char *why)
{
        test_int(parse(text), ==, 0);
        test_int(machines_config_check(&config.machines, &fault), ==, -EBADMSG);
        test_contains(fault.why, why);
}

static void test_machines_conflicts(void)
{
        expect_conflict("[machines]\nserve = yes\n", "give redis = URL");
        expect_conflict("[machines]\nusername = u\n", "give redis = URL");
        expect_conflict("[machines]\nredis = redis://u:p@h\nusername = v\n", "user both in");
        expect_conflict("[machines]\nredis = redis://h\nca-file = /dev/null\n", "rediss://");
        expect_conflict("[machines]\nworkers = 5000\nredis = redis://h\n", "[machines] workers: ");
        expect_conflict("[machines]\nloops = 2\n", "[machines] loops: ");
        expect_conflict("[node]\nworker-memory-max = 64M\n", "[node] worker-memory-max: ");
}

static void chmod_file(const char *name, mode_t mode)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        test_int(chmod(path, mode), ==, 0);
}

/* Passwords come from files that are not for everybody, or not at all. */
static void test_passwords(void)
{
        char text[256];

        make_directory();
        write_file("a.conf", "[machines]\nredis = redis://:secret@h\n");
        chmod_file("a.conf", 0644);
        test_int(load("a.conf", true), ==, -EBADMSG);
        test_contains(fault.why, "a.conf:2:");
        test_contains(fault.why, "password-file");
        test_true(!strstr(fault.why, "secret"));
        chmod_file("a.conf", 0640);
        test_int(load("a.conf", true), ==, 0);
        test_str(config.machines.url.password, "secret");

        snprintf(text, sizeof(text), "[machines]\nredis = redis://h\npassword-file = %s/pw\n",
                 directory);
        write_file("a.conf", text);
        chmod_file("a.conf", 0644);
        write_file("pw", "hush hush\nmore\n");
        chmod_file("pw", 0644);
        test_int(load("a.conf", true), ==, -EBADMSG);
        test_contains(fault.why, "a.conf:3:");
        test_contains(fault.why, "chmod o-r");
        chmod_file("pw", 0600);
        test_int(load("a.conf", true), ==, 0);
        test_str(config.machines.password, "hush hush");
        test_int(machines_config_check(&config.machines, &fault), ==, 0);
        write_file("pw", "\n");
        test_int(load("a.conf", true), ==, -EBADMSG);
        test_contains(fault.why, "is empty");
        remove_directory();
        start_over();
}

/* It could not be told to a runner; a URL says such bytes with %. */
static void test_no_utf8(void)
{
        static const char *const texts[] = {
                "[machines]\nredis = redis://\x96:p@h\n",
                "[machines]\nredis = redis://u:%ff@h\n",
                "[machines]\nredis = unix:/run/\xc3\n",
                "[machines]\nredis = redis://:p@h\nusername = \xff\n",
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); ++i) {
                if (parse(texts[i]) == 0) {
                        test_int(machines_config_check(&config.machines, &fault), ==, -EBADMSG);
                        test_contains(fault.why, "UTF-8");
                }
        }
        test_int(parse(texts[0]), ==, 0);
}

/* As when HOME is still that of whoever said sudo: what is there is not for us. */
static void test_home_of_another(void)
{
        char home[] = "/tmp/test-config-XXXXXX", path[64];
        bool is_root = geteuid() == 0;

        test_true(mkdtemp(home));
        snprintf(path, sizeof(path), "%s/pppctl.conf", home);
        test_int(chmod(home, is_root ? 0700 : 0), ==, 0);
        test_true(!is_root || seteuid(65534) == 0);
        start_over();
        test_int(config_load(&config, path, false, &fault), ==, 0);
        test_int(config.max_running, ==, 4);
        start_over();
        test_int(config_load(&config, path, true, &fault), ==, -EACCES);
        test_true(!is_root || seteuid(0) == 0);
        test_int(rmdir(home), ==, 0);
}

TEST_MAIN("config", { "the home of another", test_home_of_another }, { "defaults", test_defaults },
          { "values", test_values }, { "errors", test_errors }, { "a NUL byte", test_nul },
          { "sizes", test_sizes }, { "fragments", test_fragments }, { "commands", test_exec },
          { "missing files", test_missing }, { "machines: defaults", test_machines_defaults },
          { "machines: values", test_machines }, { "machines: errors", test_machines_errors },
          { "machines: conflicts", test_machines_conflicts }, { "passwords", test_passwords },
          { "text that is not UTF-8", test_no_utf8 })
