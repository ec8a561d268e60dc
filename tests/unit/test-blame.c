/*
 * Whose limit a job ran into: read from a tree of files as the kernel lays them out, before and
 * since Linux 6.11, when it began to count refused forks where the limit is.
 *
 *     root/pppd.slice/pppd.service/job-12/{runner,worker-0}
 */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "daemon/supervisor/limits/limit-hits.h"
#include "lib/memory-stat.h"
#include "lib/oom-watch.h"

#define SLICE  "pppd.slice"
#define BASE   SLICE "/pppd.service"
#define JOB    BASE "/job-12"
#define RUNNER JOB "/runner"
#define WORKER JOB "/worker-0"

enum kernel { LINUX_6_1, LINUX_6_12 };

static char root[32];

/* Each task's command has a group of its own, which is gone by the end. */
static const struct spec of_commands = {
        .level = LEVEL_PROCESSES,
        .workload = WORKLOAD_EXEC,
        .worker_limits = { .given = LIMIT_BIT(LIMIT_MEMORY_MAX),
                           .values = { [LIMIT_MEMORY_MAX] = 67108864 } },
        .task_limits = { .given = LIMIT_BIT(LIMIT_MEMORY_MAX) | LIMIT_BIT(LIMIT_PIDS_MAX),
                         .values = { [LIMIT_MEMORY_MAX] = 16777216, [LIMIT_PIDS_MAX] = 7 } },
};

static const struct spec spec = {
        .level = LEVEL_PROCESSES,
        .worker_limits = { .given = LIMIT_BIT(LIMIT_MEMORY_MAX) | LIMIT_BIT(LIMIT_PIDS_MAX),
                           .values = { [LIMIT_MEMORY_MAX] = 33554432, [LIMIT_PIDS_MAX] = 3 } },
};

static void put(const char *group, const char *name, const char *text)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;

        test_int(asprintf(&path, "%s/%s/%s", root, group, name), >, 0);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        test_int(fd, >=, 0);
        test_int(write_all(fd, text, strlen(text)), ==, 0);
}

static void put_number(const char *group, const char *name, const char *key, uint64_t n)
{
        _cleanup_free_ char *text = NULL;

        test_int(asprintf(&text, "%s%s%llu\n", key, *key ? " " : "", (unsigned long long)n), >, 0);
        put(group, name, text);
}

static void make_group(const char *group, enum kernel kernel)
{
        _cleanup_free_ char *path = NULL;

        test_int(asprintf(&path, "%s/%s", root, group), >, 0);
        test_int(mkdir(path, 0700), ==, 0);
        put(group, "cgroup.procs", "");
        put(group, "cgroup.events", "populated 0\nfrozen 0\n");
        put(group, "memory.max", "max\n");
        put(group, "memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n");
        put(group, "memory.events.local",
            "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n");
        put(group, "pids.max", "max\n");
        put(group, "pids.peak", "1\n");
        put(group, "pids.events", "max 0\n");
        if (kernel == LINUX_6_12)
                put(group, "pids.events.local", "max 0\n");
}

static int make_tree(enum kernel kernel)
{
        _cleanup_free_ char *path = NULL;
        int fd;

        strcpy(root, "/tmp/test-blame.XXXXXX");
        test_true(mkdtemp(root));
        put(".", "cgroup.procs", "");
        make_group(SLICE, kernel);
        make_group(BASE, kernel);
        make_group(JOB, kernel);
        make_group(RUNNER, kernel);
        make_group(WORKER, kernel);
        put_number(SLICE, "memory.max", "", 100663296);
        put_number(SLICE, "pids.max", "", 6);
        put_number(JOB, "memory.max", "", 1073741824);
        put_number(JOB, "pids.max", "", 100);
        put_number(WORKER, "pids.max", "", 3);
        test_int(asprintf(&path, "%s/" JOB, root), >, 0);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        test_int(fd, >=, 0);
        return fd;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void remove_tree(int fd)
{
        close_fd(fd);
        test_int(nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), ==, 0);
}

