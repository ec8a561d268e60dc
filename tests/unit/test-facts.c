/* The tables of facts, and the files beside the code that state the same facts for others. */

#include <fcntl.h>
#include <jansson.h>

#include "cli/verbs.h"
#include "daemon/supervisor/kept/totals.h"
#include "lib/metric.h"
#include "tests/unit/test.h"

static json_t *schema;
static char *interface, *manual, *config_manual, *levels_manual;

static char *read_text(const char *path)
{
        char *text = NULL;

        test_int(read_file_at(AT_FDCWD, path, &text, NULL), ==, 0);
        return text;
}

static void test_files(void)
{
        schema = json_load_file("include/pppctl/summary.schema.json", 0, NULL);
        interface = read_text("include/pppctl/io.pppctl.Jobs.varlink");
        manual = read_text("packaging/man/pppctl.1");
        config_manual = read_text("packaging/man/pppctl.conf.5");
        levels_manual = read_text("packaging/man/pppctl-levels.7");
        test_true(schema);
}

/* The schema of the member @name of the object that @of describes. */
static json_t *property(json_t *of, const char *name)
{
        return json_object_get(json_object_get(of, "properties"), name);
}

static const char *schema_text(json_t *of, const char *keyword)
{
        return json_string_value(json_object_get(of, keyword)) ?: "";
}

static const char *type_of_limit(enum limit_kind kind)
{
        static const char *const types[] = {
                [LIMIT_KIND_CPUS] = "number",   [LIMIT_KIND_COUNT] = "integer",
                [LIMIT_KIND_BYTES] = "integer", [LIMIT_KIND_CPU_LIST] = "string",
                [LIMIT_KIND_RATES] = "array",
        };

        return types[kind];
}

static void check_limits(json_t *limits, size_t n_others)
{
        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                json_t *of = property(limits, limit_infos[i].member);

                if (!of)
                        test_fail_at("the schema lacks the limit %s", limit_infos[i].member);
                test_str(schema_text(of, "type"), type_of_limit(limit_infos[i].kind));
                test_contains(schema_text(of, "description"), limit_infos[i].file);
        }
        test_int(json_object_size(json_object_get(limits, "properties")), ==, _LIMIT_N + n_others);
}

static size_t count_members(const struct metric_member *members)
{
        size_t n = 0;

        while (members[n].key)
                ++n;
        return n;
}

static void test_limits(void)
{
        const char *type = strstr(interface, "\ntype Limits (\n"), *end = strstr(type, "\n)\n");

        check_limits(property(schema, "limits"), count_members(metric_find("limits")->members));
        check_limits(json_object_get(json_object_get(schema, "$defs"), "limits"), 0);
        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                char line[64];
                const char *at;

                snprintf(line, sizeof(line), "\n  %s: ?", limit_infos[i].member);
                at = strstr(type, line);
                if (!at || at > end)
                        test_fail_at("the type Limits lacks %s", limit_infos[i].member);
        }
}

/* "array" or "#/$defs/distribution". */
static const char *type_of_metric(enum metric_kind kind)
{
        switch (kind) {
        case METRIC_COUNT:
        case METRIC_BYTES:
                return "integer";
        case METRIC_SECONDS:
        case METRIC_RATE:
        case METRIC_RATIO:
                return "number";
        case METRIC_TEXT:
                return "string";
        case METRIC_DISTRIBUTION:
                return "#/$defs/distribution";
        case METRIC_SECONDS_LIST:
        case METRIC_LIMITS_MET:
                return "array";
        case METRIC_OBJECT:
        case METRIC_COORDINATOR:
                return "object";
        case METRIC_LIMITS:
                break;
        }
        return NULL; /* of the job an object, of a worker a reference */
}

static void check_type(const char *key, enum metric_kind kind, json_t *of)
{
        const char *type = type_of_metric(kind);

        if (!of)
                test_fail_at("the schema lacks %s", key);
        if (json_object_get(of, "enum"))
                type = NULL;
        if (type && !streq(schema_text(of, "type"), type) && !streq(schema_text(of, "$ref"), type))
                test_fail_at("%s is no %s in the schema", key, type);
}

static void check_members(const struct metric_info *metric, json_t *of)
{
        size_t n_required = 0;

        for (const struct metric_member *m = metric->members; m->key; ++m) {
                check_type(m->key, m->kind, property(of, m->key));
                n_required += m->required;
        }
        if (metric->kind != METRIC_OBJECT)
                return;
        test_int(json_object_size(json_object_get(of, "properties")), ==,
                 count_members(metric->members));
        test_int(json_array_size(json_object_get(of, "required")), ==, n_required);
}

