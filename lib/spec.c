#include "lib/spec.h"

#include <stdio.h>

#include "lib/spec-reader.h"

const char level_names[] = "serial, threads, processes, async, machines";
const char workload_names[] = "words, sum, sum-array, sleep";

static const char *const levels[_LEVEL_N] = {
        [LEVEL_SERIAL] = "serial",
        [LEVEL_THREADS] = "threads",
        [LEVEL_PROCESSES] = "processes",
        [LEVEL_ASYNC] = "async",
        [LEVEL_MACHINES] = "machines",
};

static const struct {
        const char *name;
        const char *unit;
} workloads[_WORKLOAD_N] = {
        [WORKLOAD_WORDS] = { "words", "word" },
        [WORKLOAD_SUM] = { "sum", NULL },
        [WORKLOAD_SUM_ARRAY] = { "sum-array", NULL },
        [WORKLOAD_SLEEP] = { "sleep", NULL },
};

const char *level_name(enum level level)
{
        assert((unsigned)level < _LEVEL_N);
        return levels[level];
}

int level_from_name(const char *name, enum level *ret)
{
        for (unsigned i = 0; i < _LEVEL_N; ++i) {
                if (streq(name, levels[i])) {
                        *ret = (enum level)i;
                        return 0;
                }
        }
        return -EINVAL;
}

const char *workload_name(enum workload_id workload)
{
        assert((unsigned)workload < _WORKLOAD_N);
        return workloads[workload].name;
}

const char *workload_unit(enum workload_id workload)
{
        assert((unsigned)workload < _WORKLOAD_N);
        return workloads[workload].unit;
}

int workload_from_name(const char *name, enum workload_id *ret)
{
        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                if (streq(name, workloads[i].name)) {
                        *ret = (enum workload_id)i;
                        return 0;
                }
        }
        return -EINVAL;
}

static int read_names(struct reader *reader, struct spec *spec)
{
        const char *level, *workload;
        char hint[128];
        int r;

        snprintf(hint, sizeof(hint), "give one of %s", level_names);
        r = reader_string(reader, "level", true, SPEC_NAME_MAX, hint, &level);
        if (r < 0)
                return r;
        if (level_from_name(level, &spec->level) < 0)
                return reader_refuse(reader, "level", hint, "there is no level \"%.*s\"",
                              utf8_prefix(level, NAME_SHOWN), level);

        snprintf(hint, sizeof(hint), "give one of %s", workload_names);
        r = reader_string(reader, "workload", true, SPEC_NAME_MAX, hint, &workload);
        if (r < 0)
                return r;
        if (workload_from_name(workload, &spec->workload) < 0)
                return reader_refuse(reader, "workload", hint, "there is no workload \"%.*s\"",
                              utf8_prefix(workload, NAME_SHOWN), workload);
        return 0;
}

#define NODES_DECIDE "leave it out; a node has it in its configuration ([machines], [node])"

/* What runs a task is the nodes' affair: this machine could not make them. */
static int check_machines(struct reader *reader, const struct spec *spec)
{
        if (spec->workers > 0)
                return reader_refuse(reader, "workers", NODES_DECIDE, "at the level machines the "
                                     "nodes' own configuration says how many workers there are");
        if (spec->loops > 0)
                return reader_refuse(reader, "loops", NODES_DECIDE, "at the level machines the nodes' "
                                     "own configuration says how many loops there are");
        if (spec->gil)
                return reader_refuse(reader, "gil", "leave it out, or take the threads level", "at the "
                                     "level machines the nodes' own configuration says how tasks run");
        if (spec->ca_file)
                return reader_refuse(reader, "ca_file", "add the authority to the system's on each node",
                                     "a file of this machine is not on the nodes");
        if (spec->cpu_time_max_ns > 0)
                return reader_refuse(reader, "cpu_time_max_seconds", "limit its time instead, or that of each "
                                     "task", "at the level machines the CPU time is that of the nodes, "
                                     "which count it for all jobs together");
        return 0;
}

