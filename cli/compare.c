/* `pppctl compare`: the same inputs at each level, one after the other, in one table. */

#include "cli/compare.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/command.h"
#include "cli/launch.h"
#include "cli/reference.h"
#include "cli/say.h"
#include "cli/signals.h"
#include "cli/summary.h"
#include "cli/timeline-jobs.h"
#include "cli/verbs.h"

#define SHOWN_MAX    20 /* with more inputs, only failures are printed */
#define DISAGREE_MAX 5  /* at most this many disagreements are printed one by one */

struct compare {
        const struct args *args;
        struct pppd pppd;
        struct source source;
        struct output output;
        struct comparison comparison;
        struct reference reference;
        enum command_input input; /* of commands */
        bool wrong;               /* a task failed, a level did, or levels disagree */
};

static bool runs_commands(const struct compare *compare)
{
        return workload_info(compare->comparison.workload)->runs_commands;
}

static int add_level(struct comparison *comparison, enum level level, enum executor executor)
{
        struct contender *contender = &comparison->contenders[comparison->n];

        for (size_t i = 0; i < comparison->n; ++i)
                if (comparison->contenders[i].level == level &&
                    comparison->contenders[i].executor == executor)
                        return cli_fail(CLI_USAGE, "--levels: %s is there twice",
                                        contender_name(&comparison->contenders[i]));
        contender->level = level;
        contender->executor = executor;
        contender->runs = json_array();
        contender->unfinished = json_array();
        if (!contender->runs || !contender->unfinished) {
                json_decref(contender->runs);
                json_decref(contender->unfinished);
                return cli_no_memory();
        }
        ++comparison->n;
        return 0;
}

/* Not every pppd has a Redis; to lack one is an error only where the user named the level. */
static int add_all_levels(struct comparison *comparison)
{
        int r = 0;

        for (enum level i = 0; r == 0 && i < _LEVEL_N; ++i) {
                r = add_level(comparison, i, EXECUTOR_NONE);
                comparison->contenders[i].optional = !level_has(i, LEVEL_LOCAL);
        }
        return r;
}

static int choose_levels(const char *list, struct comparison *comparison)
{
        _cleanup_free_ char *copy = NULL;
        char *at;
        int r = 0;

        if (!list)
                return add_all_levels(comparison);
        at = copy = strdup(list);
        if (!copy)
                return cli_no_memory();
        while (r == 0 && at) {
                const char *name = strsep(&at, ",");
                enum executor executor;
                enum level level;

                r = choose_way(name, &level, &executor);
                if (r == 0)
                        r = add_level(comparison, level, executor);
        }
        return r;
}

#define CALL   "compare exec"
#define N_CALL 1

/* What is printed is thrown away: it would be printed once for each level. */
static int command_of(const struct compare *compare, struct command *ret)
{
        int r = command_choose(compare->args, CALL, N_CALL, ret);

        if (r)
                return r;
        ret->no_output = true;
        ret->input = compare->input;
        return command_surround(compare->args, &compare->pppd, ret);
}

/* An option that only some levels have applies to these. */
static int spec_of(const struct compare *compare, const struct contender *contender,
                   struct spec *ret)
{
        int r = choose_spec(compare->args, contender->level, compare->comparison.workload, ret);

        if (r)
                return r;
        if (contender->executor)
                ret->executor = contender->executor;
        spec_leave_out(ret);
        return runs_commands(compare) ? command_of(compare, &ret->command) : 0;
}

/* What becomes of a command, as one number; 0: it is done. */
static uint64_t pack_end(const struct ppp_record *record)
{
        if (record->state == PPP_STATE_DONE)
                return 0;
        return (uint64_t)record->reason << 32 | (uint32_t)record->detail;
}

static char *describe_end(uint64_t end)
{
        return end == 0 ? strdup("exit 0")
                        : reason_describe((enum ppp_reason)(end >> 32), (int32_t)(uint32_t)end);
}