static void check_coordinator(json_t *of)
{
        size_t n = 0;

        for (size_t i = 0; i < n_metric_infos; ++i) {
                const struct metric_info *metric = &metric_infos[i];

                if (!metric->set_apart)
                        continue;
                check_type(metric->key, metric->kind, property(of, metric->key));
                ++n;
        }
        test_int(json_object_size(json_object_get(of, "properties")), ==, n);
}

static void test_metrics(void)
{
        const char *key;
        json_t *of;

        for (size_t i = 0; i < n_metric_infos; ++i) {
                const struct metric_info *metric = &metric_infos[i];

                of = property(schema, metric->key);
                test_true(metric_find(metric->key) == metric);
                test_true(*metric->label);
                check_type(metric->key, metric->kind, of);
                if (!*schema_text(of, "description"))
                        test_fail_at("the schema does not describe %s", metric->key);
                if (metric->members)
                        check_members(metric, of);
                if (metric->kind == METRIC_COORDINATOR)
                        check_coordinator(of);
        }
        json_object_foreach(json_object_get(schema, "properties"), key, of)
                if (!metric_find(key) && !summary_member_is_identity(key))
                        test_fail_at("the schema has \"%s\", which no table has", key);
}

/* What is summed up over all jobs are numbers of the summaries. */
static void test_totals(void)
{
        for (size_t i = 0; i < n_totals_families; ++i) {
                const char *const *key = totals_families[i].key;
                const struct metric_member *member;

                if (!key[0])
                        continue;
                if (!metric_find(key[0]))
                        test_fail_at("%s sums up %s, which is no metric", totals_families[i].name,
                                     key[0]);
                if (!key[1])
                        continue;
                member = metric_find(key[0])->members;
                while (member->key && !streq(member->key, key[1]))
                        ++member;
                test_str(member->key, key[1]);
        }
}

static void test_levels(void)
{
        json_t *names = json_object_get(property(schema, "level"), "enum");
        char list[LEVEL_LIST_SIZE + 4];

        test_int(json_array_size(names), ==, _LEVEL_N);
        for (enum level i = 0; i < _LEVEL_N; ++i)
                test_str(json_string_value(json_array_get(names, i)), level_name(i));
        snprintf(list, sizeof(list), "  # ");
        level_list(LEVELS_ALL, list + strlen(list));
        test_contains(interface, list);
}

static void test_workloads(void)
{
        char list[WORKLOAD_LIST_SIZE + 4];

        snprintf(list, sizeof(list), "  # ");
        workload_list(WORKLOADS_ALL, list + strlen(list));
        test_contains(interface, list);
}

/* The text of the manual from the heading @from to the next .Sh or .Ss. */
static char *section(const char *text, const char *from)
{
        const char *begin = strstr(text, from), *end;

        if (!begin)
                test_fail_at("the manual lacks the heading %s", from);
        begin += strlen(from);
        end = strstr(begin, "\n.S");
        while (end && !strchr("hs", end[3]))
                end = strstr(end + 1, "\n.S");
        return strndup(begin, end ? (size_t)(end - begin) : strlen(begin));
}

/* Whether one of the section's items is @macro and @name: ".It Cm serial". */
static void described(const char *in, const char *macro, const char *name)
{
        char item[96];
        size_t n = (size_t)snprintf(item, sizeof(item), "\n.It %s %s", macro, name);

        for (const char *at = strstr(in, item); at; at = strstr(at + n, item))
                if (strchr(" \n", at[n]))
                        return;
        test_fail_at("the manual does not describe %s", name);
}

static void test_manual_names(void)
{
        _cleanup_free_ char *levels = section(manual, "\n.Ss Levels");
        _cleanup_free_ char *workloads = section(manual, "\n.Ss Workloads");
        _cleanup_free_ char *of_verbs = section(manual, "\n.Sh VERBS");
        _cleanup_free_ char *summary = section(manual, "\n.Sh SUMMARY");

        for (enum level i = 0; i < _LEVEL_N; ++i)
                described(levels, "Cm", level_name(i));
        for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                described(workloads, "Cm", workload_name(i));
        for (size_t i = 0; verbs[i]; ++i)
                described(of_verbs, "Cm", verbs[i]->name);
        for (size_t i = 0; i < n_metric_infos; ++i)
                described(summary, "Li", metric_infos[i].key);
}

