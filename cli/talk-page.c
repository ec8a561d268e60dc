#include "cli/talk.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include "cli/choose.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/timeline-jobs.h"
#include "cli/units.h"

#define OPERANDS_MAX 8 /* with more inputs, a pipe makes them */
#define SHOWN_MAX    8 /* with more tasks, their results are not printed */

static void bold(struct talk *talk, const char *text)
{
        output_text(&talk->output, talk->color ? "\033[1m" : "");
        output_text(&talk->output, text);
        output_text(&talk->output, talk->color ? "\033[0m" : "");
}

void talk_line(struct talk *talk, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list args;

        if (talk->json)
                return;
        va_start(args, format);
        if (vasprintf(&text, format, args) >= 0)
                output_line(&talk->output, "%s", text);
        else
                text = NULL;
        va_end(args);
}

void talk_gap(struct talk *talk)
{
        if (!talk->json)
                output_text(&talk->output, "\n");
}

static uint64_t count_inputs(const struct talk_command *command)
{
        uint64_t n = 0;

        for (size_t i = 0; i < TALK_INPUTS_MAX && command->inputs[i].times; ++i)
                n += command->inputs[i].times;
        return n;
}

/* Writes how a shell makes the inputs: "{ yes a | head -n 100; yes b | head -n 9; } | ". */
static void write_pipe(const struct talk_command *command, FILE *to)
{
        bool several = command->inputs[1].times;

        fputs(several ? "{ " : "", to);
        for (size_t i = 0; i < TALK_INPUTS_MAX && command->inputs[i].times; ++i)
                fprintf(to, "%syes %s | head -n %u", i > 0 ? "; " : "", command->inputs[i].input,
                        command->inputs[i].times);
        fputs(several ? "; } | " : " | ", to);
}

static void write_command(const struct talk_command *command, FILE *to)
{
        bool piped = count_inputs(command) > OPERANDS_MAX;

        if (piped)
                write_pipe(command, to);
        fprintf(to, "pppctl %s%s", command->arguments, piped ? " --from -" : "");
        for (size_t i = 0; !piped && i < TALK_INPUTS_MAX; ++i)
                for (unsigned k = 0; k < command->inputs[i].times; ++k)
                        fprintf(to, " %s", command->inputs[i].input);
}

/* Returns NULL without memory. */
static char *command_text(const struct talk_command *command)
{
        char *text = NULL;
        size_t n;
        FILE *to = open_memstream(&text, &n);

        if (!to)
                return NULL;
        write_command(command, to);
        if (fclose(to) == 0)
                return text;
        free(text);
        return NULL;
}

/* A path by which the inputs can be read, one a line; @ret_fd keeps them. */
static int make_inputs(const struct talk_command *command, int *ret_fd, char path[static 32])
{
        _cleanup_close_ int fd = memfd_create("inputs", MFD_CLOEXEC);
        FILE *to;

        if (fd < 0)
                return cli_fail(CLI_FAILED, "cannot make the inputs: memfd_create: %s",
                                strerrordesc_np(errno));
        snprintf(path, 32, "/proc/self/fd/%d", fd);
        to = fopen(path, "we");
        if (!to)
                return cli_fail(CLI_FAILED, "cannot make the inputs: open %s: %s", path,
                                strerrordesc_np(errno));
        for (size_t i = 0; i < TALK_INPUTS_MAX; ++i)
                for (unsigned k = 0; k < command->inputs[i].times; ++k)
                        fprintf(to, "%s\n", command->inputs[i].input);
        if (fclose(to) != 0)
                return cli_fail(CLI_FAILED, "cannot make the inputs: write: %s",
                                strerrordesc_np(errno));
        *ret_fd = steal_fd(&fd);
        return 0;
}

/* The words of "run async mix", after the program's name. */
static int parse(char *text, struct args *args)
{
        char *argv[32] = { (char *)"pppctl" };
        int argc = 1;

        for (char *word; (word = strsep(&text, " ")); ++argc) {
                assert(argc + 1 < (int)ARRAY_SIZE(argv));
                argv[argc] = word;
        }
        return args_parse(argc, argv, args);
}

/*
 * What a machine may lack is no error of the talk's: a level (io_uring, Redis) or a limit (a
 * controller of its cgroups).
 */
static int submit(struct talk *talk, const struct launch *launch, const struct spec *spec,
                  uint64_t *ret_job)
{
        static const char *const lacking[] = { "LevelUnavailable", "LimitUnavailable" };
        bool limited = spec->limits.given || spec->worker_limits.given;
        int r;

        talk->pppd.tolerated = lacking[limited];
        r = launch_submit(launch, spec, ret_job);
        talk->pppd.tolerated = NULL;
        if (r == CLI_FAILED && talk->pppd.refusal)
                return talk_lacks(talk, "%s; %s", job_text(talk->pppd.refusal, "why"),
                                  job_text(talk->pppd.refusal, "hint"));
        return r;
}

