/* Addresses of a Redis, and the object that holds one. */

#include "lib/machines.h"
#include "tests/unit/test.h"

static void test_taken(void)
{
        static const struct {
                const char *text, *shown, *username, *password;
                bool tls;
        } cases[] = {
                { "unix:/run/redis.sock", "unix:/run/redis.sock", NULL, NULL, false },
                { "unix:///run/redis.sock", "unix:/run/redis.sock", NULL, NULL, false },
                { "unix:/run/redis.sock?db=3", "unix:/run/redis.sock?db=3", NULL, NULL, false },
                { "redis://h", "redis://h:6379/0", NULL, NULL, false },
                { "redis://h/", "redis://h:6379/0", NULL, NULL, false },
                { "redis://h:1/15", "redis://h:1/15", NULL, NULL, false },
                { "redis://[::1]", "redis://[::1]:6379/0", NULL, NULL, false },
                { "redis://[::1]:7/2", "redis://[::1]:7/2", NULL, NULL, false },
                { "rediss://u:p@h", "rediss://h:6379/0", "u", "p", true },
                { "redis://:p%40%25x@h:2", "redis://h:2/0", NULL, "p@%x", false },
                { "redis://u:a/b@h/4", "redis://h:6379/4", "u", "a/b", false },
                { "redis://u:a@b@h/4", "redis://h:6379/4", "u", "a@b", false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                _cleanup_free_ char *shown = NULL;
                struct redis_url url;
                _cleanup_fault_ struct fault fault = FAULT_NULL;

                test_int(redis_url_parse(cases[i].text, &url, &fault), ==, 0);
                shown = redis_url_to_text(&url);
                test_str(shown, cases[i].shown);
                test_str(url.username ?: "-", cases[i].username ?: "-");
                test_str(url.password ?: "-", cases[i].password ?: "-");
                test_int(url.tls, ==, cases[i].tls);
                redis_url_deinit(&url);
        }
}

static void test_refused(void)
{
        static const struct {
                const char *text, *why;
        } cases[] = {
                { "", "no address" },
                { "localhost:6379", "no address" },
                { "http://h", "no address" },
                { "unix:", "begin with /" },
                { "unix:run/redis.sock", "begin with /" },
                { "unix:/run/redis.sock?db=x", "database" },
                { "unix:/run/redis.sock?x=1", "?db=N" },
                { "redis://", "no host" },
                { "redis://:6379", "no host" },
                { "redis://h:0", "port" },
                { "redis://h:65536", "port" },
                { "redis://h:x", "port" },
                { "redis://[::1", "no ]" },
                { "redis://[::1]x", "only :port" },
                { "redis://h/16384", "database" },
                { "redis://h/x", "database" },
                { "redis://u@h", "no password" },
                { "redis://u:%4@h", "percent" },
                { "redis://u:%zz@h", "percent" },
                { "redis://u:%00@h", "percent" },
        };
        char longest[200] = "unix:/";

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct redis_url url;
                _cleanup_fault_ struct fault fault = FAULT_NULL;

                test_int(redis_url_parse(cases[i].text, &url, &fault), ==, -EINVAL);
                test_contains(fault.why, cases[i].why);
        }
        memset(longest + 6, 'x', 120);
        {
                struct redis_url url;
                _cleanup_fault_ struct fault fault = FAULT_NULL;

                test_int(redis_url_parse(longest, &url, &fault), ==, -EINVAL);
                test_contains(fault.why, "107 bytes");
        }
}

static int parse(const char *text, struct machines *ret, struct fault *fault)
{
        json_t *json = json_loads(text, 0, NULL);
        int r;

        test_true(json);
        r = machines_from_json(json, ret, fault);
        json_decref(json);
        return r;
}

static void test_machines(void)
{
        struct machines machines;
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(parse("{\"redis\":\"redis://a:b@h\",\"name\":\"n1\"}", &machines, &fault), ==, 0);
        test_str(machines.prefix, "pppctl:");
        test_int(machines.heartbeat_ns, ==, 5 * NSEC_PER_SEC);
        test_str(machines.url.username, "a");
        machines_deinit(&machines);

        test_int(parse("{\"redis\":\"redis://"
                       "a:b@h\",\"name\":\"n1\",\"username\":\"c\",\"password\":\"d\",\"prefix\":"
                       "\"p:\",\"heartbeat_ns\":200000000,\"ca_file\":\"/ca\"}",
                       &machines, &fault),
                 ==, 0);
        test_str(machines.url.username, "c");
        test_str(machines.url.password, "d");
        test_str(machines.ca_file, "/ca");
        test_int(machines.heartbeat_ns, ==, 200000000);
        machines_deinit(&machines);
}

static void test_machines_refused(void)
{
        static const struct {
                const char *text, *why;
        } cases[] = {
                { "[]", "not an object" },
                { "{\"name\":\"n\"}", "not an object" },
                { "{\"redis\":\"unix:/s\",\"name\":\"n\",\"port\":1}", "not an object" },
                { "{\"redis\":\"x\",\"name\":\"n\"}", "no address" },
                { "{\"redis\":\"unix:/s\",\"name\":\"\"}", "name" },
                { "{\"redis\":\"unix:/s\",\"name\":\"a b\"}", "name" },
                { "{\"redis\":\"unix:/s\",\"name\":\"n\",\"prefix\":\"p*\"}", "prefix" },
                { "{\"redis\":\"unix:/s\",\"name\":\"n\",\"heartbeat_ns\":1}", "heartbeat" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct machines machines;
                _cleanup_fault_ struct fault fault = FAULT_NULL;

                test_int(parse(cases[i].text, &machines, &fault), ==, -EBADMSG);
                test_contains(fault.why, cases[i].why);
        }
}

TEST_MAIN("redis-url", { "addresses that are taken", test_taken },
          { "addresses that are refused, with the reason", test_refused },
          { "user and password beside the address count more", test_machines },
          { "bad objects are refused", test_machines_refused })