/* A job that begins, in a tree where its neighbours have met limits before. */
struct run {
        int fd;
        struct cgroup_chain before;
        bool late;
        uint64_t n_runner_refused;
        const struct spec *spec;
        struct limit_hits hits;
};

static void begin(struct run *run, enum kernel kernel)
{
        *run = (struct run){ .fd = make_tree(kernel), .spec = &spec };
        put_number(SLICE, "memory.events.local", "oom", 7);
        if (kernel == LINUX_6_12)
                put_number(SLICE, "pids.events.local", "max", 7);
        test_int(cgroup_chain_read(run->fd, &run->before), ==, 0);
        test_int(run->before.n, ==, 3);
        test_true(run->before.whole);
        test_str(run->before.groups[0].name, "job-12");
        test_str(run->before.groups[2].name, "pppd.slice");
}

static void look(struct run *run)
{
        const struct limit_look limit_look = {
                .group_fd = run->fd,
                .before = &run->before,
                .began_later = run->late,
                .n_runner_refused = run->n_runner_refused,
                .spec = run->spec,
        };

        limit_hits_deinit(&run->hits);
        test_int(limit_hits_read(&limit_look, &run->hits), ==, 0);
}

static void end(struct run *run)
{
        limit_hits_deinit(&run->hits);
        cgroup_chain_deinit(&run->before);
        remove_tree(run->fd);
}

static void says(struct run *run, enum job_reason reason, const char *text)
{
        _cleanup_free_ char *said = NULL;

        look(run);
        said = limit_describe(reason, &run->hits, &spec, NULL);
        test_str(said, text);
}

#define KILLED  "the kernel killed the runner for lack of memory: "
#define REFUSED "the kernel refused 5 processes or threads: "

static void test_memory_of_the_job(void)
{
        struct run run;

        begin(&run, LINUX_6_1);
        put_number(RUNNER, "memory.events", "oom_kill", 1);
        put_number(JOB, "memory.events.local", "oom", 1);
        put_number(JOB, "memory.events", "oom", 1);
        says(&run, REASON_OOM_KILLED, KILLED "memory.max of the job is 1073741824 bytes");
        test_true(run.hits.runner_oom_killed);
        end(&run);
}

static void test_memory_above(void)
{
        struct run run;
        json_t *list, *json;

        begin(&run, LINUX_6_12);
        put_number(SLICE, "memory.events.local", "oom", 9);
        says(&run, REASON_OOM_KILLED,
             KILLED
             "memory.max of pppd.slice, a group above the job's, is 100663296 bytes (MemoryMax=)");
        list = limit_hits_to_json(&run.hits);
        test_int(json_array_size(list), ==, 1);
        json = json_array_get(list, 0);
        test_str(json_string_value(json_object_get(json, "limit")), "memory.max");
        test_str(json_string_value(json_object_get(json, "of")), "above");
        test_str(json_string_value(json_object_get(json, "group")), "pppd.slice");
        test_int(json_integer_value(json_object_get(json, "value")), ==, 100663296);
        test_int(json_integer_value(json_object_get(json, "times")), ==, 2);
        json_decref(list);
        end(&run);
}

static void test_memory_of_a_worker(void)
{
        struct run run;

        begin(&run, LINUX_6_12);
        /* Of a worker whose group is gone. */
        put_number(JOB, "memory.events", "oom", 2);
        look(&run);
        test_int(run.hits.limits[CHAIN_MEMORY].n, ==, 1);
        test_int(run.hits.limits[CHAIN_MEMORY].met[0].place, ==, PLACE_WORKER);
        test_int(run.hits.limits[CHAIN_MEMORY].met[0].max, ==, 33554432);
        test_int(run.hits.limits[CHAIN_MEMORY].met[0].n, ==, 2);
        end(&run);
}

static void check_met(const struct limit_hits *hits, enum chain_limit limit, uint64_t max,
                      uint64_t n)
{
        _cleanup_free_ char *text = limit_describe_met(hits, limit);
        json_t *list = limit_hits_to_json(hits);

        test_int(hits->limits[limit].n, ==, 1);
        test_int(hits->limits[limit].met[0].place, ==, PLACE_TASK);
        test_int(hits->limits[limit].met[0].max, ==, max);
        test_int(hits->limits[limit].met[0].n, ==, n);
        test_contains(text, " of a task is ");
        test_str(json_string_value(json_object_get(json_array_get(list, 0), "of")), "task");
        json_decref(list);
}