static int run_job(struct talk *talk, const struct talk_command *command, const struct spec *spec,
                   struct talk_run *run, bool quiet)
{
        const struct launch launch = {
                .pppd = &talk->pppd,
                .source = &run->source,
                .output = &talk->output,
                .show = quiet || talk->json || run->source.given.n > SHOWN_MAX ? FOLLOW_NOTHING
                                                                               : FOLLOW_ALL,
                .quiet = true,
        };
        uint64_t job = 0;
        int r;

        output_take_workload(&talk->output, spec->workload);
        talk->output.failures_are_data = true;
        r = submit(talk, &launch, spec, &job);
        if (r || job == 0)
                return r;
        if (command->meanwhile)
                r = command->meanwhile(talk, job);
        if (r)
                return launch_leave(&launch, job) ?: r;
        return launch_follow(&launch, job, &run->outcome);
}

static int run_arguments(struct talk *talk, const struct talk_command *command,
                         struct talk_run *run, bool quiet)
{
        _cleanup_(args_deinit) struct args args = ARGS_NULL;
        _cleanup_(spec_deinit) struct spec spec = SPEC_NULL;
        _cleanup_free_ char *words = strdup(command->arguments);
        _cleanup_close_ int inputs = -EBADF;
        char path[32], *from = NULL;
        int r;

        if (!words)
                return cli_no_memory();
        r = parse(words, &args);
        if (r == 0)
                r = choose_run(&args, &spec);
        if (r == 0 && count_inputs(command) > 0) {
                r = make_inputs(command, &inputs, path);
                from = path;
        }
        if (r == 0)
                r = source_open(&run->source, spec.workload, from, NULL, 0);
        return r ? r : run_job(talk, command, &spec, run, quiet);
}

static void print_end(struct talk *talk, json_t *job)
{
        char wall[UNITS_SIZE], label[64];
        double v;
        int n;

        if (streq(job_text(job, "state"), "done") &&
            summary_number(job_summary(job), "wall_seconds", &v)) {
                talk_line(talk, "  job %" PRIu64 ": %" PRIu64 " done, %" PRIu64 " failed, in %s",
                          job_number(job), job_count(job, "tasks_done"),
                          job_count(job, "tasks_failed"), units_seconds(v, wall));
        } else if (!talk->json) {
                n = snprintf(label, sizeof(label), "  job %" PRIu64 " %.20s: ", job_number(job),
                             job_text(job, "state"));
                output_wrapped(&talk->output, label, (size_t)n, job_reason(job), talk->width);
        }
}

int talk_run(struct talk *talk, const struct talk_command *command, bool quiet)
{
        _cleanup_free_ char *text = command_text(command);
        struct talk_run *run = &talk->runs[talk->n_runs];
        int r;

        assert(talk->n_runs < TALK_RUNS_MAX);
        *run = (struct talk_run){ SOURCE_NULL, OUTCOME_NULL };
        ++talk->n_runs;
        if (!text)
                return cli_no_memory();
        if (!quiet) {
                talk_gap(talk);
                talk_line(talk, "$ %s", text);
        }
        r = run_arguments(talk, command, run, quiet);
        if (r || !run->outcome.job)
                return r;
        if (quiet)
                return 0;
        print_end(talk, run->outcome.job);
        r = json_array_append_new(talk->commands, json_pack("{s:s, s:O}", "command", text, "job",
                                                            run->outcome.job));
        return r < 0 ? cli_no_memory() : 0;
}

double talk_number(const struct talk *talk, size_t i, const char *path)
{
        json_t *job = talk->runs[i].outcome.job;
        double v;

        return job && summary_number(job_summary(job), path, &v) ? v : NAN;
}

double talk_service_sum(const struct talk *talk, size_t i)
{
        const struct results *results = &talk->runs[i].outcome.results;
        struct ppp_record record;
        uint64_t sum = 0;

        for (uint64_t k = 0; k < results->n_tasks; ++k)
                if (results_get(results, k, &record))
                        sum += record.end_ns - record.start_ns;
        return results->n_tasks > 0 ? (double)sum / NSEC_PER_SEC : NAN;
}

