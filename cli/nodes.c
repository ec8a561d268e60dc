/* `pppctl nodes`: the nodes of the level machines. */

#include <inttypes.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "cli/units.h"
#include "cli/verbs.h"

static void add_columns(struct table *table)
{
        static const struct {
                const char *name;
                bool left;
        } columns[] = {
                { "NODE", true },     { "VERSION", true }, { "LEVEL", true },
                { "WORKERS", false }, { "LOAD", false },   { "LAST SEEN", false },
                { "DONE", false },    { "FAILED", false }, { "WORKLOADS", true },
        };

        for (size_t i = 0; i < ARRAY_SIZE(columns); ++i)
                table_add_column(table, columns[i].name, columns[i].left);
}

static void add_workloads(struct table *table, json_t *list)
{
        char text[256] = "";
        size_t i, n = 0;
        json_t *name;

        json_array_foreach(list, i, name)
                if (json_is_string(name) && n < sizeof(text))
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "",
                                              json_string_value(name));
        table_add(table, "%s", text);
}

/* Of a node that was silent for long, only its name and when it was seen are known. */
static void add_text(struct table *table, json_t *node, const char *member)
{
        const char *text = job_text(node, member);

        table_add(table, "%s", *text ? text : "-");
}

static void add_count(struct table *table, json_t *node, const char *member)
{
        if (json_object_get(node, member))
                table_add(table, "%" PRIu64, job_count(node, member));
        else
                table_add(table, "-");
}

static void add_node(struct table *table, json_t *node)
{
        char seen[UNITS_SIZE] = "-";
        double seconds;

        if (summary_number(node, "last_seen_seconds", &seconds))
                units_seconds(seconds, seen);
        add_text(table, node, "name");
        add_text(table, node, "version");
        add_text(table, node, "level");
        add_count(table, node, "workers");
        add_count(table, node, "load");
        table_add(table, "%s ago", seen);
        add_count(table, node, "done");
        add_count(table, node, "failed");
        add_workloads(table, json_object_get(node, "workloads"));
}

static int print_table(const struct args *args, json_t *nodes, struct output *output)
{
        _cleanup_free_ char *text = NULL;
        struct table table = TABLE_NULL;
        json_t *node;
        size_t i;
        int r;

        add_columns(&table);
        json_array_foreach(nodes, i, node)
                add_node(&table, node);
        r = table_print(&table, table_room(), false, progress_use_color(args->color, STDOUT_FILENO),
                        &text);
        table_deinit(&table);
        if (r)
                return r;
        output_text(output, text);
        output_text(output, "\n");
        return 0;
}

static void say_none(json_t *reply)
{
        const char *redis = job_text(reply, "redis");

        if (*redis)
                cli_note("no node has joined %s; a machine becomes one by serve = yes in section "
                         "[machines] of its pppctl.conf; if its node cannot work, the log of its "
                         "pppd has the reason",
                         redis);
        else
                cli_note("no Redis is configured ([machines] redis = … in pppctl.conf), and the "
                         "private one runs only while a job at the level machines does");
}

static int run(const struct args *args)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        struct output output;
        json_t *nodes;
        int r = choose_nothing(args);

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r == 0)
                r = pppd_ask(&pppd, "list the nodes", "Nodes", json_object(), -EBADF, &reply);
        if (r)
                return r;
        nodes = json_object_get(reply.parameters, "nodes");
        if (!json_is_array(nodes))
                return pppd_bad_reply(&pppd, "it has no array \"nodes\"");
        output_init(&output, args_has(args, OPTION_JSON));
        if (output.json)
                r = output_json(&output, reply.parameters, JSON_COMPACT);
        else if (json_array_size(nodes) > 0)
                r = print_table(args, nodes, &output);
        if (r == 0)
                r = output_finish(&output);
        if (r == 0 && !output.json && json_array_size(nodes) == 0)
                say_none(reply.parameters);
        return r;
}

const struct verb verb_nodes = {
        .name = "nodes",
        .synopsis = "",
        .what = "list the machines that take tasks of jobs at the level machines",
        .text = "Lists the nodes that have joined the Redis of the daemon's configuration: how\n"
                "they run tasks, how many they have in hand (LOAD), when they were last heard of,\n"
                "and what they have done since they were started. Where no Redis is configured:\n"
                "those of the private one, while a job needs it. With --json: as one JSON object.",
        .examples =
                "  pppctl nodes\n"
                "  pppctl nodes --json | jq -r '.nodes[] | select(.last_seen_seconds > 5).name'",
        .options = OPTION_BIT(OPTION_JSON),
        .run = run,
};