static enum job_reason reason_of(const struct run *run)
{
        return limit_blame((struct outcome){ OUTCOME_ENDED, JOB_DONE, REASON_NONE }, &run->hits)
                .reason;
}

static void test_memory_of_a_task(void)
{
        struct run run;

        begin(&run, LINUX_6_12);
        run.spec = &of_commands;
        put_number(JOB, "memory.events", "oom", 2);
        look(&run);
        check_met(&run.hits, CHAIN_MEMORY, 16777216, 2);
        test_int(reason_of(&run), ==, REASON_NONE);
        end(&run);
}

static void test_memory_of_several(void)
{
        struct run run;

        begin(&run, LINUX_6_1);
        put_number(JOB, "memory.events.local", "oom", 1);
        put_number(JOB, "memory.events", "oom", 1);
        put_number(SLICE, "memory.events.local", "oom", 8);
        says(&run, REASON_OOM_KILLED,
             KILLED "memory.max of the job is 1073741824 bytes, or memory.max of pppd.slice, a "
                    "group above the job's, is 100663296 bytes (MemoryMax=)");
        end(&run);
}

static void test_memory_of_the_machine(void)
{
        struct run run;

        begin(&run, LINUX_6_12);
        says(&run, REASON_OOM_KILLED,
             KILLED "the machine had none left, and no memory.max of the job or of a group above "
                    "it was reached");
        /* A group above may have met its limit before somebody looked. */
        run.late = true;
        says(&run, REASON_OOM_KILLED,
             KILLED "the kernel does not tell whether a memory.max was reached, and whose, or the "
                    "machine had no memory left");
        end(&run);
}

/* In a container the groups above its own are not there to be read. */
static void test_part_of_a_tree(void)
{
        struct cgroup_chain chain;
        _cleanup_free_ char *path = NULL;
        int fd = make_tree(LINUX_6_12);

        test_int(asprintf(&path, "%s/cgroup.procs", root), >, 0);
        test_int(unlink(path), ==, 0);
        test_int(cgroup_chain_read(fd, &chain), ==, 0);
        test_int(chain.n, ==, 3);
        test_true(!chain.whole);
        test_true(!cgroup_chain_counts_all(&chain, CHAIN_MEMORY));
        cgroup_chain_deinit(&chain);
        remove_tree(fd);
}

static void test_pids_of_the_job(void)
{
        struct run run;

        begin(&run, LINUX_6_12);
        put_number(JOB, "pids.events", "max", 5);
        put_number(JOB, "pids.events.local", "max", 5);
        run.n_runner_refused = 5;
        says(&run, REASON_PIDS_MAX, REFUSED "pids.max of the job is 100");
        test_int(run.hits.n_refused, ==, 5);
        end(&run);

        begin(&run, LINUX_6_1);
        put_number(RUNNER, "pids.events", "max", 4);
        put_number(WORKER, "pids.events", "max", 1);
        put_number(JOB, "pids.peak", "", 100);
        says(&run, REASON_PIDS_MAX, REFUSED "pids.max of the job is 100");
        end(&run);
}

static void test_pids_of_a_worker(void)
{
        struct run run;

        begin(&run, LINUX_6_12);
        put_number(JOB, "pids.events", "max", 5);
        says(&run, REASON_PIDS_MAX, REFUSED "pids.max of a worker is 3");
        end(&run);

        begin(&run, LINUX_6_1);
        put_number(WORKER, "pids.events", "max", 5);
        put_number(WORKER, "pids.peak", "", 3);
        says(&run, REASON_PIDS_MAX, REFUSED "pids.max of a worker is 3");
        end(&run);
}

