#include "cli/timeline-jobs.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>

#include "cli/follow.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/timeline.h"

#define WIDTH_DEFAULT 80

/* A job while it is drawn. */
struct fetched {
        json_t *job; /* owned */
        struct results results;
};

static void forget(struct fetched *fetched, size_t n)
{
        for (size_t i = 0; i < n; ++i) {
                json_decref(fetched[i].job);
                results_unmap(&fetched[i].results);
        }
        free(fetched);
}

static bool terminal_takes_utf8(void)
{
        locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
        bool utf8 = locale && streq(nl_langinfo_l(CODESET, locale), "UTF-8");

        if (locale)
                freelocale(locale);
        return utf8;
}

size_t timeline_width(void)
{
        const char *columns = getenv("COLUMNS");
        size_t width = WIDTH_DEFAULT;
        struct winsize ws;
        uint64_t v;

        if (columns && parse_u64(columns, strlen(columns), TIMELINE_WIDTH_MAX, &v) >= 0)
                width = v;
        else if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col)
                width = ws.ws_col;
        return MIN(MAX(width, (size_t)TIMELINE_WIDTH_MIN), (size_t)TIMELINE_WIDTH_MAX);
}

static struct timeline_style style_of(const struct args *args)
{
        return (struct timeline_style){
                .width = timeline_width(),
                .utf8 = !args_has(args, OPTION_ASCII) && terminal_takes_utf8(),
                .color = progress_use_color(args->color, STDOUT_FILENO),
        };
}

static bool has_ended(json_t *job)
{
        const char *state = job_text(job, "state");

        return streq(state, "done") || streq(state, "failed") || streq(state, "cancelled");
}

static int fetch(struct pppd *pppd, uint64_t job, struct fetched *ret)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_close_ int fd = -EBADF;
        json_t *told;
        int r;

        pppd->job = job;
        r = pppd_ask(pppd, "get the results of the job", "Results", pppd_about_job(job), -EBADF,
                     &reply);
        if (r == 0)
                r = pppd_reply_job(pppd, &reply, &told);
        if (r == 0)
                r = pppd_reply_fd(pppd, &reply, "results_fd", &fd);
        if (r)
                return r;
        ret->job = json_incref(told);
        r = follow_map(fd, &ret->results);
        if (r)
                return r;
        if (follow_has_begun(&ret->results))
                return 0;
        ret->results.n_tasks = 0; /* the records may not be touched */
        if (!streq(job_text(told, "state"), "queued"))
                return 0;
        return cli_fail(CLI_FAILED,
                        "cannot draw the timeline of job %" PRIu64
                        ": it is in the queue and has not begun; pppctl wait %" PRIu64
                        " waits for its end",
                        job, job);
}

static uint64_t since_epoch(const struct results *results, uint64_t ns)
{
        int64_t at = (int64_t)(ns - (uint64_t)results->header->epoch_ns);

        return at > 0 ? (uint64_t)at : 0;
}

/* The facts that are known by name here; the daemon may be newer than we are. */
static int describe(const struct fetched *fetched, const char *note, struct timeline_job *ret)
{
        json_t *spec = json_object_get(fetched->job, "spec"), *summary = job_summary(fetched->job);
        const struct ppp_results_header *header = fetched->results.header;
        uint64_t ended = header->runner_end_ns ?: now_monotonic();
        double v;

        *ret = (struct timeline_job){
                .number = job_number(fetched->job),
                .n_workers = job_count(summary ?: spec, "workers"),
                .wall_seconds = summary_number(summary, "wall_seconds", &v) ? v : -1,
                .queued_seconds = summary_number(summary, "start_seconds", &v) ? v : -1,
                .state = streq(job_text(fetched->job, "state"), "done")
                                 ? NULL
                                 : job_text(fetched->job, "state"),
                .note = note,
                .results = &fetched->results,
                .begin_ns = header->runner_start_ns
                                    ? since_epoch(&fetched->results, header->runner_start_ns)
                                    : UINT64_MAX,
        };
        if (header->runner_end_ns || !has_ended(fetched->job))
                ret->end_ns = since_epoch(&fetched->results, ended);
        if (level_from_name(job_text(spec, "level"), &ret->level) < 0 ||
            workload_from_name(job_text(spec, "workload"), &ret->workload) < 0)
                return cli_fail(CLI_FAILED,
                                "cannot draw the timeline of job %" PRIu64
                                ": pppctl " PPPCTL_VERSION
                                " knows no level \"%s\" or no workload \"%s\"",
                                ret->number, job_text(spec, "level"), job_text(spec, "workload"));
        ret->name = level_name(ret->level);
        for (enum executor i = EXECUTOR_NONE + 1; i < _EXECUTOR_N; ++i)
                if (streq(job_text(spec, "executor"), executor_infos[i].name))
                        ret->name = executor_infos[i].level;
        return 0;
}

static int draw(const struct timeline_job *jobs, size_t n, const struct timeline_style *style,
                struct output *output)
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        int r = file ? timeline_draw(jobs, n, style, file) : -ENOMEM;

        if (file && (fclose(file) != 0 || r < 0))
                r = -ENOMEM;
        if (r < 0)
                return cli_no_memory();
        r = follow_check_mapped();
        if (r == 0)
                output_text(output, text);
        return r;
}

int timeline_print(struct pppd *pppd, const struct args *args,
                   const struct timeline_choice *choices, size_t n, struct output *output)
{
        struct timeline_style style = style_of(args);
        _cleanup_free_ struct timeline_job *jobs = calloc(MAX(n, (size_t)1), sizeof(*jobs));
        struct fetched *fetched = calloc(MAX(n, (size_t)1), sizeof(*fetched));
        int r = jobs && fetched ? 0 : cli_no_memory();

        for (size_t i = 0; r == 0 && i < n; ++i) {
                r = fetch(pppd, choices[i].job, &fetched[i]);
                if (r == 0)
                        r = describe(&fetched[i], choices[i].note, &jobs[i]);
        }
        if (r == 0)
                r = draw(jobs, n, &style, output);
        if (fetched)
                forget(fetched, n);
        return r;
}