/* ".It Fl -time-max Ar TIME , Fl -timeout Ar TIME"; a backslash continues the line. */
static bool is_item(const char *text, const char *at)
{
        const char *line = at;

        while (line > text && (line[-1] != '\n' || (line - text > 1 && line[-2] == '\\')))
                --line;
        return strncmp(line, ".It ", 4) == 0;
}

static void test_manual_options(void)
{
        for (enum option i = 0; i < _OPTION_N; ++i) {
                char flag[64];
                size_t n = (size_t)snprintf(flag, sizeof(flag), "Fl -%s", option_info(i).name);
                const char *at = strstr(manual, flag);

                while (at && !(strchr(" \n", at[n]) && is_item(manual, at)))
                        at = strstr(at + n, flag);
                if (!at)
                        test_fail_at("the manual does not describe --%s", option_info(i).name);
        }
}

static void has_word(const char *text, const char *word)
{
        size_t n = strlen(word);

        for (const char *at = strstr(text, word); at; at = strstr(at + n, word))
                if (at > text && at[-1] == ' ' && strchr(" \n", at[n]))
                        return;
        test_fail_at("the manual of the configuration does not name %s", word);
}

static void test_config_manual(void)
{
        const char *level = strstr(config_manual, "\n.It Cm level ");
        const char *workloads = strstr(config_manual, "\n.It Cm workloads\n");
        _cleanup_free_ char *node = section(config_manual, "\n.Sh SECTION [node]");

        test_true(level && workloads);
        for (enum level i = 0; i < _LEVEL_N; ++i)
                if (level_has(i, LEVEL_IN_NODES))
                        has_word(level, level_name(i));
        for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                if (workloads_of_nodes() & WORKLOAD_BIT(i))
                        has_word(workloads, workload_name(i));
        for (enum limit i = 0; i < _LIMIT_N; ++i)
                has_word(node, limit_infos[i].option);
}

/* An option that only some levels take stands where one of these is described. */
static void check_option_of_level(enum level level, const char *name, size_t n)
{
        static const struct {
                const char *option;
                enum level_feature needs;
        } some[] = {
                { "loops", LEVEL_LOOPS },
                { "executor", LEVEL_LOOPS },
                { "gil", LEVEL_ONE_PROCESS },
                { "threaded", LEVEL_ONE_PROCESS },
                { "worker-memory-max", LEVEL_WORKER_GROUPS },
        };
        enum option i = 0;

        while (i < _OPTION_N &&
               (strlen(option_info(i).name) != n || strncmp(option_info(i).name, name, n) != 0))
                ++i;
        if (i == _OPTION_N)
                test_fail_at("there is no option --%.*s, which the manual names", (int)n, name);
        for (size_t k = 0; k < ARRAY_SIZE(some); ++k)
                if (streq(some[k].option, option_info(i).name) && !level_has(level, some[k].needs))
                        test_fail_at("the level %s does not take --%s", level_name(level),
                                     some[k].option);
}

static void check_default_workers(enum level level, const char *text)
{
        const struct level_info *info = level_info(level);
        char words[64] = "";

        if (info->workers_max <= 1)
                return;
        if (info->workers_default)
                snprintf(words, sizeof(words), "%u in flight by default", info->workers_default);
        else if (info->workers_more)
                snprintf(words, sizeof(words), "and %u more, at most %u", info->workers_more,
                         info->workers_most);
        else
                snprintf(words, sizeof(words), "by default one for each\nCPU");
        test_contains(text, words);
}

static void test_levels_manual(void)
{
        for (enum level i = 0; i < _LEVEL_N; ++i) {
                _cleanup_free_ char *heading = NULL, *text = NULL;

                test_int(asprintf(&heading, "\n.Ss %s: ", level_name(i)), >, 0);
                text = section(levels_manual, heading);
                check_default_workers(i, text);
                for (const char *at = strstr(text, "Fl -"); at; at = strstr(at + 1, "Fl -"))
                        check_option_of_level(i, at + strlen("Fl -"),
                                              strcspn(at + strlen("Fl -"), " \n"));
        }
}

static void test_close(void)
{
        json_decref(schema);
        free(interface);
        free(manual);
        free(config_manual);
        free(levels_manual);
}

TEST_MAIN("facts", { "the files are there", test_files }, { "limits", test_limits },
          { "metrics", test_metrics }, { "totals", test_totals }, { "levels", test_levels },
          { "workloads", test_workloads },
          { "levels, workloads, verbs and metrics in the manual", test_manual_names },
          { "options in the manual", test_manual_options },
          { "values in the manual of the configuration", test_config_manual },
          { "levels in their manual", test_levels_manual }, { "the files are closed", test_close })
