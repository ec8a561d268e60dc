/*
 * What a supervisor makes of the controllers of a job that outlived another one: lost, gained, or
 * there all the time. The group is a directory of plain files, with its note in an extended
 * attribute as on cgroup2.
 */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/supervisor/limits/limit-restore.h"

#define BEGAN_WITH (CGROUP_MEMORY | CGROUP_PIDS)

struct fixture {
        char path[32];
        struct child_group group;
};

static void put(int fd, const char *name, const char *text)
{
        _cleanup_close_ int file = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        test_int(file, >=, 0);
        test_int(write_all(file, text, strlen(text)), ==, 0);
}

static void make(struct fixture *fixture, const char *available, const char *enabled)
{
        *fixture = (struct fixture){ "/tmp/test-limit-restore.XXXXXX", CHILD_GROUP_NULL };
        test_true(mkdtemp(fixture->path));
        fixture->group.fd = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        test_int(fixture->group.fd, >=, 0);
        put(fixture->group.fd, "cgroup.controllers", available);
        put(fixture->group.fd, "cgroup.subtree_control", enabled);
}

static void clean_up(struct fixture *fixture)
{
        (void)unlinkat(fixture->group.fd, "cgroup.controllers", 0);
        (void)unlinkat(fixture->group.fd, "cgroup.subtree_control", 0);
        child_group_deinit(&fixture->group);
        test_int(rmdir(fixture->path), ==, 0);
}

static struct controller_changes restore(struct fixture *fixture)
{
        const struct spec spec = { .level = LEVEL_ASYNC };
        const struct groups groups = GROUPS_NULL;
        struct controller_changes changes;
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(limit_restore(&spec, &groups, &fixture->group, &changes, &fault), ==, 0);
        return changes;
}

/* The kernel takes a write for a request; a plain file keeps it as it is. */
static bool has_asked(struct fixture *fixture, const char *request)
{
        _cleanup_free_ char *text = NULL;

        test_int(read_file_at(fixture->group.fd, "cgroup.subtree_control", &text, NULL), ==, 0);
        return strncmp(text, request, strlen(request)) == 0;
}

static void check(const char *enabled, unsigned lost, unsigned gained, const char *asked)
{
        struct controller_changes changes;
        struct fixture fixture;

        make(&fixture, "memory pids io\n", enabled);
        cgroup_note_controllers(fixture.group.fd, BEGAN_WITH);
        changes = restore(&fixture);
        test_int(changes.lost, ==, lost);
        test_int(changes.gained, ==, gained);
        if (asked)
                test_true(has_asked(&fixture, asked));
        clean_up(&fixture);
}

static void test_noted(void)
{
        check("memory pids io\n", 0, CGROUP_IO, "memory");
        check("memory pids\n", 0, CGROUP_IO, "+");
        check("pids\n", CGROUP_MEMORY, CGROUP_IO, "+");
        check("\n", BEGAN_WITH, CGROUP_IO, "+");
}

/* A job that began without any controller has lost none. */
static void test_none_noted(void)
{
        struct controller_changes changes;
        struct fixture fixture;

        make(&fixture, "memory\n", "\n");
        cgroup_note_controllers(fixture.group.fd, 0);
        test_int(cgroup_noted_controllers(fixture.group.fd), ==, 0);
        changes = restore(&fixture);
        test_int(changes.lost, ==, 0);
        test_int(changes.gained, ==, CGROUP_MEMORY);
        test_true(has_asked(&fixture, "+memory"));
        clean_up(&fixture);
}

/* Of an older version's group nobody knows; that it was the usual case is likelier. */
static void test_without_a_note(void)
{
        struct controller_changes changes;
        struct fixture fixture;

        make(&fixture, "memory pids\n", "pids\n");
        changes = restore(&fixture);
        test_int(changes.lost, ==, CGROUP_MEMORY);
        test_int(changes.gained, ==, 0);
        clean_up(&fixture);
}

/* An empty file of the group task-0: what is written there can be told from what was there. */
static void put_task(struct fixture *fixture, const char *name)
{
        char path[64];

        (void)mkdirat(fixture->group.fd, "task-0", 0700);
        snprintf(path, sizeof(path), "task-0/%s", name);
        put(fixture->group.fd, path, "");
}

static void has_task(struct fixture *fixture, const char *name, const char *expected)
{
        _cleanup_free_ char *text = NULL;
        char path[64];

        snprintf(path, sizeof(path), "task-0/%s", name);
        test_int(read_file_at(fixture->group.fd, path, &text, NULL), ==, 0);
        test_str(text, expected);
        test_int(unlinkat(fixture->group.fd, path, 0), ==, 0);
}

/* Tasks that run get their limits again; so each of their groups is killed as one again, too. */
static void test_tasks(void)
{
        const struct spec spec = {
                .level = LEVEL_THREADS,
                .workload = WORKLOAD_EXEC,
                .task_limits = { .given = LIMIT_BIT(LIMIT_PIDS_MAX) | LIMIT_BIT(LIMIT_MEMORY_MAX),
                                 .values = { [LIMIT_PIDS_MAX] = 7, [LIMIT_MEMORY_MAX] = 8388608 } },
        };
        const struct groups groups = GROUPS_NULL;
        struct controller_changes changes;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct fixture fixture;

        make(&fixture, "memory pids\n", "memory pids\n");
        put_task(&fixture, "pids.max");
        put_task(&fixture, "memory.max");
        put_task(&fixture, "memory.oom.group");
        test_int(limit_restore(&spec, &groups, &fixture.group, &changes, &fault), ==, 0);
        has_task(&fixture, "pids.max", "7");
        has_task(&fixture, "memory.max", "8388608");
        has_task(&fixture, "memory.oom.group", "1");
        /* One whose limit cannot be set is told by the limit's name. */
        test_int(limit_restore(&spec, &groups, &fixture.group, &changes, &fault), <, 0);
        test_contains(fault.field, "spec.task_limits.");
        test_int(unlinkat(fixture.group.fd, "task-0", AT_REMOVEDIR), ==, 0);
        clean_up(&fixture);
}

static void test_without_a_group(void)
{
        struct fixture fixture = { "", CHILD_GROUP_NULL };
        struct controller_changes changes = restore(&fixture);

        test_int(changes.lost | changes.gained, ==, 0);
}

/* No assertions: these are for within a case. */
static bool has_notes(void)
{
        char path[] = "/tmp/test-limit-restore.XXXXXX";
        bool has = false;
        int fd;

        if (!mkdtemp(path))
                return false;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cgroup_note_controllers(fd, 0);
        has = cgroup_noted_controllers(fd) == 0;
        close_fd(fd);
        (void)rmdir(path);
        return has;
}

int main(void)
{
        static const struct test_case cases[] = {
                { "without a note", test_without_a_note },
                { "without a group", test_without_a_group },
                { "limits of tasks", test_tasks },
                { "lost and gained", test_noted },
                { "begun without controllers", test_none_noted },
        };

        if (!has_notes()) {
                fputs("SKIP: /tmp takes no extended attributes of users\n", stderr);
                return TEST_SKIP;
        }
        return test_main("limit-restore", cases, ARRAY_SIZE(cases));
}
