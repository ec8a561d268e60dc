#include "lib/spec.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/spec-reader.h"

#define NAMES_SIZE   (LEVEL_LIST_SIZE + WORKLOAD_LIST_SIZE)
#define NODES_DECIDE "leave it out; a node has it in its configuration ([machines], [node])"

enum kind {
        KIND_COUNT,    /* uint32_t, 0: not given */
        KIND_SWITCH,   /* bool */
        KIND_SECONDS,  /* uint64_t of nanoseconds, 0: not given */
        KIND_PATH,     /* char *, owned */
        KIND_LIMITS,   /* struct limits */
        KIND_NICE,     /* the spec's has_nice and nice */
        KIND_WEIGHTS,  /* the spec's thread_weights */
        KIND_EXECUTOR, /* enum executor */
        KIND_COMMAND,  /* struct command */
        KIND_HALT,     /* struct halt */
};

/*
 * A member that a spec may leave out; it is read, written, checked against the level, and dropped
 * by its row.
 */
struct member {
        const char *name;
        enum kind kind;
        size_t offset;            /* in struct spec, of kinds that are a type */
        uint32_t min, max;        /* of a count */
        enum level_feature needs; /* of the level; 0: all levels take it */
        bool decides_values;      /* without it, tasks may have other values */
        const char *of_nodes;     /* what a node's configuration says instead; NULL: nothing */
        const char *has;          /* what only the levels have that take it */
        const char *why, *hint;   /* instead, where that would not tell enough */
};

#define AS(_kind, _field)         .kind = (_kind), .offset = offsetof(struct spec, _field)
#define COUNT(_field, _min, _max) AS(KIND_COUNT, _field), .min = (_min), .max = (_max)

/* In the order in which they are written. */
static const struct member members[] = {
        { .name = "workers", COUNT(workers, 1, SPEC_WORKERS_MAX) },
        { .name = "loops",
          COUNT(loops, 1, SPEC_LOOPS_MAX),
          .needs = LEVEL_LOOPS,
          .of_nodes = "how many loops there are",
          .has = "loops" },
        { .name = "executor",
          AS(KIND_EXECUTOR, executor),
          .needs = LEVEL_LOOPS,
          .of_nodes = "what computes",
          .has = "an executor" },
        { .name = "executor_workers",
          COUNT(executor_workers, 1, SPEC_EXECUTOR_WORKERS_MAX),
          .needs = LEVEL_LOOPS,
          .of_nodes = "what computes",
          .has = "an executor" },
        { .name = "gil", AS(KIND_SWITCH, gil), .needs = LEVEL_ONE_PROCESS, .has = "a global lock" },
        { .name = "threaded",
          AS(KIND_SWITCH, threaded),
          .needs = LEVEL_ONE_PROCESS,
          .has = "threaded cgroups" },
        { .name = "thread_weights",
          .kind = KIND_WEIGHTS,
          .needs = LEVEL_ONE_PROCESS,
          .has = "threads with a weight" },
        { .name = "timeout_seconds", AS(KIND_SECONDS, timeout_ns) },
        { .name = "task_timeout_seconds", AS(KIND_SECONDS, task_timeout_ns) },
        { .name = "cpu_time_max_seconds",
          AS(KIND_SECONDS, cpu_time_max_ns),
          .needs = LEVEL_LOCAL,
          .why = "the CPU time is that of the nodes, which count it for all jobs together",
          .hint = "limit its time instead, or that of each task" },
        { .name = "nice", .kind = KIND_NICE },
        { .name = "limits", AS(KIND_LIMITS, limits) },
        { .name = "worker_limits",
          AS(KIND_LIMITS, worker_limits),
          .needs = LEVEL_WORKER_GROUPS,
          .of_nodes = "what their workers may take" },
        { .name = "task_limits", AS(KIND_LIMITS, task_limits) },
        { .name = "command", AS(KIND_COMMAND, command) },
        { .name = "retries", COUNT(retries, 0, SPEC_RETRIES_MAX) },
        { .name = "halt",
          AS(KIND_HALT, halt),
          .needs = LEVEL_LOCAL,
          .why = "nodes have begun more tasks by the time the results of some are here",
          .hint = "leave it out, or cancel the job" },
        { .name = "delay_seconds",
          AS(KIND_SECONDS, delay_ns),
          .needs = LEVEL_LOCAL,
          .why = "nodes begin tasks without asking each other",
          .hint = "leave it out" },
        { .name = "ca_file",
          AS(KIND_PATH, ca_file),
          .needs = LEVEL_LOCAL,
          .decides_values = true,
          .why = "a file of this machine is not on the nodes",
          .hint = "add the authority to the system's on each node" },
};