/* A command that its task's limit refused a process fails its task, and not the job. */
static void test_pids_of_a_task(void)
{
        struct run run;

        begin(&run, LINUX_6_12);
        run.spec = &of_commands;
        put_number(JOB, "pids.events", "max", 5);
        look(&run);
        check_met(&run.hits, CHAIN_PIDS, 7, 5);
        test_int(run.hits.n_refused, ==, 5);
        test_int(reason_of(&run), ==, REASON_NONE);
        put_number(JOB, "pids.events.local", "max", 1);
        look(&run);
        test_int(run.hits.limits[CHAIN_PIDS].n, ==, 2);
        test_int(reason_of(&run), ==, REASON_PIDS_MAX);
        end(&run);

        /* What was counted in a group that is gone is not known. */
        begin(&run, LINUX_6_1);
        run.spec = &of_commands;
        look(&run);
        test_true(!run.hits.has_refused);
        test_contains(run.hits.why_no_refused, "which is gone");
        test_int(reason_of(&run), ==, REASON_NONE);
        end(&run);
}

static const char above[] =
        REFUSED "pids.max of pppd.slice, a group above the job's, is 6 (TasksMax=)";

static void test_pids_above(void)
{
        struct run run;

        /* Others were refused two of these. */
        begin(&run, LINUX_6_12);
        put_number(SLICE, "pids.events", "max", 14);
        put_number(SLICE, "pids.events.local", "max", 14);
        run.n_runner_refused = 5;
        says(&run, REASON_PIDS_MAX, above);
        test_int(limit_blame((struct outcome){ OUTCOME_ENDED, JOB_DONE, REASON_NONE }, &run.hits)
                         .reason,
                 ==, REASON_PIDS_MAX);
        end(&run);

        begin(&run, LINUX_6_1);
        put_number(RUNNER, "pids.events", "max", 5);
        put_number(JOB, "pids.peak", "", 5);
        put_number(SLICE, "pids.peak", "", 6);
        says(&run, REASON_PIDS_MAX, above);
        end(&run);
}

/* A limit that was reached before the job began is named when no other can be meant. */
static void test_pids_above_before(void)
{
        struct run run;

        begin(&run, LINUX_6_1);
        put_number(SLICE, "pids.peak", "", 6);
        cgroup_chain_deinit(&run.before);
        test_int(cgroup_chain_read(run.fd, &run.before), ==, 0);
        put_number(RUNNER, "pids.events", "max", 5);
        says(&run, REASON_PIDS_MAX, above);
        put_number(JOB, "pids.peak", "", 100);
        says(&run, REASON_PIDS_MAX, REFUSED "pids.max of the job is 100");
        end(&run);

        begin(&run, LINUX_6_1);
        put_number(RUNNER, "pids.events", "max", 5);
        says(&run, REASON_PIDS_MAX, REFUSED "the kernel does not tell whose pids.max was reached");
        end(&run);
}

/*
 * Since Linux 6.11 nobody knows whose forks a group above has refused, if our runner has seen none.
 */
static void test_pids_of_others(void)
{
        struct run run;

        begin(&run, LINUX_6_12);
        run.n_runner_refused = 5;
        look(&run);
        test_true(run.hits.has_refused && run.hits.n_refused == 0);
        run.n_runner_refused = 0;
        put_number(SLICE, "pids.events.local", "max", 8);
        look(&run);
        test_true(!run.hits.has_refused);
        test_contains(run.hits.why_no_refused, "whose they were");
        test_int(run.hits.limits[CHAIN_PIDS].n, ==, 0);
        end(&run);
}

/* What a group counts that could not be read when the job began, may be others' and old. */
static void check_unread_before(void (*forget)(struct run *))
{
        struct run run;

        begin(&run, LINUX_6_12);
        forget(&run);
        look(&run);
        test_int(run.hits.limits[CHAIN_MEMORY].n, ==, 0);
        test_true(!run.hits.limits[CHAIN_MEMORY].sure);
        test_int(run.hits.limits[CHAIN_PIDS].n, ==, 0);
        test_true(!run.hits.has_refused);
        test_contains(run.hits.why_no_refused, "could not be read when the job began");
        run.n_runner_refused = 5;
        look(&run);
        test_int(run.hits.limits[CHAIN_PIDS].n, ==, 0);
        /* What counts nothing has met nothing. */
        put_number(SLICE, "memory.events.local", "oom", 0);
        put_number(SLICE, "pids.events.local", "max", 0);
        look(&run);
        test_true(run.hits.limits[CHAIN_MEMORY].sure);
        test_true(run.hits.has_refused && run.hits.n_refused == 0);
        end(&run);

        begin(&run, LINUX_6_1);
        put_number(SLICE, "pids.peak", "", 6);
        forget(&run);
        put_number(RUNNER, "pids.events", "max", 5);
        put_number(JOB, "pids.peak", "", 100);
        says(&run, REASON_PIDS_MAX, REFUSED "pids.max of the job is 100");
        put_number(JOB, "pids.peak", "", 5);
        says(&run, REASON_PIDS_MAX, above);
        end(&run);
}