static void say_other_end(const char *input, size_t n, const char *level, uint64_t here,
                          const struct first_value *first)
{
        _cleanup_free_ char *there = describe_end(first->value), *end = describe_end(here);

        cli_fail(CLI_FAILED, "levels disagree on \"%.*s\": %s says %s, %s %s", (int)n, input,
                 first->level, there ?: "?", level, end ?: "?");
}

static void say_disagreement(const struct compare *compare, uint64_t i, const char *level,
                             uint64_t here, const struct first_value *first)
{
        size_t n;
        const char *input = inputs_get(&compare->source.given, i, &n);

        if (runs_commands(compare)) {
                say_other_end(input, MIN(n, (size_t)200), level, here, first);
                return;
        }
        cli_fail(CLI_FAILED, "levels disagree on \"%.*s\": %s says %" PRIu64 ", %s %" PRIu64,
                 (int)MIN(n, (size_t)200), input, first->level, first->value, level, here);
}

/*
 * Only values are compared, and of commands how they ended. Failures are printed as such, and the
 * values of a job that was cancelled later are true.
 */
static int check_agreement(struct compare *compare, const char *level,
                           const struct results *results)
{
        struct ppp_record record;

        for (uint64_t i = 0; i < results->n_tasks; ++i) {
                const struct first_value *other;
                uint64_t value;

                if (!results_get(results, i, &record) ||
                    (record.state != PPP_STATE_DONE && !runs_commands(compare)))
                        continue;
                value = runs_commands(compare) ? pack_end(&record) : record.value;
                other = reference_check(&compare->reference, i, level, value);
                if (other && compare->comparison.n_disagree++ < DISAGREE_MAX)
                        say_disagreement(compare, i, level, value, other);
        }
        return follow_check_mapped();
}

static bool prints_results(const struct compare *compare)
{
        return !args_has(compare->args, OPTION_JSON) && compare->source.given.n <= SHOWN_MAX &&
               !runs_commands(compare);
}

static void print_heading(struct compare *compare, const char *level, bool first)
{
        bool color = progress_use_color(compare->args->color, STDOUT_FILENO);

        output_text(&compare->output, first ? "" : "\n");
        output_text(&compare->output, color ? "\033[1m" : "");
        output_text(&compare->output, level);
        output_text(&compare->output, color ? "\033[0m\n" : "\n");
}

static void print_count(struct compare *compare, json_t *job)
{
        output_line(&compare->output, "%" PRIu64 " task%s done, %" PRIu64 " failed",
                    job_count(job, "tasks_done"), plural(job_count(job, "tasks_done")),
                    job_count(job, "tasks_failed"));
}

/* A job that was cancelled or failed does not show what its level costs, so it is kept apart. */
static int keep_unfinished(struct contender *contender, json_t *job)
{
        json_t *why = json_pack("{s:I, s:s, s:s}", "job", (json_int_t)job_number(job), "state",
                                job_text(job, "state"), "reason", job_text(job, "reason"));

        return json_array_append_new(contender->unfinished, why) < 0 ? cli_no_memory() : 0;
}

static int keep_summary(struct contender *contender, json_t *job)
{
        if (!job_summary(job))
                return cli_fail(CLI_FAILED,
                                "job %" PRIu64 " at the level %s has no summary; see pppd's log",
                                job_number(job), contender_name(contender));
        return json_array_append(contender->runs, job_summary(job)) < 0 ? cli_no_memory() : 0;
}

static int take_outcome(struct compare *compare, struct contender *contender, unsigned round,
                        struct outcome *outcome)
{
        json_t *job = outcome->job;
        bool done = streq(job_text(job, "state"), "done");
        int r;

        if (round == 0 && !args_has(compare->args, OPTION_JSON) && !prints_results(compare))
                print_count(compare, job);
        if (job_status(job) != CLI_OK)
                compare->wrong = true;
        if (!done)
                summary_say(job);
        r = check_agreement(compare, contender_name(contender), &outcome->results);
        if (r)
                return r;
        return done ? keep_summary(contender, job) : keep_unfinished(contender, job);
}

