#include "lib/spec.h"

#include <stdarg.h>
#include <stdio.h>

const char level_names[] = "serial, threads, processes, async";
const char workload_names[] = "words, sum, sum-array, sleep";

static const char *const levels[_LEVEL_N] = {
        [LEVEL_SERIAL] = "serial",
        [LEVEL_THREADS] = "threads",
        [LEVEL_PROCESSES] = "processes",
        [LEVEL_ASYNC] = "async",
};

static const struct {
        const char *name;
        const char *unit;
} workloads[_WORKLOAD_N] = {
        [WORKLOAD_WORDS] = { "words", "words" },
        [WORKLOAD_SUM] = { "sum", NULL },
        [WORKLOAD_SUM_ARRAY] = { "sum-array", NULL },
        [WORKLOAD_SLEEP] = { "sleep", NULL },
};

const char *level_name(enum level level)
{
        assert((unsigned)level < _LEVEL_N);
        return levels[level];
}

int level_from_name(const char *name, enum level *ret)
{
        for (unsigned i = 0; i < _LEVEL_N; ++i) {
                if (streq(name, levels[i])) {
                        *ret = (enum level)i;
                        return 0;
                }
        }
        return -EINVAL;
}

const char *workload_name(enum workload_id workload)
{
        assert((unsigned)workload < _WORKLOAD_N);
        return workloads[workload].name;
}

const char *workload_unit(enum workload_id workload)
{
        assert((unsigned)workload < _WORKLOAD_N);
        return workloads[workload].unit;
}

int workload_from_name(const char *name, enum workload_id *ret)
{
        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                if (streq(name, workloads[i].name)) {
                        *ret = (enum workload_id)i;
                        return 0;
                }
        }
        return -EINVAL;
}

#define NAME_SHOWN 100                  /* bytes of a name that is not ours in a message */

/* Where a member is read from and to; each member has one row in spec_from_json(). */
struct reader {
        json_t *json;
        struct spec_error *error;
        size_t n_known;         /* members that were there and that we know */
};

static _printf_(4, 5) int refuse(struct reader *reader, const char *member, const char *hint,
                                 const char *why, ...)
{
        va_list ap;

        snprintf(reader->error->field, sizeof(reader->error->field), "spec%s%s",
                 member ? "." : "", member ? member : "");
        snprintf(reader->error->hint, sizeof(reader->error->hint), "%s", hint);
        va_start(ap, why);
        vsnprintf(reader->error->why, sizeof(reader->error->why), why, ap);
        va_end(ap);
        return -EBADMSG;
}

/* The member, NULL where it is absent or null (which the interface's ?type allows). */
static json_t *take(struct reader *reader, const char *member)
{
        json_t *v = json_object_get(reader->json, member);

        if (v)
                ++reader->n_known;
        return json_is_null(v) ? NULL : v;
}

static int read_string(struct reader *reader, const char *member, bool required, const char *hint,
                       const char **ret)
{
        json_t *v = take(reader, member);

        if (!v && required)
                return refuse(reader, member, hint, "it is missing");
        if (v && !json_is_string(v))
                return refuse(reader, member, hint, "it is not a string");
        *ret = v ? json_string_value(v) : NULL;
        return 0;
}

static int read_count(struct reader *reader, const char *member, uint32_t min, uint32_t max,
                      uint32_t *ret)
{
        json_t *v = take(reader, member);
        json_int_t i;
        char hint[96];

        if (!v)
                return 0;
        snprintf(hint, sizeof(hint), "give a whole number from %u to %u", min, max);
        if (!json_is_integer(v))
                return refuse(reader, member, hint, "it is not a whole number");
        i = json_integer_value(v);
        if (i < (json_int_t)min || i > (json_int_t)max)
                return refuse(reader, member, hint, "%lld is out of range", (long long)i);
        *ret = (uint32_t)i;
        return 0;
}

