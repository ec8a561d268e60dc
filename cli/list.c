/* `pppctl list`: the jobs pppd knows, newest first. */

#include <inttypes.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "cli/times.h"
#include "cli/units.h"
#include "cli/verbs.h"

#define LIMIT_DEFAULT 20

/* The list while its jobs arrive. */
struct listing {
        uint64_t limit; /* 0: none */
        uint64_t n;
        bool more; /* there are jobs past the limit */
        struct output *output;
        struct table table;
};

static void add_columns(struct table *table)
{
        static const struct {
                const char *name;
                bool left;
        } columns[] = {
                { "JOB", false },     { "STATE", true },  { "LEVEL", true },
                { "WORKLOAD", true }, { "TASKS", false }, { "DONE", false },
                { "FAILED", false },  { "WALL", false },  { "SUBMITTED", true },
        };

        for (size_t i = 0; i < ARRAY_SIZE(columns); ++i)
                table_add_column(table, columns[i].name, columns[i].left);
}

/* "failed (oom-killed)": the reason's name, without its details. */
static void add_state(struct table *table, json_t *job)
{
        const char *reason = job_text(job, "reason");

        /* The reason "cancelled" says no more than the state does. */
        if (*reason && !streq(reason, "cancelled"))
                table_add(table, "%s (%.*s)", job_text(job, "state"), (int)strcspn(reason, ":"),
                          reason);
        else
                table_add(table, "%s", job_text(job, "state"));
}

static void add_job(struct table *table, json_t *job)
{
        json_t *spec = json_object_get(job, "spec");
        char wall[UNITS_SIZE] = "-", submitted[TIMES_SIZE];
        double seconds;

        if (summary_number(job_summary(job), "wall_seconds", &seconds))
                units_seconds(seconds, wall);
        table_add(table, "%" PRIu64, job_number(job));
        add_state(table, job);
        table_add(table, "%s", job_text(spec, "level"));
        table_add(table, "%s", job_text(spec, "workload"));
        table_add(table, "%" PRIu64, job_count(job, "tasks_total"));
        table_add(table, "%" PRIu64, job_count(job, "tasks_done"));
        table_add(table, "%" PRIu64, job_count(job, "tasks_failed"));
        table_add(table, "%s", wall);
        /* Brief, so that it fits 80 columns; show has all of it. */
        table_add(table, "%s", times_brief(job_text(job, "submitted_at"), time(NULL), submitted));
}

static int take_job(struct listing *listing, json_t *job)
{
        if (listing->limit && listing->n == listing->limit) {
                listing->more = true;
                return 0;
        }
        ++listing->n;
        if (*job_text(job, "omitted"))
                cli_note("job %" PRIu64 " is not listed in full: pppd left out %s", job_number(job),
                         job_text(job, "omitted"));
        if (!listing->output->json) {
                add_job(&listing->table, job);
                return 0;
        }
        return output_json(listing->output, job, JSON_COMPACT);
}

/* Asks for one job more than is shown, to learn whether there are more. */
static int ask(struct pppd *pppd, uint64_t limit)
{
        json_t *parameters =
                limit ? json_pack("{s:I}", "limit", (json_int_t)limit + 1) : json_object();

        return pppd_call(pppd, "list the jobs", "List", parameters, true, -EBADF);
}

/* Where no job is known, there is one reply, without a job. */
static int take_all(struct pppd *pppd, struct listing *listing)
{
        bool continues = true;

        while (continues) {
                _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
                json_t *job;
                int r = pppd_receive(pppd, &reply);

                if (r)
                        return r;
                continues = reply.continues;
                job = json_object_get(reply.parameters, "job");
                if (json_is_object(job))
                        r = take_job(listing, job);
                if (r)
                        return r;
        }
        return 0;
}

static int print(const struct args *args, struct listing *listing)
{
        _cleanup_free_ char *text = NULL;
        int r;

        if (listing->output->json)
                return output_finish(listing->output);
        r = table_print(&listing->table, table_room(), false,
                        progress_use_color(args->color, STDOUT_FILENO), &text);
        if (r)
                return r;
        output_text(listing->output, text);
        output_text(listing->output, "\n");
        r = output_finish(listing->output);
        if (r == 0 && listing->n == 0)
                cli_note("no jobs yet; start one: pppctl run async");
        if (r == 0 && listing->more)
                cli_note("there are older jobs; -n N shows N, -n 0 all");
        return r;
}

static int run(const struct args *args)
{
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        struct output output;
        struct listing listing = {
                .limit = args_has(args, OPTION_JSON) ? 0 : LIMIT_DEFAULT,
                .output = &output,
                .table = TABLE_NULL,
        };
        int r = choose_nothing(args);

        if (args_has(args, OPTION_LIMIT))
                listing.limit = MIN(args->limit, (uint64_t)INT64_MAX - 1);
        output_init(&output, args_has(args, OPTION_JSON));
        add_columns(&listing.table);
        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r == 0)
                r = ask(&pppd, listing.limit);
        if (r == 0)
                r = take_all(&pppd, &listing);
        if (r == 0)
                r = print(args, &listing);
        table_deinit(&listing.table);
        return r;
}

const struct verb verb_list = {
        .name = "list",
        .synopsis = "",
        .what = "list jobs, newest first",
        .text = "Lists the newest 20 jobs, those that have ended included. With --json:\n"
                "all jobs, one JSON object a line.",
        .examples = "  pppctl list -n 5\n"
                    "  pppctl list --json | jq -r 'select(.state == \"failed\").job'",
        .options = OPTION_BIT(OPTION_LIMIT) | OPTION_BIT(OPTION_JSON),
        .run = run,
};