static int leave_out(struct contender *contender, const char *why, const char *hint)
{
        if (asprintf(&contender->left_out, "%s; %s", why, hint) < 0) {
                contender->left_out = NULL;
                return cli_no_memory();
        }
        return 0;
}

static bool serves(json_t *node, const char *workload)
{
        json_t *name;
        size_t i;

        json_array_foreach(json_object_get(node, "workloads"), i, name)
                if (json_is_string(name) && streq(json_string_value(name), workload))
                        return true;
        return false;
}

static bool is_served(json_t *nodes, const char *workload)
{
        json_t *node;
        size_t i;

        json_array_foreach(nodes, i, node)
                if (serves(node, workload))
                        return true;
        return false;
}

/*
 * A job at the level machines waits for a node, and for a Redis that does not answer. A user who
 * did not name that level would not know why nothing happens, so it is left out then. A private
 * Redis is started when it is needed.
 */
static int leave_out_unserved(struct compare *compare, struct contender *contender)
{
        const char *workload = workload_name(compare->comparison.workload);
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_free_ char *why = NULL;
        const char *redis;
        int r;

        compare->pppd.tolerated = "Failed";
        r = pppd_ask(&compare->pppd, "list the nodes", "Nodes", json_object(), -EBADF, &reply);
        compare->pppd.tolerated = NULL;
        if (r == CLI_FAILED && compare->pppd.refusal)
                return leave_out(contender, job_text(compare->pppd.refusal, "why"),
                                 "name it with --levels to wait for that");
        if (r)
                return r;
        redis = job_text(reply.parameters, "redis");
        if (!*redis || is_served(json_object_get(reply.parameters, "nodes"), workload))
                return 0;
        if (asprintf(&why, "no node at %s takes %s", redis, workload) < 0) {
                why = NULL;
                return cli_no_memory();
        }
        return leave_out(contender, why,
                         "make a machine one (serve = yes in section [machines] of pppctl.conf), "
                         "or name the level with --levels to wait for one");
}

/*
 * This level cannot run here; the others may. The reason was printed, or will be in the report.
 */
static int take_refusal(struct compare *compare, struct contender *contender)
{
        json_t *refusal = compare->pppd.refusal;

        contender->refused = true;
        if (refusal)
                return leave_out(contender, job_text(refusal, "why"), job_text(refusal, "hint"));
        compare->wrong = true;
        return 0;
}

static int run_job(struct compare *compare, struct contender *contender, unsigned round,
                   const struct spec *spec)
{
        _cleanup_(outcome_deinit) struct outcome outcome = OUTCOME_NULL;
        const struct launch launch = {
                .pppd = &compare->pppd,
                .source = &compare->source,
                .output = &compare->output,
                .label = contender_name(contender),
                .ordered = true,
                .show = round > 0                 ? FOLLOW_NOTHING
                        : prints_results(compare) ? FOLLOW_ALL
                                                  : FOLLOW_FAILED,
                .quiet = args_has(compare->args, OPTION_QUIET),
        };
        uint64_t job;
        int r;

        compare->pppd.tolerated = contender->optional ? "LevelUnavailable" : NULL;
        r = launch_submit(&launch, spec, &job);
        compare->pppd.tolerated = NULL;
        if (r == CLI_FAILED && compare->pppd.refused)
                return take_refusal(compare, contender);
        if (r)
                return r;
        if (round == 0 && !args_has(compare->args, OPTION_JSON))
                print_heading(compare, contender_name(contender),
                              contender == compare->comparison.contenders);
        r = launch_follow(&launch, job, &outcome);
        return r ? r : take_outcome(compare, contender, round, &outcome);
}