/* A thread has no memory or pids of its own, and no other level has workers with cgroups. */
static int refuse_worker_limit(struct reader *reader, const struct spec *spec, enum limit limit)
{
        enum cgroup_controller controller = limit_infos[limit].controller;
        char member[64];

        snprintf(member, sizeof(member), "worker_limits.%s", limit_infos[limit].member);
        if (spec->level == LEVEL_MACHINES)
                return reader_refuse(reader, member, NODES_DECIDE, "at the level machines the nodes' "
                                     "own configuration says what their workers may take");
        if (spec->level == LEVEL_THREADS && controller == CGROUP_MEMORY)
                return reader_refuse(reader, member, "limit the memory of the whole job, or take the "
                                     "processes level", "memory cannot be limited a thread: threads "
                                     "share the memory of their process");
        if (spec->level == LEVEL_THREADS)
                return reader_refuse(reader, member, "limit the whole job, take the processes level, "
                                     "or share the CPU with thread weights", "a thread has no such "
                                     "limit of its own");
        return reader_refuse(reader, member, "limit the whole job, or take the processes level",
                             "only the processes level has workers with a cgroup of their own");
}

/* The runner, or its loops, and one each that works for it. */
static int check_pids_max(struct reader *reader, const struct spec *spec)
{
        uint64_t loops = MAX(spec->loops, 1U), max = spec->limits.values[LIMIT_PIDS_MAX];
        char hint[32];

        if (!limits_has(&spec->limits, LIMIT_PIDS_MAX))
                return 0;
        if ((spec->level == LEVEL_THREADS || spec->level == LEVEL_PROCESSES) && max < 2)
                return reader_refuse(reader, "limits.pids_max", "give 2 or more", "the runner is one "
                                     "itself, so there would be no worker");
        snprintf(hint, sizeof(hint), "give %llu or more", (unsigned long long)(2 * loops));
        if (spec->level == LEVEL_ASYNC && max < 2 * loops)
                return reader_refuse(reader, "limits.pids_max", hint, "each loop is a thread, and needs another "
                                     "of the kernel's to read a file that is not in memory");
        return 0;
}

static int check_limits(struct reader *reader, const struct spec *spec)
{
        int r;

        for (enum limit i = 0; i < _LIMIT_N; ++i)
                if (limits_has(&spec->worker_limits, i) && spec->level != LEVEL_PROCESSES)
                        return refuse_worker_limit(reader, spec, i);
        r = check_pids_max(reader, spec);
        if (r < 0)
                return r;
        if (spec->threaded && spec->level != LEVEL_THREADS)
                return reader_refuse(reader, "threaded", "leave it out, or take the threads level",
                                     "only the threads level has threaded cgroups");
        if (spec->n_thread_weights > 0 && !spec->threaded)
                return reader_refuse(reader, "thread_weights", "ask for threaded cgroups too",
                                     "threads have a weight in threaded cgroups only");
        return 0;
}

/* An option that the level cannot honour is refused, never ignored. */
static int check_combination(struct reader *reader, const struct spec *spec)
{
        int r = spec->level == LEVEL_MACHINES ? check_machines(reader, spec) : 0;

        if (r < 0)
                return r;
        if (spec->level == LEVEL_SERIAL && spec->workers > 1)
                return reader_refuse(reader, "workers", "leave it out, or take another level",
                                     "the serial level has one worker");
        if ((spec->level == LEVEL_THREADS || spec->level == LEVEL_PROCESSES) &&
            spec->workers > SPEC_THREADS_MAX)
                return reader_refuse(reader, "workers", "give at most 4096, or take the async level",
                                     "%u is too many for the %s level", spec->workers,
                                     level_name(spec->level));
        if (spec->loops > 0 && spec->level != LEVEL_ASYNC)
                return reader_refuse(reader, "loops", "leave it out, or take the async level",
                                     "only the async level has loops");
        if (spec->gil && spec->level != LEVEL_THREADS)
                return reader_refuse(reader, "gil", "leave it out, or take the threads level",
                                     "only the threads level has a global lock");
        return check_limits(reader, spec);
}

static int read_ca_file(struct reader *reader, struct spec *spec)
{
        const char *ca_file = NULL;
        int r;

        r = reader_string(reader, "ca_file", false, SPEC_PATH_MAX, "give a path", &ca_file);
        if (r < 0)
                return r;
        if (ca_file && ca_file[0] != '/')
                return reader_refuse(reader, "ca_file", "give it from / on: the daemon has a working "
                                     "directory of its own", "\"%.*s\" is not an absolute path",
                                     utf8_prefix(ca_file, NAME_SHOWN), ca_file);
        if (ca_file && !(spec->ca_file = strdup(ca_file)))
                return -ENOMEM;
        return 0;
}