static void *value_of(const struct spec *spec, const struct member *member)
{
        return (char *)spec + member->offset;
}

static bool is_given(const struct spec *spec, const struct member *member)
{
        const void *value = value_of(spec, member);

        switch (member->kind) {
        case KIND_COUNT:
                return *(const uint32_t *)value > 0;
        case KIND_SWITCH:
                return *(const bool *)value;
        case KIND_SECONDS:
                return *(const uint64_t *)value > 0;
        case KIND_PATH:
                return *(char *const *)value;
        case KIND_LIMITS:
                return ((const struct limits *)value)->given;
        case KIND_NICE:
                return spec->has_nice;
        case KIND_WEIGHTS:
                return spec->n_thread_weights > 0;
        case KIND_EXECUTOR:
                return spec->executor != EXECUTOR_NONE;
        case KIND_COMMAND:
                return ((const struct command *)value)->words;
        case KIND_HALT:
                return ((const struct halt *)value)->of != HALT_NEVER;
        }
        assert(false);
        return false;
}

static void clear(struct spec *spec, const struct member *member)
{
        void *value = value_of(spec, member);

        switch (member->kind) {
        case KIND_COUNT:
                *(uint32_t *)value = 0;
                break;
        case KIND_SWITCH:
                *(bool *)value = false;
                break;
        case KIND_SECONDS:
                *(uint64_t *)value = 0;
                break;
        case KIND_PATH:
                free(*(char **)value);
                *(char **)value = NULL;
                break;
        case KIND_LIMITS:
                limits_deinit(value);
                break;
        case KIND_NICE:
                spec->has_nice = false;
                break;
        case KIND_WEIGHTS:
                free(spec->thread_weights);
                spec->thread_weights = NULL;
                spec->n_thread_weights = 0;
                break;
        case KIND_EXECUTOR:
                spec->executor = EXECUTOR_NONE;
                break;
        case KIND_COMMAND:
                command_deinit(value);
                break;
        case KIND_HALT:
                ((struct halt *)value)->of = HALT_NEVER;
                break;
        }
}

static bool takes(const struct spec *spec, const struct member *member)
{
        if (member->needs == LEVEL_WORKER_GROUPS)
                return spec_has_worker_processes(spec);
        return !member->needs || level_has(spec->level, member->needs);
}

static int read_names(struct reader *reader, struct spec *spec)
{
        const char *level, *workload;
        char hint[128], names[NAMES_SIZE];
        int r;

        snprintf(hint, sizeof(hint), "give one of %s", level_list(LEVELS_ALL, names));
        r = reader_string(reader, "level", true, SPEC_NAME_MAX, hint, &level);
        if (r < 0)
                return r;
        if (level_from_name(level, &spec->level) < 0)
                return reader_refuse(reader, "level", hint, "there is no level \"%.*s\"",
                                     utf8_prefix(level, NAME_SHOWN), level);

        snprintf(hint, sizeof(hint), "give one of %s", workload_list(WORKLOADS_ALL, names));
        r = reader_string(reader, "workload", true, SPEC_NAME_MAX, hint, &workload);
        if (r < 0)
                return r;
        if (workload_from_name(workload, &spec->workload) < 0)
                return reader_refuse(reader, "workload", hint, "there is no workload \"%.*s\"",
                                     utf8_prefix(workload, NAME_SHOWN), workload);
        return 0;
}

/* A thread has no memory or pids of its own, and at the other levels no worker has a cgroup. */
static int refuse_worker_limit(struct reader *reader, const struct spec *spec,
                               const struct member *member)
{
        char name[64], names[NAMES_SIZE], hint[256];
        enum limit limit = 0;

        while (!limits_has(&spec->worker_limits, limit))
                ++limit;
        snprintf(name, sizeof(name), "%s.%s", member->name, limit_infos[limit].member);
        level_list(levels_with(member->needs), names);
        if (!level_has(spec->level, LEVEL_LOCAL))
                return reader_refuse(reader, name, NODES_DECIDE,
                                     "at the level %s the nodes' own configuration says %s",
                                     level_name(spec->level), member->of_nodes);
        if (!level_has(spec->level, LEVEL_ONE_PROCESS)) {
                snprintf(hint, sizeof(hint),
                         "limit the whole job, take the %s level, or async with the executor %s",
                         names, executor_infos[EXECUTOR_PROCESSES].name);
                return reader_refuse(reader, name, hint,
                                     "workers of the %s level have no cgroup of their own",
                                     level_name(spec->level));
        }
        if (limit_infos[limit].controller == CGROUP_MEMORY) {
                snprintf(hint, sizeof(hint),
                         "limit the memory of the whole job, or take the %s level", names);
                return reader_refuse(reader, name, hint,
                                     "memory cannot be limited a thread: threads share the memory "
                                     "of their process");
        }
        snprintf(hint, sizeof(hint),
                 "limit the whole job, take the %s level, or share the CPU with thread weights",
                 names);
        return reader_refuse(reader, name, hint, "a thread has no such limit of its own");
}