static int run_level(struct compare *compare, struct contender *contender, unsigned round)
{
        _cleanup_(spec_deinit) struct spec spec = SPEC_NULL;
        int r;

        /* That it cannot run is printed once. */
        if (contender->refused || contender->left_out)
                return 0;
        if (contender->optional && compare->args->ca_file)
                return leave_out(
                        contender, "the nodes do not have the file of --ca-file",
                        "add that authority to the system's on each, and leave the option out");
        if (contender->optional && runs_commands(compare))
                return leave_out(contender, "nodes run no commands for others",
                                 "compare the other levels");
        r = spec_of(compare, contender, &spec);
        if (r == 0 && contender->optional && round == 0)
                r = leave_out_unserved(compare, contender);
        if (r || contender->left_out)
                return r;
        return run_job(compare, contender, round, &spec);
}

/* In rounds, so that a change of the machine's load affects all levels alike. */
static int run_all(struct compare *compare)
{
        unsigned rounds = args_has(compare->args, OPTION_RUNS) ? compare->args->runs : 1;

        if (reference_init(&compare->reference, compare->source.given.n) < 0)
                return cli_no_memory();
        for (unsigned round = 0; round < rounds; ++round) {
                for (size_t i = 0; i < compare->comparison.n; ++i) {
                        int r = run_level(compare, &compare->comparison.contenders[i], round);

                        if (r)
                                return r;
                }
        }
        return 0;
}

/* One job of each level: of several runs, that in the middle. */
static int draw_timelines(struct compare *compare)
{
        const struct comparison *comparison = &compare->comparison;
        struct timeline_choice choices[ARRAY_SIZE(comparison->contenders)];
        char notes[ARRAY_SIZE(comparison->contenders)][48];
        size_t n = 0;
        int r = pppd_refresh(&compare->pppd);

        for (size_t i = 0; i < comparison->n; ++i) {
                const struct contender *contender = &comparison->contenders[i];
                size_t n_runs = json_array_size(contender->runs);

                if (n_runs == 0)
                        continue;
                snprintf(notes[n], sizeof(notes[n]), "in the middle of %zu runs", n_runs);
                choices[n] = (struct timeline_choice){
                        .job = contender_middle_job(contender),
                        .note = n_runs > 1 ? notes[n] : NULL,
                };
                ++n;
        }
        if (r || n == 0)
                return r;
        output_text(&compare->output, "\n");
        return timeline_print(&compare->pppd, compare->args, choices, n, &compare->output);
}

static int report(struct compare *compare)
{
        const struct comparison *comparison = &compare->comparison;
        bool color = progress_use_color(compare->args->color, STDOUT_FILENO);
        int r = 0;

        if (comparison->n_disagree > DISAGREE_MAX)
                cli_fail(CLI_FAILED, "levels disagree on %" PRIu64 " values",
                         comparison->n_disagree);
        if (args_has(compare->args, OPTION_JSON)) {
                r = comparison_print_json(comparison, &compare->output);
        } else {
                output_text(&compare->output, "\n");
                r = comparison_print_table(comparison, color, &compare->output);
        }
        if (r == 0 && args_has(compare->args, OPTION_TIMELINE))
                r = draw_timelines(compare);
        if (r == 0)
                r = output_finish(&compare->output);
        if (r)
                return r;
        return compare->wrong || comparison->n_disagree > 0 ? CLI_FAILED : CLI_OK;
}

static int open_commands(struct compare *compare)
{
        _cleanup_(command_deinit) struct command command = COMMAND_NULL;
        int r = command_choose(compare->args, CALL, N_CALL, &command);

        if (r == 0)
                r = command_open_source(compare->args, &command, &compare->source);
        compare->input = command.input;
        if (r == 0 && compare->source.is_empty)
                r = cli_fail(CLI_USAGE, "there are no inputs to compare levels with");
        if (r == 0 && !args_has(compare->args, OPTION_QUIET))
                cli_note("what the commands print is thrown away");
        return r;
}