static int compare_times(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static bool begins_with(const char *text, size_t n, const char *prefix)
{
        return n >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

double talk_service_percentile(const struct talk *talk, size_t i, const char *prefix,
                               double percent)
{
        const struct talk_run *run = &talk->runs[i];
        _cleanup_free_ uint64_t *times = calloc(run->outcome.results.n_tasks + 1, sizeof(*times));
        struct ppp_record record;
        size_t n = 0, n_input;

        for (uint64_t k = 0; times && k < run->outcome.results.n_tasks; ++k)
                if (begins_with(inputs_get(&run->source.given, k, &n_input), n_input, prefix) &&
                    results_get(&run->outcome.results, k, &record))
                        times[n++] = record.end_ns - record.start_ns;
        if (n == 0)
                return NAN;
        qsort(times, n, sizeof(*times), compare_times);
        return (double)times[MIN((size_t)((double)n * percent / 100), n - 1)] / NSEC_PER_SEC;
}

static const char *value_text(enum metric_kind kind, double value, char text[UNITS_SIZE])
{
        switch (kind) {
        case METRIC_SECONDS:
                return units_seconds(value, text);
        case METRIC_BYTES:
                return units_bytes(value, text);
        case METRIC_RATIO:
                return units_ratio(value, text);
        case METRIC_RATE:
                return units_rate(value, text);
        default:
                return units_count(value, text);
        }
}

void talk_fact(struct talk *talk, const char *name, enum metric_kind kind, double value,
               const char *label)
{
        char text[UNITS_SIZE];

        if (isnan(value))
                return;
        if (label && json_object_size(talk->facts) == 0)
                talk_gap(talk);
        if (label)
                talk_line(talk, "  %-52s %s", label, value_text(kind, value, text));
        if (json_object_set_new(talk->facts, name,
                                kind == METRIC_COUNT ? json_integer((json_int_t)value)
                                                     : json_real(value)) < 0)
                talk->no_memory = true;
}

int talk_lacks(struct talk *talk, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list args;
        int r;

        va_start(args, format);
        r = vasprintf(&text, format, args);
        va_end(args);
        if (r < 0) {
                text = NULL;
                return cli_no_memory();
        }
        if (!talk->json)
                output_wrapped(&talk->output, "  not shown: ", 13, text, talk->width);
        return json_array_append_new(talk->not_shown, json_string(text)) < 0 ? cli_no_memory() : 0;
}

int talk_saw(struct talk *talk, bool holds, const char *format, ...)
{
        va_list args;
        int r;

        va_start(args, format);
        r = vasprintf(&talk->saw, format, args);
        va_end(args);
        talk->holds = holds;
        if (r < 0)
                talk->saw = NULL;
        return r < 0 || talk->no_memory ? cli_no_memory() : 0;
}

static void print_heading(struct talk *talk, unsigned number, unsigned n)
{
        _cleanup_free_ char *heading = NULL;

        if (talk->json)
                return;
        if (asprintf(&heading, "%u of %u: %s (%s)", number, n, talk->chapter->title,
                     talk->chapter->name) < 0) {
                heading = NULL;
                return;
        }
        output_text(&talk->output, number > 1 ? "\n" : "");
        bold(talk, heading);
        output_text(&talk->output, "\n\n");
        output_wrapped(&talk->output, "", 0, talk->chapter->text, talk->width);
}

static void print_conclusion(struct talk *talk)
{
        const char *label = talk->holds ? "What you saw: " : "Not seen here: ";

        if (talk->json || !talk->saw)
                return;
        output_text(&talk->output, "\n");
        output_wrapped(&talk->output, label, strlen(label), talk->saw, talk->width);
}

static int draw(struct talk *talk)
{
        struct timeline_choice choices[TALK_RUNS_MAX] = { 0 };
        size_t n = 0;

        for (size_t i = 0; i < talk->n_runs; ++i)
                if (talk->chapter->drawn & 1U << i && talk->runs[i].outcome.job)
                        choices[n++].job = job_number(talk->runs[i].outcome.job);
        if (n == 0 || talk->json)
                return 0;
        talk_gap(talk);
        return timeline_print(&talk->pppd, talk->args, choices, n, &talk->output);
}

int talk_show(struct talk *talk, const struct talk_chapter *chapter, unsigned number, unsigned n)
{
        int r = 0;

        talk_page_deinit(talk);
        talk->chapter = chapter;
        talk->facts = json_object();
        talk->commands = json_array();
        talk->not_shown = json_array();
        if (!talk->facts || !talk->commands || !talk->not_shown)
                return cli_no_memory();
        print_heading(talk, number, n);
        for (size_t i = 0; r == 0 && chapter->commands && chapter->commands[i].arguments; ++i)
                r = talk_run(talk, &chapter->commands[i], false);
        if (r == 0)
                r = draw(talk);
        if (r == 0)
                r = chapter->told(talk);
        if (r == 0)
                print_conclusion(talk);
        return r;
}

json_t *talk_page_json(const struct talk *talk)
{
        return json_pack("{s:s, s:s, s:b, s:s?, s:O, s:O, s:O}", "chapter", talk->chapter->name,
                         "title", talk->chapter->title, "holds", talk->holds, "saw", talk->saw,
                         "facts", talk->facts, "commands", talk->commands, "not_shown",
                         talk->not_shown);
}

void talk_forget_runs(struct talk *talk)
{
        for (size_t i = 0; i < talk->n_runs; ++i) {
                outcome_deinit(&talk->runs[i].outcome);
                source_close(&talk->runs[i].source);
        }
        talk->n_runs = 0;
}

void talk_page_deinit(struct talk *talk)
{
        talk_forget_runs(talk);
        json_decref(talk->facts);
        json_decref(talk->commands);
        json_decref(talk->not_shown);
        talk->facts = talk->commands = talk->not_shown = NULL;
        free(talk->saw);
        talk->saw = NULL;
        talk->holds = false;
}