static int refuse_member(struct reader *reader, const struct spec *spec,
                         const struct member *member)
{
        char names[NAMES_SIZE], hint[256];

        if (member->why)
                return reader_refuse(reader, member->name, member->hint, "at the level %s %s",
                                     level_name(spec->level), member->why);
        if (member->kind == KIND_LIMITS)
                return refuse_worker_limit(reader, spec, member);
        if (!level_has(spec->level, LEVEL_LOCAL) && member->of_nodes)
                return reader_refuse(reader, member->name, NODES_DECIDE,
                                     "at the level %s the nodes' own configuration says %s",
                                     level_name(spec->level), member->of_nodes);
        level_list(levels_with(member->needs), names);
        snprintf(hint, sizeof(hint), "leave it out, or take the %s level", names);
        return reader_refuse(reader, member->name, hint, "only the %s level has %s", names,
                             member->has);
}

static int check_workers(struct reader *reader, const struct spec *spec)
{
        const struct level_info *info = level_info(spec->level);
        char hint[64];

        if (spec->workers <= info->workers_max)
                return 0;
        if (info->workers_max == 0)
                return reader_refuse(reader, "workers", NODES_DECIDE,
                                     "at the level %s the nodes' own configuration says how many "
                                     "workers there are",
                                     info->name);
        if (info->workers_max == 1)
                return reader_refuse(reader, "workers", "leave it out, or take another level",
                                     "the %s level has one worker", info->name);
        snprintf(hint, sizeof(hint), "give at most %u, or take the async level", info->workers_max);
        return reader_refuse(reader, "workers", hint, "%u is too many for the %s level",
                             spec->workers, info->name);
}

/* The runner, or its loops, and for each of these one more that works. */
static int check_pids_max(struct reader *reader, const struct spec *spec)
{
        const struct level_info *info = level_info(spec->level);
        uint64_t min = (uint64_t)info->pids_min * MAX(spec->loops, 1U);
        char hint[48];

        if (!limits_has(&spec->limits, LIMIT_PIDS_MAX) ||
            spec->limits.values[LIMIT_PIDS_MAX] >= min)
                return 0;
        snprintf(hint, sizeof(hint), "give %" PRIu64 " or more", min);
        return reader_refuse(reader, "limits.pids_max", hint, "%s", info->pids_why);
}

/* Other workloads have no command, and a task of theirs no cgroup. */
static int check_no_command(struct reader *reader, const struct spec *spec)
{
        const char *hint = "leave it out, or take the workload exec";

        if (spec->command.words)
                return reader_refuse(reader, "command", hint, "the workload %s runs no command",
                                     workload_name(spec->workload));
        if (spec->task_limits.given)
                return reader_refuse(reader, "task_limits", hint,
                                     "tasks of the workload %s have no limits of their own",
                                     workload_name(spec->workload));
        return 0;
}

/* A single task may be limited in these ways only; all other limits are for the whole job. */
static int check_task_limits(struct reader *reader, const struct spec *spec)
{
        const unsigned taken = LIMIT_BIT(LIMIT_CPU_MAX) | LIMIT_BIT(LIMIT_MEMORY_MAX) |
                               LIMIT_BIT(LIMIT_SWAP_MAX) | LIMIT_BIT(LIMIT_PIDS_MAX);
        unsigned refused = spec->task_limits.given & ~taken;
        char name[64];

        if (spec->command.no_group && spec->task_limits.given)
                return reader_refuse(reader, "task_limits", "leave one of the two out",
                                     "without a cgroup of its own a task cannot be limited");
        if (spec->command.retry_memory && !limits_enforces(&spec->task_limits, LIMIT_MEMORY_MAX))
                return reader_refuse(reader, "command.retry_memory", "limit a task's memory too",
                                     "there is no limit on a task's memory that could be raised");
        if (!refused)
                return 0;
        snprintf(name, sizeof(name), "task_limits.%s", limit_infos[__builtin_ctz(refused)].member);
        return reader_refuse(reader, name, "limit the whole job instead",
                             "a task may have limits on its CPU time, memory, swap and processes "
                             "only");
}

