/*
 * What reads and writes text, with each of its allocations failing in turn. No name or string of
 * the JSON that is read here is longer than 13 bytes: jansson has room for that many at once, and
 * where it finds no memory for more it writes beyond what it has (2.14).
 */

#include "tests/unit/alloc-fail.h"

#include <math.h>
#include <sys/mman.h>

#include "daemon/runner/fetch/http-url.h"
#include "daemon/supervisor/account/accounting.h"
#include "daemon/supervisor/base/config.h"
#include "lib/fault.h"
#include "lib/inputs.h"
#include "lib/json-text.h"
#include "lib/machines.h"
#include "tests/unit/varlink-peer.h"

/* A text for which there was no memory says that instead. */
static void check_told(const char *text, const char *part)
{
        if (!allocations.failed || text != fault_no_memory)
                test_contains(text, part);
}

static const char spec_text[] =
        "{\"level\": \"threads\", \"workload\": \"words\", \"workers\": 3, \"threaded\": true, "
        "\"thread_weights\": [1, 10000], \"timeout_seconds\": 1.5, \"nice\": 5, "
        "\"limits\": {\"memory_max_bytes\": 67108864, \"cpus\": \"0-1\", "
        "\"io_max\": [{\"device\": \"8:0\", \"read_bytes_per_second\": 1000000}]}, "
        "\"retries\": 2, \"ca_file\": \"/etc/ca.pem\"}";

static json_t *given;

static int spec_is_read_and_written(void)
{
        struct spec spec = SPEC_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *written = NULL;
        int r = spec_from_json(given, &spec, &fault);

        if (r == 0) {
                written = spec_to_json(&spec);
                if (written)
                        test_true(json_equal(given, written));
                r = written ? 0 : -ENOMEM;
        }
        json_decref(written);
        spec_deinit(&spec);
        return r;
}

static void test_specs(void)
{
        given = json_loads(spec_text, 0, NULL);
        test_true(given);
        check_out_of_memory(spec_is_read_and_written);
        json_decref(given);
}

static int limits_are_set(void)
{
        _cleanup_(limits_deinit) struct limits limits = LIMITS_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r = limits_set_text(&limits, LIMIT_MEMORY_MAX, "64M", &fault);

        if (r == 0)
                r = limits_set_text(&limits, LIMIT_CPUS, "0-1,3", &fault);
        if (r < 0)
                return r;
        test_int(limits.values[LIMIT_MEMORY_MAX], ==, 64 << 20);
        test_str(limits.cpus, "0-1,3");
        return 0;
}

static int bad_limit_is_refused(void)
{
        _cleanup_(limits_deinit) struct limits limits = LIMITS_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r = limits_set_text(&limits, LIMIT_MEMORY_MAX, "much", &fault);

        if (r == -EBADMSG) {
                check_told(fault.why, "much");
                r = 0;
        }
        return r;
}

static void test_limits(void)
{
        check_out_of_memory(limits_are_set);
        check_out_of_memory(bad_limit_is_refused);
}

static int inputs_are_mapped(void)
{
        _cleanup_close_ int fd = memfd_create("inputs", MFD_CLOEXEC);
        struct inputs inputs = INPUTS_NULL;
        struct input_error error = {};
        int r;

        test_int(write(fd, "one\ntwo\nthree\n", 14), ==, 14);
        r = inputs_map(fd, true, &inputs, &error);
        if (r < 0)
                return r;
        test_int(inputs.n, ==, 3);
        inputs_unmap(&inputs);
        return 0;
}

static void test_inputs(void)
{
        check_out_of_memory(inputs_are_mapped);
}

static const char config_text[] =
        "[jobs]\nmax_running = 7\nkeep_age = 12h\n"
        "[machines]\nredis = rediss://u:p@h:7/2\nname = here\nprefix = p:\n"
        "serve = yes\nlevel = threads\nworkers = 3\n"
        "[node]\nmemory-max = 1G\n";

static int config_is_read(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct config config;
        int r;

        config_defaults(&config);
        r = config_parse(&config, "x.conf", false, config_text, strlen(config_text), &fault);
        if (r == 0) {
                test_int(config.max_running, ==, 7);
                test_str(config.machines.name, "here");
                test_str(config.machines.url.password, "p");
                test_int(config.machines.node.workers, ==, 3);
                test_int(config.machines.node.limits.values[LIMIT_MEMORY_MAX], ==, 1 << 30);
        }
        config_deinit(&config);
        return r;
}

static int bad_config_is_refused(void)
{
        static const char text[] = "[jobs]\nmax_running = many\n";
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct config config;
        int r;

        config_defaults(&config);
        r = config_parse(&config, "x.conf", false, text, strlen(text), &fault);
        config_deinit(&config);
        if (r == -EBADMSG) {
                check_told(fault.why, "x.conf:2:");
                r = 0;
        }
        return r;
}

static int machines_are_told(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        _cleanup_free_ char *text = NULL;
        json_t *json = NULL;
        struct config config;
        int r;

        config_defaults(&config);
        r = config_parse(&config, "x.conf", false, config_text, strlen(config_text), &fault);
        if (r == 0) {
                json = machines_config_to_json(&config.machines);
                text = json ? json_text(json, JSON_COMPACT) : NULL;
                if (text)
                        test_contains(text, "\"password\":\"p\"");
                r = text ? 0 : -ENOMEM;
        }
        json_decref(json);
        config_deinit(&config);
        return r;
}

static void test_configs(void)
{
        check_out_of_memory(config_is_read);
        check_out_of_memory(bad_config_is_refused);
        check_out_of_memory(machines_are_told);
}

