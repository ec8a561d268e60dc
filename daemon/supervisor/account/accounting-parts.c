/*
 * Adds up the parts of a job that was interrupted. Each part has a cgroup and a runner of its own.
 * When it ends, what the kernel counted is stored in the job's row, in the form of the summary. A
 * number that is missing for one part is missing for the whole job, for the same reason.
 */

#include "daemon/supervisor/account/accounting-internal.h"
#include "lib/metric.h"

/* A key that is not a metric is the CPU time of nodes, of which parts are simply added up. */
static enum metric_addition addition_of(const char *key)
{
        const struct metric_info *metric = metric_find(key);

        return metric ? metric->addition : METRIC_ADD;
}

static json_t *add_numbers(enum metric_addition addition, json_t *before, json_t *now)
{
        bool highest = addition == METRIC_HIGHEST;

        if (json_is_integer(before) && json_is_integer(now)) {
                json_int_t a = json_integer_value(before), b = json_integer_value(now);

                return json_integer(highest ? MAX(a, b) : a + b);
        }
        return json_real(highest ? MAX(json_number_value(before), json_number_value(now))
                                 : json_number_value(before) + json_number_value(now));
}

/* A member that only one part has, perhaps because another kernel was booted, is left out. */
static json_t *add_members(json_t *before, json_t *now)
{
        json_t *sum = json_object(), *value;
        const char *member;

        json_object_foreach(now, member, value) {
                json_t *other = json_object_get(before, member);

                if (other &&
                    json_object_set_new(sum, member, add_numbers(METRIC_ADD, other, value)) < 0) {
                        json_decref(sum);
                        return NULL;
                }
        }
        return sum;
}

static json_t *add_values(const char *key, json_t *before, json_t *now)
{
        enum metric_addition addition = addition_of(key);

        if (addition != METRIC_LATEST && json_is_number(now))
                return add_numbers(addition, before, now);
        if (addition == METRIC_ADD && json_is_object(now))
                return add_members(before, now);
        return json_incref(now);
}

static void add_counted(struct summary *summary, const char *key, json_t *before, bool carried)
{
        json_t *now = json_object_get(summary->json, key);

        if (now)
                summary_put(summary, key, add_values(key, before, now));
        else if (carried) {
                json_decref(summary_take_missed(summary, key));
                summary_put(summary, key, json_incref(before));
        }
}

static void add_missing(struct summary *summary, const json_t *entry)
{
        const char *key = json_string_value(json_object_get(entry, "metric"));
        const char *reason = json_string_value(json_object_get(entry, "reason"));

        if (!key || !reason || addition_of(key) == METRIC_LATEST)
                return;
        (void)json_object_del(summary->json, key);
        json_decref(summary_take_missed(summary, key));
        summary_miss(summary, key, reason);
}

static void add_parts(struct summary *summary, const struct accounting *a)
{
        const json_t *parts = a->record->parts, *entry;
        const char *key;
        json_t *before;
        size_t i;

        json_object_foreach(json_object_get(parts, "counted"), key, before)
                add_counted(summary, key, before, a->carried);
        json_array_foreach(json_object_get(parts, "unavailable"), i, entry)
                add_missing(summary, entry);
        /* Without the CPU time, its source is left out, too. */
        if (!json_object_get(summary->json, "cpu_user_seconds"))
                (void)json_object_del(summary->json, "cpu_source");
}

static bool is_equal(const json_t *a, const json_t *b)
{
        return (!a && !b) || json_equal(a, b);
}

static bool is_same_limit(const json_t *a, const json_t *b)
{
        static const char *const keys[] = { "limit", "of", "group", "value" };
        bool same = true;

        for (size_t i = 0; i < ARRAY_SIZE(keys); ++i)
                same &= is_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i]));
        return same;
}

/*
 * If it is not known for one part how often the limit was reached, it is not known for the whole
 * job either.
 */
static int add_times(json_t *sum, const json_t *now)
{
        const json_t *a = json_object_get(sum, "times"), *b = json_object_get(now, "times");

        if (a && b)
                return json_object_set_new(sum, "times",
                                           json_integer(json_integer_value(a) +
                                                        json_integer_value(b)));
        if (a)
                (void)json_object_del(sum, "times");
        return 0;
}

static int add_limit_met(json_t *list, json_t *met)
{
        json_t *entry;
        size_t i;

        json_array_foreach(list, i, entry)
                if (is_same_limit(entry, met))
                        return add_times(entry, met);
        return json_array_append(list, met);
}

json_t *summary_limits_met(const struct accounting *a)
{
        const json_t *before = json_object_get(a->record->parts, "limits_met");
        json_t *list = before ? json_deep_copy(before) : json_array(), *now, *met;
        int r = 0;
        size_t i;

        if (a->carried || !list)
                return list;
        now = limit_hits_to_json(a->hits);
        if (!now)
                r = -1;
        json_array_foreach(now, i, met)
                if (r >= 0)
                        r = add_limit_met(list, met);
        json_decref(now);
        if (r >= 0)
                return list;
        json_decref(list);
        return NULL;
}

static double cpu_seconds_of(const json_t *counted)
{
        return json_number_value(json_object_get(counted, "cpu_user_seconds")) +
               json_number_value(json_object_get(counted, "cpu_system_seconds"));
}

double accounting_cpu_seconds(const json_t *parts)
{
        return json_number_value(json_object_get(parts, "cpu_seconds"));
}

double accounting_wall_seconds(const struct accounting *a)
{
        double before = json_number_value(json_object_get(a->record->parts, "wall_seconds"));

        /* An interruption ends a part, and no run. */
        if (job_state_is_live(a->record->state))
                return before;
        return before + (double)time_between(counters_began(a->counters), a->ended_ns) /
                                (double)NSEC_PER_SEC;
}

/* The parts, with what @counted has of them, which is taken over. */
static json_t *pack_parts(struct summary *counted, const struct accounting *a, double cpu_seconds)
{
        json_t *parts =
                json_pack("{s:f, s:f, s:o, s:o, s:o}", "cpu_seconds", cpu_seconds, "wall_seconds",
                          accounting_wall_seconds(a), "counted", counted->json, "unavailable",
                          counted->unavailable, "limits_met", summary_limits_met(a));

        if (!counted->failed)
                return parts;
        json_decref(parts);
        return NULL;
}

json_t *accounting_carry(const struct accounting *accounting)
{
        struct summary counted = { json_object(), json_array(), false };
        double cpu_seconds = accounting_cpu_seconds(accounting->record->parts);

        if (!counted.json || !counted.unavailable)
                counted.failed = true;
        summary_put_counted(&counted, accounting);
        /* Known CPU time counts towards the job's limit, even if some is unknown. */
        cpu_seconds += cpu_seconds_of(counted.json);
        add_parts(&counted, accounting);
        return pack_parts(&counted, accounting, cpu_seconds);
}

json_t *summary_put_parts(struct summary *summary, const struct accounting *accounting)
{
        json_t *parts = accounting_carry(accounting);

        if (!parts || json_object_update(summary->json, json_object_get(parts, "counted")) < 0 ||
            json_array_extend(summary->unavailable, json_object_get(parts, "unavailable")) < 0)
                summary->failed = true;
        return parts;
}
