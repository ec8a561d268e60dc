/* Puts the limits that a job has reached into words: sentences, and the summary's limits_met. */

#include <stdio.h>

#include "daemon/supervisor/limits/limit-hits.h"

static const struct {
        const char *file, *unit, *property;
} limit_words[_CHAIN_LIMIT_N] = {
        [CHAIN_MEMORY] = { "memory.max", " bytes", "MemoryMax=" },
        [CHAIN_PIDS] = { "pids.max", "", "TasksMax=" },
};

static const struct {
        const char *name, *text;
} places[] = {
        [PLACE_TASK] = { "task", "a task" },
        [PLACE_WORKER] = { "worker", "a worker" },
        [PLACE_JOB] = { "job", "the job" },
        [PLACE_ABOVE] = { "above", NULL },
};

static void print_met(FILE *file, const struct limit_met *met, enum chain_limit limit)
{
        fprintf(file, "%s of ", limit_words[limit].file);
        if (met->place == PLACE_ABOVE)
                fprintf(file, "%s, a group above the job's,", met->group);
        else
                fputs(places[met->place].text, file);
        if (met->max == UINT64_MAX)
                fputs(" was reached", file);
        else
                fprintf(file, " is %llu%s", (unsigned long long)met->max, limit_words[limit].unit);
        if (met->place == PLACE_ABOVE)
                fprintf(file, " (%s)", limit_words[limit].property);
}

char *limit_describe_met(const struct limit_hits *hits, enum chain_limit limit)
{
        char *text = NULL;
        size_t n;
        FILE *file = open_memstream(&text, &n);

        if (!file)
                return NULL;
        for (size_t i = 0; i < hits->limits[limit].n; ++i) {
                if (i > 0)
                        fputs(", or ", file);
                print_met(file, &hits->limits[limit].met[i], limit);
        }
        if (fclose(file) == 0)
                return text;
        free(text);
        return NULL;
}

/* Names the limits that may have been the cause, or says what else it was. */
static char *describe_culprit(const struct limit_hits *hits, enum chain_limit limit)
{
        if (hits->limits[limit].n > 0)
                return limit_describe_met(hits, limit);
        if (limit == CHAIN_MEMORY && hits->limits[limit].sure)
                return strdup("the machine had none left, and no memory.max of the job or of a "
                              "group above it was reached");
        return strdup(limit == CHAIN_MEMORY
                              ? "the kernel does not tell whether a memory.max was reached, and "
                                "whose, or the machine had no memory left"
                              : "the kernel does not tell whose pids.max was reached");
}

static char *describe_oom(const struct limit_hits *hits, const struct spec *spec,
                          const struct tally *tally)
{
        _cleanup_free_ char *culprit = describe_culprit(hits, CHAIN_MEMORY),
                            *open = tally_describe_open(tally, spec);
        char *text;

        return culprit && asprintf(&text, "the kernel killed the runner for lack of memory: %s%s",
                                   culprit, open ?: "") >= 0
                       ? text
                       : NULL;
}

static char *describe_pids(const struct limit_hits *hits)
{
        _cleanup_free_ char *culprit = describe_culprit(hits, CHAIN_PIDS);
        char *text;

        return culprit && asprintf(&text, "the kernel refused %llu %s: %s",
                                   (unsigned long long)hits->n_refused,
                                   hits->n_refused == 1 ? "process or thread"
                                                        : "processes or threads",
                                   culprit) >= 0
                       ? text
                       : NULL;
}

char *limit_describe(enum job_reason reason, const struct limit_hits *hits, const struct spec *spec,
                     const struct tally *tally)
{
        if (reason == REASON_OOM_KILLED)
                return describe_oom(hits, spec, tally);
        return reason == REASON_PIDS_MAX ? describe_pids(hits) : NULL;
}

static json_t *met_to_json(const struct limit_met *met, enum chain_limit limit)
{
        json_t *json = json_pack("{s:s, s:s, s:s*}", "limit", limit_words[limit].file, "of",
                                 places[met->place].name, "group", met->group);

        if (json && met->max != UINT64_MAX)
                json_object_set_new(json, "value", json_integer((json_int_t)met->max));
        if (json && met->n > 0)
                json_object_set_new(json, "times", json_integer((json_int_t)met->n));
        return json;
}

json_t *limit_hits_to_json(const struct limit_hits *hits)
{
        json_t *list = json_array();

        for (unsigned k = 0; k < _CHAIN_LIMIT_N; ++k)
                for (size_t i = 0; i < hits->limits[k].n; ++i)
                        if (json_array_append_new(list, met_to_json(&hits->limits[k].met[i], k)) <
                            0) {
                                json_decref(list);
                                return NULL;
                        }
        return list;
}