static int read_bool(struct reader *reader, const char *member, bool *ret)
{
        json_t *v = take(reader, member);

        if (!v)
                return 0;
        if (!json_is_boolean(v))
                return refuse(reader, member, "give true or false", "it is not a boolean");
        *ret = json_is_true(v);
        return 0;
}

#define SECONDS_MAX (365.0 * 86400.0)

static int read_seconds(struct reader *reader, const char *member, uint64_t *ret)
{
        static const char hint[] = "give seconds, more than 0 and at most a year";
        json_t *v = take(reader, member);
        double seconds;

        if (!v)
                return 0;
        if (!json_is_number(v))
                return refuse(reader, member, hint, "it is not a number");
        seconds = json_number_value(v);
        if (!(seconds > 0) || seconds > SECONDS_MAX)
                return refuse(reader, member, hint, "%g is out of range", seconds);
        *ret = MAX((uint64_t)(seconds * 1e9 + 0.5), UINT64_C(1));
        return 0;
}

static int read_names(struct reader *reader, struct spec *spec)
{
        const char *level, *workload;
        char hint[128];
        int r;

        snprintf(hint, sizeof(hint), "give one of %s", level_names);
        r = read_string(reader, "level", true, hint, &level);
        if (r < 0)
                return r;
        if (level_from_name(level, &spec->level) < 0)
                return refuse(reader, "level", hint, "there is no level \"%.*s\"",
                              utf8_prefix(level, NAME_SHOWN), level);

        snprintf(hint, sizeof(hint), "give one of %s", workload_names);
        r = read_string(reader, "workload", true, hint, &workload);
        if (r < 0)
                return r;
        if (workload_from_name(workload, &spec->workload) < 0)
                return refuse(reader, "workload", hint, "there is no workload \"%.*s\"",
                              utf8_prefix(workload, NAME_SHOWN), workload);
        return 0;
}

/* An option that the level cannot honour is refused, never ignored. */
static int check_combination(struct reader *reader, const struct spec *spec)
{
        if (spec->level == LEVEL_SERIAL && spec->workers > 1)
                return refuse(reader, "workers", "leave it out, or take another level",
                              "the serial level has one worker");
        if ((spec->level == LEVEL_THREADS || spec->level == LEVEL_PROCESSES) &&
            spec->workers > SPEC_THREADS_MAX)
                return refuse(reader, "workers", "give at most 4096, or take the async level",
                              "%u is too many for the %s level", spec->workers,
                              level_name(spec->level));
        if (spec->loops > 0 && spec->level != LEVEL_ASYNC)
                return refuse(reader, "loops", "leave it out, or take the async level",
                              "only the async level has loops");
        if (spec->gil && spec->level != LEVEL_THREADS)
                return refuse(reader, "gil", "leave it out, or take the threads level",
                              "only the threads level has a global lock");
        return 0;
}

static int read_members(struct reader *reader, struct spec *spec)
{
        const char *ca_file;
        int r;

        if ((r = read_names(reader, spec)) < 0 ||
            (r = read_count(reader, "workers", 1, SPEC_WORKERS_MAX, &spec->workers)) < 0 ||
            (r = read_count(reader, "loops", 1, SPEC_LOOPS_MAX, &spec->loops)) < 0 ||
            (r = read_bool(reader, "gil", &spec->gil)) < 0 ||
            (r = read_seconds(reader, "timeout_seconds", &spec->timeout_ns)) < 0 ||
            (r = read_seconds(reader, "task_timeout_seconds", &spec->task_timeout_ns)) < 0 ||
            (r = read_count(reader, "retries", 0, SPEC_RETRIES_MAX, &spec->retries)) < 0 ||
            (r = read_string(reader, "ca_file", false, "give a path", &ca_file)) < 0)
                return r;
        if (ca_file && ca_file[0] != '/')
                return refuse(reader, "ca_file", "give it from / on: the daemon has a working "
                              "directory of its own", "\"%.*s\" is not an absolute path",
                              utf8_prefix(ca_file, NAME_SHOWN), ca_file);
        if (ca_file && !(spec->ca_file = strdup(ca_file)))
                return -ENOMEM;
        return check_combination(reader, spec);
}