static int read_nice(struct reader *reader, struct spec *spec)
{
        static const char hint[] = "give a whole number from -20 to 19";
        json_t *v = reader_take(reader, "nice");

        if (!v)
                return 0;
        if (!json_is_integer(v))
                return reader_refuse(reader, "nice", hint, "it is not a whole number");
        if (json_integer_value(v) < SPEC_NICE_MIN || json_integer_value(v) > SPEC_NICE_MAX)
                return reader_refuse(reader, "nice", hint, "%lld is out of range",
                                     (long long)json_integer_value(v));
        spec->nice = (int)json_integer_value(v);
        spec->has_nice = true;
        return 0;
}

static int read_thread_weights(struct reader *reader, struct spec *spec)
{
        static const char hint[] = "give an array of weights from 1 to 10000";
        json_t *list = NULL, *v;
        size_t i;
        int r;

        r = reader_array(reader, "thread_weights", SPEC_THREADS_MAX, hint, &list);
        if (r < 0 || !list)
                return r;
        spec->thread_weights = calloc(json_array_size(list), sizeof(*spec->thread_weights));
        if (!spec->thread_weights)
                return -ENOMEM;
        json_array_foreach(list, i, v) {
                if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 10000)
                        return reader_refuse(reader, "thread_weights", hint,
                                             "entry %zu is no weight", i + 1);
                spec->thread_weights[spec->n_thread_weights++] = (uint32_t)json_integer_value(v);
        }
        return 0;
}

static int read_limits(struct reader *reader, const char *member, const char *path,
                       struct limits *ret)
{
        json_t *json = reader_take(reader, member);

        return json ? limits_from_json(json, path, ret, reader->error) : 0;
}

static int read_members(struct reader *reader, struct spec *spec)
{
        int r;

        if ((r = read_names(reader, spec)) < 0 ||
            (r = reader_count(reader, "workers", 1, SPEC_WORKERS_MAX, &spec->workers)) < 0 ||
            (r = reader_count(reader, "loops", 1, SPEC_LOOPS_MAX, &spec->loops)) < 0 ||
            (r = reader_bool(reader, "gil", &spec->gil)) < 0 ||
            (r = reader_bool(reader, "threaded", &spec->threaded)) < 0 ||
            (r = read_thread_weights(reader, spec)) < 0 ||
            (r = reader_seconds(reader, "timeout_seconds", &spec->timeout_ns)) < 0 ||
            (r = reader_seconds(reader, "task_timeout_seconds", &spec->task_timeout_ns)) < 0 ||
            (r = reader_seconds(reader, "cpu_time_max_seconds", &spec->cpu_time_max_ns)) < 0 ||
            (r = read_nice(reader, spec)) < 0 ||
            (r = read_limits(reader, "limits", "spec.limits", &spec->limits)) < 0 ||
            (r = read_limits(reader, "worker_limits", "spec.worker_limits",
                             &spec->worker_limits)) < 0 ||
            (r = reader_count(reader, "retries", 0, SPEC_RETRIES_MAX, &spec->retries)) < 0 ||
            (r = read_ca_file(reader, spec)) < 0)
                return r;
        return check_combination(reader, spec);
}

int spec_from_json(json_t *json, struct spec *ret, struct spec_error *error)
{
        static const char *const known[] = {
                "level", "workload", "workers", "loops", "gil", "threaded", "thread_weights",
                "timeout_seconds", "task_timeout_seconds", "cpu_time_max_seconds", "nice", "limits",
                "worker_limits", "retries", "ca_file", NULL,
        };
        struct reader reader = { json, "spec", error, 0 };
        struct spec spec = SPEC_NULL;
        int r;

        if (!json_is_object(json))
                return reader_refuse(&reader, NULL, "give an object", "it is not an object");
        r = read_members(&reader, &spec);
        if (r >= 0)
                r = reader_finish(&reader, "Spec", known);
        if (r < 0) {
                spec_deinit(&spec);
                return r;
        }
        *ret = spec;
        return 0;
}

