#include "cli/choose.h"

#include <limits.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/say.h"
#include "cli/suggest.h"

int choose_level(const char *name, enum level *ret)
{
        char list[LEVEL_LIST_SIZE];
        const char *names[_LEVEL_N];

        if (level_from_name(name, ret) >= 0)
                return 0;
        for (size_t i = 0; i < _LEVEL_N; ++i)
                names[i] = level_name((enum level)i);
        return cli_fail(CLI_USAGE, "there is no level \"%s\"; levels are %s%s", name,
                        level_list(LEVELS_ALL, list), suggest_text(name, names, _LEVEL_N));
}

int choose_way(const char *name, enum level *ret_level, enum executor *ret_executor)
{
        for (enum executor i = EXECUTOR_NONE + 1; i < _EXECUTOR_N; ++i)
                if (streq(name, executor_infos[i].level)) {
                        *ret_level = LEVEL_ASYNC;
                        *ret_executor = i;
                        return 0;
                }
        *ret_executor = EXECUTOR_NONE;
        return choose_level(name, ret_level);
}

int choose_workload(const char *name, enum workload_id *ret)
{
        char list[WORKLOAD_LIST_SIZE];
        const char *names[_WORKLOAD_N];
        enum level level;

        if (workload_from_name(name, ret) >= 0)
                return 0;
        workload_list(WORKLOADS_ALL, list);
        if (level_from_name(name, &level) >= 0)
                return cli_fail(CLI_USAGE,
                                "\"%s\" is a level where a workload is expected; "
                                "workloads are %s, and compare takes --levels %s",
                                name, list, name);
        for (size_t i = 0; i < _WORKLOAD_N; ++i)
                names[i] = workload_name((enum workload_id)i);
        if (strpbrk(name, "/:."))
                return cli_fail(CLI_USAGE,
                                "\"%s\" is an input where a workload is expected; name one of %s "
                                "first: words \"%s\"",
                                name, list, name);
        return cli_fail(CLI_USAGE, "there is no workload \"%s\"; workloads are %s%s", name, list,
                        suggest_text(name, names, _WORKLOAD_N));
}

int choose_job_number(const char *text, uint64_t *ret)
{
        if (parse_u64(text, strlen(text), INT64_MAX, ret) < 0)
                return cli_fail(CLI_USAGE,
                                "\"%s\" is not the number of a job; pppctl list shows them", text);
        return 0;
}

int choose_job(const struct args *args, uint64_t *ret)
{
        if (args->n_operands == 0)
                return cli_fail(CLI_USAGE, "%s needs the number of a job; pppctl list shows them",
                                args->verb);
        if (args->n_operands > 1)
                return cli_fail(CLI_USAGE, "%s takes one job, so \"%s\" is too much", args->verb,
                                args->operands[1]);
        return choose_job_number(args->operands[0], ret);
}

int choose_nothing(const struct args *args)
{
        if (args->n_operands == 0)
                return 0;
        return cli_fail(CLI_USAGE,
                        "%s takes options only, so \"%s\" is too much; see pppctl help %s",
                        args->verb, args->operands[0], args->verb);
}

/* The path is made absolute, since pppd works in another directory. */
static int choose_ca_file(const char *path, char **ret)
{
        _cleanup_free_ char *absolute = realpath(path, NULL);

        if (!absolute)
                return cli_fail(CLI_USAGE, "cannot use the certificates of --ca-file %s: %s", path,
                                strerrordesc_np(errno));
        *ret = steal_ptr(absolute);
        return 0;
}

/* The spec gets copies of its own. */
static int choose_limits(const struct limits *from, struct limits *to)
{
        struct limits copy = *from;

        copy.cpus = from->cpus ? strdup(from->cpus) : NULL;
        copy.io = from->n_io ? calloc(from->n_io, sizeof(*copy.io)) : NULL;
        if ((from->cpus && !copy.cpus) || (from->n_io && !copy.io)) {
                free(copy.cpus);
                free(copy.io);
                return cli_no_memory();
        }
        if (from->n_io)
                memcpy(copy.io, from->io, from->n_io * sizeof(*copy.io));
        *to = copy;
        return 0;
}

static int choose_weights(const struct args *args, struct spec *spec)
{
        if (args->n_thread_weights == 0)
                return 0;
        spec->thread_weights = calloc(args->n_thread_weights, sizeof(*spec->thread_weights));
        if (!spec->thread_weights)
                return cli_no_memory();
        memcpy(spec->thread_weights, args->thread_weights,
               args->n_thread_weights * sizeof(*spec->thread_weights));
        spec->n_thread_weights = args->n_thread_weights;
        return 0;
}

int choose_spec(const struct args *args, enum level level, enum workload_id workload,
                struct spec *ret)
{
        struct spec spec = {
                .level = level,
                .workload = workload,
                .workers = args->workers,
                .loops = args->loops,
                .executor = args->executor,
                .executor_workers = args->executor_workers,
                .gil = args_has(args, OPTION_GIL),
                .threaded = args_has(args, OPTION_THREADED) || args->n_thread_weights > 0,
                .timeout_ns = args->timeout_ns,
                .cpu_time_max_ns = args->cpu_time_max_ns,
                .has_nice = args_has(args, OPTION_NICE),
                .nice = args->nice,
                .task_timeout_ns = args->task_timeout_ns,
                .retries = args->retries,
                .halt = args->halt,
                .delay_ns = args->delay_ns,
        };
        int r = args->ca_file ? choose_ca_file(args->ca_file, &spec.ca_file) : 0;

        if (r == 0)
                r = choose_weights(args, &spec);
        if (r == 0)
                r = choose_limits(&args->limits, &spec.limits);
        if (r == 0)
                r = choose_limits(&args->worker_limits, &spec.worker_limits);
        if (r == 0)
                r = choose_limits(&args->task_limits, &spec.task_limits);
        if (r)
                spec_deinit(&spec);
        else
                *ret = spec;
        return r;
}

int choose_no_command(const struct args *args, enum workload_id workload)
{
        enum option i = 0;

        if (workload_info(workload)->runs_commands || !(args->given & OPTIONS_COMMAND))
                return 0;
        while (!(args->given & OPTIONS_COMMAND & OPTION_BIT(i)))
                ++i;
        return cli_fail(CLI_USAGE,
                        "--%s is about commands, and the workload %s runs none; leave it out, or "
                        "run one: pppctl run async exec -- COMMAND",
                        option_info(i).name, workload_name(workload));
}

int choose_run(const struct args *args, struct spec *ret)
{
        enum workload_id workload = WORKLOAD_WORDS;
        char levels[LEVEL_LIST_SIZE], call[64];
        enum level level;
        int r;

        if (args->n_operands == 0)
                return cli_fail(CLI_USAGE, "run needs a level, one of %s: pppctl run async",
                                level_list(LEVELS_ALL, levels));
        r = choose_level(args->operands[0], &level);
        if (r == 0 && args->n_operands > 1)
                r = choose_workload(args->operands[1], &workload);
        if (r == 0)
                r = choose_no_command(args, workload);
        if (r)
                return r;
        r = choose_spec(args, level, workload, ret);
        if (r == 0 && workload_info(workload)->runs_commands) {
                snprintf(call, sizeof(call), "run %s exec", level_name(level));
                r = command_choose(args, call, 2, &ret->command);
                if (r)
                        spec_deinit(ret);
        }
        return r;
}