/* All members we know were counted; if there are more, name the first that we do not. */
static int check_unknown(struct reader *reader)
{
        static const char *const known[] = {
                "level", "workload", "workers", "loops", "gil", "timeout_seconds",
                "task_timeout_seconds", "retries", "ca_file",
        };
        const char *key;
        json_t *value;

        if (json_object_size(reader->json) == reader->n_known)
                return 0;
        json_object_foreach(reader->json, key, value) {
                bool found = false;

                for (size_t i = 0; i < ARRAY_SIZE(known); ++i)
                        found |= streq(key, known[i]);
                if (!found)
                        return refuse(reader, NULL, "see the type Spec of io.pppctl.Jobs",
                                      "it has an unknown member \"%.*s\"",
                                      utf8_prefix(key, NAME_SHOWN), key);
        }
        return 0;
}

int spec_from_json(json_t *json, struct spec *ret, struct spec_error *error)
{
        struct reader reader = { json, error, 0 };
        struct spec spec = SPEC_NULL;
        int r;

        if (!json_is_object(json))
                return refuse(&reader, NULL, "give an object", "it is not an object");
        r = read_members(&reader, &spec);
        if (r >= 0)
                r = check_unknown(&reader);
        if (r < 0) {
                spec_deinit(&spec);
                return r;
        }
        *ret = spec;
        return 0;
}

static int set_new(json_t *json, const char *key, json_t *value)
{
        return json_object_set_new(json, key, value);
}

static int set_nonzero(json_t *json, const char *key, uint64_t value)
{
        return value ? set_new(json, key, json_integer((json_int_t)value)) : 0;
}

static int set_seconds(json_t *json, const char *key, uint64_t ns)
{
        return ns ? set_new(json, key, json_real((double)ns / 1e9)) : 0;
}

json_t *spec_to_json(const struct spec *spec)
{
        json_t *json = json_object();

        if (!json)
                return NULL;
        if (set_new(json, "workload", json_string(workload_name(spec->workload))) < 0 ||
            set_new(json, "level", json_string(level_name(spec->level))) < 0 ||
            set_nonzero(json, "workers", spec->workers) < 0 ||
            set_nonzero(json, "loops", spec->loops) < 0 ||
            (spec->gil && set_new(json, "gil", json_true()) < 0) ||
            set_seconds(json, "timeout_seconds", spec->timeout_ns) < 0 ||
            set_seconds(json, "task_timeout_seconds", spec->task_timeout_ns) < 0 ||
            set_nonzero(json, "retries", spec->retries) < 0 ||
            (spec->ca_file && set_new(json, "ca_file", json_string(spec->ca_file)) < 0)) {
                json_decref(json);
                return NULL;
        }
        return json;
}

static uint32_t default_workers(enum level level, unsigned n_cpus)
{
        switch (level) {
        case LEVEL_THREADS:
                return MIN(32U, n_cpus + 4);
        case LEVEL_PROCESSES:
                return MIN((unsigned)SPEC_THREADS_MAX, n_cpus);
        case LEVEL_ASYNC:
                return 256;
        case LEVEL_SERIAL:
        default:
                return 1;
        }
}

void spec_fill(struct spec *spec, unsigned n_cpus, uint64_t n_tasks)
{
        if (spec->workers == 0)
                spec->workers = default_workers(spec->level, n_cpus);
        spec->workers = (uint32_t)MIN((uint64_t)spec->workers, MAX(n_tasks, UINT64_C(1)));
        if (spec->level == LEVEL_ASYNC)
                spec->loops = MIN(spec->loops ? spec->loops : 1, spec->workers);
}

void spec_deinit(struct spec *spec)
{
        free(spec->ca_file);
        *spec = (struct spec)SPEC_NULL;
}
