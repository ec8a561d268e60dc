#include "lib/spec-reader.h"

#include <stdarg.h>
#include <stdio.h>

int reader_refuse(struct reader *reader, const char *member, const char *hint, const char *why, ...)
{
        char field[128];
        va_list ap;

        snprintf(field, sizeof(field), "%s%s%s", reader->path, member ? "." : "",
                 member ? member : "");
        va_start(ap, why);
        (void)fault_refuse_v(reader->fault, -EBADMSG, field, hint, why, ap);
        va_end(ap);
        return -EBADMSG;
}

int reader_end(struct reader *reader, int r)
{
        if (r == -ENOMEM)
                (void)fault_refuse(reader->fault, r, reader->path, "free memory on this machine",
                                   "%s", strerrordesc_np(-r));
        return r;
}

json_t *reader_take(struct reader *reader, const char *member)
{
        json_t *v = json_object_get(reader->json, member);

        if (v)
                ++reader->n_known;
        return json_is_null(v) ? NULL : v;
}

int reader_string(struct reader *reader, const char *member, bool required, size_t max,
                  const char *hint, const char **ret)
{
        json_t *v = reader_take(reader, member);

        if (!v && required)
                return reader_refuse(reader, member, hint, "it is missing");
        if (v && !json_is_string(v))
                return reader_refuse(reader, member, hint, "it is not a string");
        if (json_string_length(v) > max)
                return reader_refuse(reader, member, hint,
                                     "it is %zu bytes long, more than the %zu that it may have",
                                     json_string_length(v), max);
        if (v)
                *ret = json_string_value(v);
        return 0;
}

int reader_array(struct reader *reader, const char *member, size_t max, const char *hint,
                 json_t **ret)
{
        json_t *v = reader_take(reader, member);

        if (!v)
                return 0;
        if (!json_is_array(v))
                return reader_refuse(reader, member, hint, "it is not an array");
        if (json_array_size(v) == 0)
                return reader_refuse(reader, member, hint, "it has no entries");
        if (json_array_size(v) > max)
                return reader_refuse(reader, member, hint,
                                     "it has %zu entries, more than the %zu that it may have",
                                     json_array_size(v), max);
        *ret = v;
        return 0;
}

int reader_count(struct reader *reader, const char *member, uint32_t min, uint32_t max,
                 uint32_t *ret)
{
        json_t *v = reader_take(reader, member);
        json_int_t i;
        char hint[96];

        if (!v)
                return 0;
        snprintf(hint, sizeof(hint), "give a whole number from %u to %u", min, max);
        if (!json_is_integer(v))
                return reader_refuse(reader, member, hint, "it is not a whole number");
        i = json_integer_value(v);
        if (i < (json_int_t)min || i > (json_int_t)max)
                return reader_refuse(reader, member, hint, "%lld is out of range", (long long)i);
        *ret = (uint32_t)i;
        return 0;
}

int reader_bool(struct reader *reader, const char *member, bool *ret)
{
        json_t *v = reader_take(reader, member);

        if (!v)
                return 0;
        if (!json_is_boolean(v))
                return reader_refuse(reader, member, "give true or false", "it is not a boolean");
        *ret = json_is_true(v);
        return 0;
}

int reader_seconds(struct reader *reader, const char *member, uint64_t *ret_ns)
{
        static const char hint[] = "give seconds, more than 0 and at most a year";
        json_t *v = reader_take(reader, member);
        double seconds;

        if (!v)
                return 0;
        if (!json_is_number(v))
                return reader_refuse(reader, member, hint, "it is not a number");
        seconds = json_number_value(v);
        if (!(seconds > 0) || seconds > (double)SPEC_SECONDS_MAX)
                return reader_refuse(reader, member, hint, "%g is out of range", seconds);
        *ret_ns = MAX((uint64_t)(seconds * 1e9 + 0.5), UINT64_C(1));
        return 0;
}

int reader_path(struct reader *reader, const char *member, char **ret)
{
        const char *path = NULL;
        int r;

        r = reader_string(reader, member, false, SPEC_PATH_MAX, "give a path", &path);
        if (r < 0 || !path)
                return r;
        if (path[0] != '/')
                return reader_refuse(
                        reader, member,
                        "give it from / on: the daemon has a working directory of its own",
                        "\"%.*s\" is not an absolute path", utf8_prefix(path, NAME_SHOWN), path);
        *ret = strdup(path);
        return *ret ? 0 : -ENOMEM;
}

static bool is_among(const char *name, const char *const *names)
{
        for (; *names; ++names)
                if (streq(name, *names))
                        return true;
        return false;
}

/* All members we know were counted; if there are more, name the first that we do not. */
int reader_finish(struct reader *reader, const char *type, const char *const *known)
{
        const char *key;
        char hint[96];
        json_t *value;

        if (json_object_size(reader->json) == reader->n_known)
                return 0;
        snprintf(hint, sizeof(hint), "see the type %s of io.pppctl.Jobs", type);
        json_object_foreach(reader->json, key, value)
                if (!is_among(key, known))
                        return reader_refuse(reader, NULL, hint,
                                             "it has an unknown member \"%.*s\"",
                                             utf8_prefix(key, NAME_SHOWN), key);
        return 0;
}