static int message_is_received(void)
{
        struct varlink_message message = VARLINK_MESSAGE_NULL;
        const char *why = NULL;
        struct pair p;
        int r;

        pair_init(&p);
        peer_says(p.peer, "{\"method\":\"a.b\",\"parameters\":{\"list\":[1,\"two\",{}]}}\0");
        r = varlink_receive(&p.varlink, &message, &why);
        if (r == 0)
                test_str(json_string_value(json_object_get(message.json, "method")), "a.b");
        /* Where it lacks memory for a string, jansson says that the text is wrong near it. */
        if (r == VARLINK_E_INVALID && allocations.failed && strstr(why, " near "))
                r = -ENOMEM;
        varlink_message_deinit(&message);
        pair_deinit(&p);
        return r;
}

static int message_is_sent(void)
{
        static const char expected[] = "{\"parameters\":{\"a\":[1,2],\"b\":\"text\"}}";
        json_t *json = json_pack("{s:{s:[i,i],s:s}}", "parameters", "a", 1, 2, "b", "text");
        char got[128];
        struct pair p;
        int r;

        if (!json)
                return -ENOMEM;
        pair_init(&p);
        r = varlink_send(&p.varlink, json, NULL, 0);
        /* All of it or nothing: half a message would end the connection. */
        if (r == 0) {
                test_int(recv(p.peer, got, sizeof(got), MSG_DONTWAIT), ==, sizeof(expected));
                test_str(got, expected);
        } else {
                test_int(recv(p.peer, got, sizeof(got), MSG_DONTWAIT), ==, -1);
        }
        pair_deinit(&p);
        json_decref(json);
        return r;
}

static void test_messages(void)
{
        check_out_of_memory(message_is_received);
        check_out_of_memory(message_is_sent);
}

static int redirect_is_resolved(void)
{
        _cleanup_free_ char *at = NULL;
        int r = http_url_resolve("http://u:p@h:81/a/b?c#d", "../e f?g", &at);

        if (r == 0)
                test_str(at, "http://u:p@h:81/a/../e%20f?g");
        return r;
}

static int redis_url_is_read(void)
{
        struct redis_url url = REDIS_URL_NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r = redis_url_parse("rediss://u:p%40@h:7/2", &url, &fault);

        if (r < 0)
                return r;
        test_str(url.username, "u");
        test_str(url.password, "p@");
        text = redis_url_to_text(&url);
        if (text)
                test_str(text, "rediss://h:7/2");
        redis_url_deinit(&url);
        return text ? 0 : -ENOMEM;
}

static void test_urls(void)
{
        check_out_of_memory(redirect_is_resolved);
        check_out_of_memory(redis_url_is_read);
}

static int measures_fd = -EBADF;

static int job_is_summarized(void)
{
        struct host host = { (char *)"6.1.0", 2 };
        struct groups groups = { .fd = -EBADF, .why = (char *)"there are none" };
        struct job_record record = { .number = 12, .state = JOB_DONE, .n_tasks = 4, .n_done = 4 };
        struct spec spec = { .level = LEVEL_PROCESSES, .workload = WORKLOAD_SUM, .workers = 2 };
        struct counters counters = {
                4, 0, 5, NSEC_PER_SEC, 2 * NSEC_PER_SEC, 4 * NSEC_PER_SEC, 0, PPP_CONDITION_NONE
        };
        const struct limit_hits none = LIMIT_HITS_NULL;
        struct rusage usage = { .ru_utime = { 1, 0 } };
        struct accounting accounting = {
                .host = &host,
                .groups = &groups,
                .record = &record,
                .spec = &spec,
                .counters = &counters,
                .ended_ns = 5 * NSEC_PER_SEC,
                .usage = &usage,
                .measures_fd = measures_fd,
                .hits = &none,
        };
        json_t *parts = NULL, *summary = accounting_summarize(&accounting, &parts), *work;

        json_decref(parts);
        if (!summary)
                return -ENOMEM;
        test_int(json_integer_value(json_object_get(summary, "tasks_done")), ==, 4);
        test_true(json_is_array(json_object_get(summary, "unavailable")));
        work = json_object_get(summary, "work_seconds");
        if (work || !allocations.failed)
                test_true(fabs(json_real_value(work) - 0.5) < 0.001);
        json_decref(summary);
        return 0;
}

static void test_summaries(void)
{
        static const char measures[] = "{\"work_seconds\": 0.5, \"unavailable\": "
                                       "[{\"metric\": \"syscalls\", \"reason\": \"not counted\"}]}";

        measures_fd = memfd_create("measures", MFD_CLOEXEC);
        test_int(write(measures_fd, measures, strlen(measures)), ==, strlen(measures));
        check_out_of_memory(job_is_summarized);
        measures_fd = close_fd(measures_fd);
}

/* A text for which there is no memory says that. */
static int fault_is_told(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        _cleanup_free_ char *sentence = NULL;
        int r = fault_errno(&fault, -ENOENT, "check the path", "open %s", "/x");

        test_int(r, ==, -ENOENT);
        test_int(fault.error, ==, -ENOENT);
        test_true(fault.attempted && fault.why && fault.advice);
        sentence = fault_sentence(&fault);
        if (sentence && !allocations.failed)
                test_str(sentence, "cannot open /x: No such file or directory; check the path");
        return sentence ? 0 : -ENOMEM;
}

static void test_faults(void)
{
        check_out_of_memory(fault_is_told);
}

TEST_MAIN("out of memory", { "specs", test_specs }, { "limits", test_limits },
          { "inputs", test_inputs }, { "the configuration", test_configs },
          { "messages", test_messages }, { "URLs", test_urls }, { "summaries", test_summaries },
          { "faults", test_faults })