static int choose(struct compare *compare)
{
        const struct args *args = compare->args;
        enum workload_id workload = WORKLOAD_WORDS;
        size_t skip = MIN(args->n_operands, (size_t)1);
        int r;

        if (args_has(args, OPTION_TIMELINE) && args_has(args, OPTION_JSON))
                return cli_fail(CLI_USAGE,
                                "--timeline draws, and --json prints data for programs; leave one "
                                "of the two out");
        r = choose_levels(args->levels, &compare->comparison);
        if (r == 0 && args->n_operands > 0)
                r = choose_workload(args->operands[0], &workload);
        compare->comparison.workload = workload;
        if (r == 0)
                r = choose_no_command(args, workload);
        if (r == 0 && runs_commands(compare))
                r = open_commands(compare);
        else if (r == 0)
                r = source_open(&compare->source, workload, args->from, args->operands + skip,
                                args->n_operands - skip);
        compare->comparison.n_tasks = compare->source.given.n;
        return r;
}

static int run(const struct args *args)
{
        _cleanup_close_ int signal_fd = -EBADF;
        struct compare compare = {
                .args = args,
                .pppd = PPPD_NULL,
                .source = SOURCE_NULL,
                .reference = REFERENCE_NULL,
        };
        int r = choose(&compare);

        if (r == 0)
                r = pppd_open(&compare.pppd, args);
        if (r == 0)
                r = signals_open(&signal_fd);
        output_init(&compare.output, false);
        output_take_workload(&compare.output, compare.comparison.workload);
        compare.pppd.signal_fd = signal_fd;
        compare.pppd.return_ns = PPPD_RETURN_NS;
        compare.pppd.quiet = args_has(args, OPTION_QUIET);
        if (r == 0)
                r = run_all(&compare);
        if (r == 0)
                r = report(&compare);
        pppd_close(&compare.pppd);
        source_close(&compare.source);
        reference_deinit(&compare.reference);
        comparison_deinit(&compare.comparison);
        return r;
}

const struct verb verb_compare = {
        .name = "compare",
        .synopsis = "[WORKLOAD] [INPUT...] | exec -- COMMAND [::: INPUT...]",
        .operands = { OPERAND_WORKLOAD, OPERAND_INPUT },
        .what = "run the same at each level, show what each cost",
        .text = "Runs the same inputs at each level, one after the other, checks that all levels\n"
                "agree in every value, and shows in one table what each took. machines is left\n"
                "out where there is no Redis, unless --levels names it. With more than 20 inputs,\n"
                "results are counted instead of printed. Options that only some levels take\n"
                "(--gil, --threaded, --loops, --executor, --worker-memory-max and its like) mean\n"
                "those; --workers means all but serial and machines. Limits are of each job.\n"
                "async+threads is async with --executor threads, async+processes with processes.\n"
                "--timeline draws a job of each level below the table. Of commands (exec) it is\n"
                "checked that they end in the same way; what they print is thrown away.",
        .examples = "  pppctl compare\n"
                    "  pppctl compare sum --levels serial,threads,processes --runs 5\n"
                    "  pppctl compare mix --levels async,async+threads,async+processes\n"
                    "  pppctl compare sleep --timeline\n"
                    "  pppctl compare exec --from files.txt -- xz -9k --stdout {}\n"
                    "  pppctl compare words --from urls.txt --json | jq '.levels[].speed_up_ratio'",
        .options = OPTIONS_JOB | OPTION_BIT(OPTION_LEVELS) | OPTION_BIT(OPTION_RUNS) |
                   OPTION_BIT(OPTION_TIMELINE) | OPTION_BIT(OPTION_ASCII) |
                   OPTION_BIT(OPTION_ORDERED) | OPTION_BIT(OPTION_JSON) |
                   (OPTIONS_COMMAND & ~OPTIONS_OUTPUT),
        .run = run,
};