static int set_new(json_t *json, const char *key, json_t *value)
{
        return json_object_set_new(json, key, value);
}

static int set_nonzero(json_t *json, const char *key, uint64_t value)
{
        return value ? set_new(json, key, json_integer((json_int_t)value)) : 0;
}

static int set_seconds(json_t *json, const char *key, uint64_t ns)
{
        return ns ? set_new(json, key, json_real((double)ns / 1e9)) : 0;
}

static int set_limits(json_t *json, const char *key, const struct limits *limits)
{
        return limits->given ? set_new(json, key, limits_to_json(limits)) : 0;
}

static int set_weights(json_t *json, const struct spec *spec)
{
        json_t *list;

        if (spec->n_thread_weights == 0)
                return 0;
        list = json_array();
        for (size_t i = 0; i < spec->n_thread_weights; ++i)
                if (json_array_append_new(list, json_integer(spec->thread_weights[i])) < 0) {
                        json_decref(list);
                        return -1;
                }
        return set_new(json, "thread_weights", list);
}

json_t *spec_to_json(const struct spec *spec)
{
        json_t *json = json_object();

        if (!json)
                return NULL;
        if (set_new(json, "workload", json_string(workload_name(spec->workload))) < 0 ||
            set_new(json, "level", json_string(level_name(spec->level))) < 0 ||
            set_nonzero(json, "workers", spec->workers) < 0 ||
            set_nonzero(json, "loops", spec->loops) < 0 ||
            (spec->gil && set_new(json, "gil", json_true()) < 0) ||
            (spec->threaded && set_new(json, "threaded", json_true()) < 0) ||
            set_weights(json, spec) < 0 ||
            set_seconds(json, "timeout_seconds", spec->timeout_ns) < 0 ||
            set_seconds(json, "task_timeout_seconds", spec->task_timeout_ns) < 0 ||
            set_seconds(json, "cpu_time_max_seconds", spec->cpu_time_max_ns) < 0 ||
            (spec->has_nice && set_new(json, "nice", json_integer(spec->nice)) < 0) ||
            set_limits(json, "limits", &spec->limits) < 0 ||
            set_limits(json, "worker_limits", &spec->worker_limits) < 0 ||
            set_nonzero(json, "retries", spec->retries) < 0 ||
            (spec->ca_file && set_new(json, "ca_file", json_string(spec->ca_file)) < 0)) {
                json_decref(json);
                return NULL;
        }
        return json;
}

static uint32_t default_workers(enum level level, unsigned n_cpus)
{
        switch (level) {
        case LEVEL_THREADS:
                return MIN(32U, n_cpus + 4);
        case LEVEL_PROCESSES:
                return MIN((unsigned)SPEC_THREADS_MAX, n_cpus);
        case LEVEL_ASYNC:
                return 256;
        case LEVEL_SERIAL:
        default:
                return 1;
        }
}

/* The job's own limit bounds them all; this names the one that took too much. */
static void fill_worker_memory(struct spec *spec)
{
        if (spec->level != LEVEL_PROCESSES || !limits_enforces(&spec->limits, LIMIT_MEMORY_MAX) ||
            limits_has(&spec->worker_limits, LIMIT_MEMORY_MAX))
                return;
        spec->worker_limits.values[LIMIT_MEMORY_MAX] = spec->limits.values[LIMIT_MEMORY_MAX];
        spec->worker_limits.given |= LIMIT_BIT(LIMIT_MEMORY_MAX);
}

void spec_fill(struct spec *spec, unsigned n_cpus, uint64_t n_tasks)
{
        if (spec->level == LEVEL_MACHINES)
                return;
        if (spec->workers == 0)
                spec->workers = default_workers(spec->level, n_cpus);
        spec->workers = (uint32_t)MIN((uint64_t)spec->workers, MAX(n_tasks, UINT64_C(1)));
        if (spec->level == LEVEL_ASYNC)
                spec->loops = MIN(spec->loops ? spec->loops : 1, spec->workers);
        fill_worker_memory(spec);
}

void spec_deinit(struct spec *spec)
{
        free(spec->ca_file);
        free(spec->thread_weights);
        limits_deinit(&spec->limits);
        limits_deinit(&spec->worker_limits);
        *spec = (struct spec)SPEC_NULL;
}
