/* The doctor: every check says something, and what to do when all is not well. */

#include "tests/unit/test.h"

#include <signal.h>

#include "lib/doctor/check.h"

static const char *member(json_t *check, const char *name)
{
        const char *text = json_string_value(json_object_get(check, name));

        test_true(text);
        return text;
}

static json_t *find(json_t *checks, const char *group, const char *name)
{
        json_t *check;
        size_t i;

        json_array_foreach(checks, i, check)
                if (streq(member(check, "group"), group) && streq(member(check, "name"), name))
                        return check;
        test_fail_at("there is no check \"%s\" of %s", name, group);
        return NULL;
}

static void examine(json_t *checks)
{
        json_t *check;
        size_t i;

        test_int(json_array_size(checks), >, 20);
        json_array_foreach(checks, i, check) {
                const char *status = member(check, "status");

                if (!*member(check, "detail"))
                        test_fail_at("%s has no detail", member(check, "name"));
                if (!streq(status, "yes") && !*member(check, "remedy"))
                        test_fail_at("%s has no remedy", member(check, "name"));
                if (streq(status, "yes") && *member(check, "remedy"))
                        test_fail_at("%s is well and has a remedy", member(check, "name"));
                test_true(streq(status, "yes") || streq(status, "no") || streq(status, "partly"));
                test_true(json_is_array(json_object_get(check, "levels")));
        }
}

static void test_here(void)
{
        const struct doctor doctor = { .state = "/tmp" };
        json_t *checks = doctor_look(&doctor);

        test_true(checks);
        examine(checks);
        test_str(member(find(checks, "kernel", "pidfd"), "status"), "yes");
        test_int(json_array_size(json_object_get(find(checks, "io_uring", "allowed"), "levels")),
                 ==, 1);
        test_contains(member(find(checks, "process", "state directory"), "detail"), "/tmp, ");
        json_decref(checks);
}

static void test_without_groups(void)
{
        const struct doctor doctor = { .is_daemon = true,
                                       .why_none = "somebody took them",
                                       .state = "/nonexistent" };
        static const char *const groups[] = { "groups for jobs", "clone3 into a group",
                                              "cgroup.kill", "threaded groups" };
        json_t *checks = doctor_look(&doctor);

        test_true(checks);
        examine(checks);
        for (size_t i = 0; i < ARRAY_SIZE(groups); ++i)
                test_str(member(find(checks, "cgroups", groups[i]), "status"), "no");
        test_str(member(find(checks, "cgroups", "groups for jobs"), "detail"),
                 "somebody took them");
        test_str(member(find(checks, "cgroups", "cgroup.freeze"), "status"), "partly");
        test_contains(member(find(checks, "cgroups", "cgroup.freeze"), "detail"),
                      "stopping each of its processes");
        test_str(member(find(checks, "limits", "memory controller"), "status"), "no");
        test_contains(member(find(checks, "process", "state directory"), "detail"), "No such file");
        json_decref(checks);
}

static void test_waiting_jobs(void)
{
        struct doctor doctor = {
                .is_daemon = true, .why_none = "-", .max_queued = 1000, .queue_limit = 1000
        };
        json_t *checks = doctor_look(&doctor);

        test_true(checks);
        test_str(member(find(checks, "process", "waiting jobs"), "status"), "yes");
        json_decref(checks);
        doctor.queue_limit = 256;
        checks = doctor_look(&doctor);
        test_true(checks);
        examine(checks);
        test_str(member(find(checks, "process", "waiting jobs"), "status"), "partly");
        test_contains(member(find(checks, "process", "waiting jobs"), "detail"), "256, ");
        test_contains(member(find(checks, "process", "waiting jobs"), "detail"),
                      "max_queued = 1000");
        test_contains(member(find(checks, "process", "waiting jobs"), "detail"), "open files");
        test_contains(member(find(checks, "process", "waiting jobs"), "remedy"), "LimitNOFILE=");
        json_decref(checks);
}

static void say_hello(int fd)
{
        (void)write_all(fd, "hello", 5);
}

static void die(int fd)
{
        (void)fd;
        raise(SIGKILL);
}

static void test_children(void)
{
        char text[8] = "";
        int signal = 0;

        test_int(check_in_child(say_hello, text, sizeof(text), &signal), ==, 5);
        test_str(text, "hello");
        test_int(check_in_child(die, text, sizeof(text), &signal), ==, -ECHILD);
        test_int(signal, ==, SIGKILL);
}

TEST_MAIN("doctor", { "this machine", test_here }, { "without cgroups", test_without_groups },
          { "waiting jobs", test_waiting_jobs }, { "children", test_children })