static void forget_slice(struct run *run)
{
        free(run->before.groups[--run->before.n].name);
}

static void forget_all(struct run *run)
{
        cgroup_chain_deinit(&run->before);
}

static void test_unread_before(void)
{
        check_unread_before(forget_slice);
        check_unread_before(forget_all);
}

static enum ppp_oom_blame blame(struct oom_watch *watch, int fd)
{
        _cleanup_close_ int worker = openat(fd, "worker-0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return oom_watch_blame(watch, fd, worker);
}

static void test_workers(void)
{
        struct oom_watch watch;
        int fd = make_tree(LINUX_6_1);

        oom_watch_init(&watch, fd);
        test_int(blame(&watch, fd), ==, PPP_OOM_MACHINE);
        /* Two that die at once: both counts are there when the first is looked at. */
        put_number(JOB, "memory.events.local", "oom", 2);
        test_int(blame(&watch, fd), ==, PPP_OOM_JOB);
        test_int(blame(&watch, fd), ==, PPP_OOM_JOB);
        put_number(SLICE, "memory.events.local", "oom", 1);
        test_int(blame(&watch, fd), ==, PPP_OOM_ABOVE);
        put_number(JOB, "memory.events.local", "oom", 3);
        test_int(blame(&watch, fd), ==, PPP_OOM_JOB);
        test_int(blame(&watch, fd), ==, PPP_OOM_MACHINE);
        put_number(WORKER, "memory.events.local", "oom", 1);
        test_int(blame(&watch, fd), ==, PPP_OOM_WORKER);
        oom_watch_deinit(&watch);

        oom_watch_init(&watch, -EBADF);
        put_number(WORKER, "memory.events.local", "oom", 0);
        test_int(blame(&watch, fd), ==, PPP_OOM_UNKNOWN);
        oom_watch_deinit(&watch);
        remove_tree(fd);
}

static void test_memory_by_kind(void)
{
        int fd = make_tree(LINUX_6_12);
        struct memory_stat stat;
        json_t *json;

        test_int(memory_stat_read(fd, &stat), ==, -ENOENT);
        put(JOB, "memory.stat", "anon 4096\nfile 8192\npgfault 12\n");
        test_int(memory_stat_read(fd, &stat), ==, 0);
        json = memory_stat_to_json(&stat);
        test_int(json_object_size(json), ==, 3);
        test_int(json_integer_value(json_object_get(json, "anon_bytes")), ==, 4096);
        test_int(json_integer_value(json_object_get(json, "page_faults")), ==, 12);
        json_decref(json);
        remove_tree(fd);
}

TEST_MAIN("blame", { "memory of the job", test_memory_of_the_job },
          { "memory of a group above", test_memory_above },
          { "memory of a worker", test_memory_of_a_worker },
          { "memory of a task", test_memory_of_a_task },
          { "processes of a task", test_pids_of_a_task },
          { "memory of several", test_memory_of_several },
          { "memory of the machine", test_memory_of_the_machine },
          { "part of a tree", test_part_of_a_tree },
          { "processes of the job", test_pids_of_the_job },
          { "processes of a worker", test_pids_of_a_worker },
          { "processes of a group above", test_pids_above },
          { "reached before", test_pids_above_before }, { "forks of others", test_pids_of_others },
          { "unread before", test_unread_before }, { "workers", test_workers },
          { "memory by kind", test_memory_by_kind })