static int check_command(struct reader *reader, const struct spec *spec)
{
        if (!workload_info(spec->workload)->runs_commands)
                return check_no_command(reader, spec);
        if (!spec->command.words)
                return reader_refuse(reader, "command", "give what to run: {\"words\": [\"true\"]}",
                                     "it is missing");
        if (!level_has(spec->level, LEVEL_LOCAL))
                return reader_refuse(reader, "workload", "take another level",
                                     "nodes run no commands for others");
        if (spec->executor != EXECUTOR_NONE)
                return reader_refuse(reader, "executor", "leave it out",
                                     "commands run in processes of their own");
        return check_task_limits(reader, spec);
}

/* An option that the level cannot honour is refused, never ignored. */
static int check_combination(struct reader *reader, const struct spec *spec)
{
        int r = check_workers(reader, spec);

        if (r >= 0)
                r = check_command(reader, spec);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
                if (is_given(spec, &members[i]) && !takes(spec, &members[i]))
                        return refuse_member(reader, spec, &members[i]);
        if (spec->n_thread_weights > 0 && !spec->threaded)
                return reader_refuse(reader, "thread_weights", "ask for threaded cgroups too",
                                     "threads have a weight in threaded cgroups only");
        if (spec->executor_workers > 0 && spec->executor == EXECUTOR_NONE)
                return reader_refuse(reader, "executor_workers", "ask for an executor too",
                                     "there is no executor whose workers these would be");
        return check_pids_max(reader, spec);
}

static int read_nice(struct reader *reader, const char *member, struct spec *spec)
{
        static const char hint[] = "give a whole number from -20 to 19";
        json_t *v = reader_take(reader, member);

        if (!v)
                return 0;
        if (!json_is_integer(v))
                return reader_refuse(reader, member, hint, "it is not a whole number");
        if (json_integer_value(v) < SPEC_NICE_MIN || json_integer_value(v) > SPEC_NICE_MAX)
                return reader_refuse(reader, member, hint, "%lld is out of range",
                                     (long long)json_integer_value(v));
        spec->nice = (int)json_integer_value(v);
        spec->has_nice = true;
        return 0;
}

static int read_weights(struct reader *reader, const char *member, struct spec *spec)
{
        static const char hint[] = "give an array of weights from 1 to 10000";
        json_t *list = NULL, *v;
        size_t i;
        int r;

        r = reader_array(reader, member, SPEC_WEIGHTS_MAX, hint, &list);
        if (r < 0 || !list)
                return r;
        spec->thread_weights = calloc(json_array_size(list), sizeof(*spec->thread_weights));
        if (!spec->thread_weights)
                return -ENOMEM;
        json_array_foreach(list, i, v) {
                if (!json_is_integer(v) || json_integer_value(v) < 1 ||
                    json_integer_value(v) > 10000)
                        return reader_refuse(reader, member, hint, "entry %zu is no weight", i + 1);
                spec->thread_weights[spec->n_thread_weights++] = (uint32_t)json_integer_value(v);
        }
        return 0;
}

static int read_executor(struct reader *reader, const char *member, enum executor *ret)
{
        char hint[64], names[EXECUTOR_LIST_SIZE];
        const char *name = NULL;
        int r;

        snprintf(hint, sizeof(hint), "give one of %s", executor_list(names));
        r = reader_string(reader, member, false, SPEC_NAME_MAX, hint, &name);
        if (r < 0 || !name)
                return r;
        if (executor_from_name(name, ret) < 0)
                return reader_refuse(reader, member, hint, "there is no executor \"%.*s\"",
                                     utf8_prefix(name, NAME_SHOWN), name);
        return 0;
}

static int read_limits(struct reader *reader, const char *member, struct limits *ret)
{
        json_t *json = reader_take(reader, member);
        char path[64];

        snprintf(path, sizeof(path), "%s.%s", reader->path, member);
        return json ? limits_from_json(json, path, ret, reader->fault) : 0;
}

static int read_command(struct reader *reader, const char *member, struct command *ret)
{
        json_t *json = reader_take(reader, member);
        char path[64];

        snprintf(path, sizeof(path), "%s.%s", reader->path, member);
        return json ? command_from_json(json, path, ret, reader->fault) : 0;
}

static int read_halt(struct reader *reader, const char *member, struct halt *ret)
{
        const char *text = NULL;
        int r = reader_string(reader, member, false, SPEC_NAME_MAX, HALT_EXPECTED, &text);

        if (r < 0 || !text)
                return r;
        if (halt_from_text(text, ret) < 0)
                return reader_refuse(reader, member, HALT_EXPECTED,
                                     "\"%.*s\" does not say when the job is to be halted",
                                     utf8_prefix(text, NAME_SHOWN), text);
        return 0;
}

static int read_member(struct reader *reader, struct spec *spec, const struct member *member)
{
        void *value = value_of(spec, member);

        switch (member->kind) {
        case KIND_COUNT:
                return reader_count(reader, member->name, member->min, member->max, value);
        case KIND_SWITCH:
                return reader_bool(reader, member->name, value);
        case KIND_SECONDS:
                return reader_seconds(reader, member->name, value);
        case KIND_PATH:
                return reader_path(reader, member->name, value);
        case KIND_LIMITS:
                return read_limits(reader, member->name, value);
        case KIND_NICE:
                return read_nice(reader, member->name, spec);
        case KIND_WEIGHTS:
                return read_weights(reader, member->name, spec);
        case KIND_EXECUTOR:
                return read_executor(reader, member->name, value);
        case KIND_COMMAND:
                return read_command(reader, member->name, value);
        case KIND_HALT:
                return read_halt(reader, member->name, value);
        }
        assert(false);
        return -EINVAL;
}

static int read_members(struct reader *reader, struct spec *spec)
{
        const char *known[ARRAY_SIZE(members) + 3] = { "level", "workload" };
        int r = read_names(reader, spec);

        for (size_t i = 0; i < ARRAY_SIZE(members) && r >= 0; ++i) {
                known[2 + i] = members[i].name;
                r = read_member(reader, spec, &members[i]);
        }
        if (r >= 0)
                r = check_combination(reader, spec);
        return r < 0 ? r : reader_finish(reader, "Spec", known);
}

int spec_from_json(json_t *json, struct spec *ret, struct fault *fault)
{
        struct reader reader = { json, "spec", fault, 0 };
        struct spec spec = SPEC_NULL;
        int r;

        if (!json_is_object(json))
                return reader_refuse(&reader, NULL, "give an object", "it is not an object");
        r = read_members(&reader, &spec);
        if (r < 0) {
                spec_deinit(&spec);
                return reader_end(&reader, r);
        }
        *ret = spec;
        return 0;
}

static json_t *weights_to_json(const struct spec *spec)
{
        json_t *list = json_array();

        for (size_t i = 0; list && i < spec->n_thread_weights; ++i)
                if (json_array_append_new(list, json_integer(spec->thread_weights[i])) < 0) {
                        json_decref(list);
                        list = NULL;
                }
        return list;
}

static json_t *member_to_json(const struct spec *spec, const struct member *member)
{
        const void *value = value_of(spec, member);
        char text[HALT_TEXT_SIZE];

        switch (member->kind) {
        case KIND_COUNT:
                return json_integer(*(const uint32_t *)value);
        case KIND_SWITCH:
                return json_boolean(*(const bool *)value);
        case KIND_SECONDS:
                return json_real((double)*(const uint64_t *)value / 1e9);
        case KIND_PATH:
                return json_string(*(char *const *)value);
        case KIND_LIMITS:
                return limits_to_json(value);
        case KIND_NICE:
                return json_integer(spec->nice);
        case KIND_WEIGHTS:
                return weights_to_json(spec);
        case KIND_EXECUTOR:
                return json_string(executor_infos[spec->executor].name);
        case KIND_COMMAND:
                return command_to_json(value);
        case KIND_HALT:
                return json_string(halt_to_text(value, text));
        }
        assert(false);
        return NULL;
}

json_t *spec_to_json(const struct spec *spec)
{
        json_t *json = json_pack("{s:s, s:s}", "workload", workload_name(spec->workload), "level",
                                 level_name(spec->level));

        for (size_t i = 0; json && i < ARRAY_SIZE(members); ++i)
                if (is_given(spec, &members[i]) &&
                    json_object_set_new(json, members[i].name, member_to_json(spec, &members[i])) <
                            0) {
                        json_decref(json);
                        json = NULL;
                }
        return json;
}

void spec_leave_out(struct spec *spec)
{
        if (level_info(spec->level)->workers_max <= 1)
                spec->workers = 0;
        for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
                if (!takes(spec, &members[i]) && !members[i].decides_values)
                        clear(spec, &members[i]);
}

void spec_deinit(struct spec *spec)
{
        for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
                clear(spec, &members[i]);
}
