/*
 * Limits as the interface's type Limits. JSON's integers have no "max": the largest one stands for
 * it.
 */

#include <stdio.h>

#include "lib/block-device.h"
#include "lib/cpu-list.h"
#include "lib/limits.h"
#include "lib/spec-reader.h"

#define DEVICE_MAX 20 /* bytes of "MAJOR:MINOR" */

/*
 * A whole number in [min, max] or, where @takes_none, the largest for LIMIT_NONE. Not given: it is
 * absent.
 */
static int read_number(struct reader *reader, const char *member, uint64_t min, uint64_t max,
                       bool takes_none, bool *ret_given, uint64_t *ret)
{
        json_t *v = reader_take(reader, member);
        char hint[96];
        json_int_t i;

        *ret_given = v != NULL;
        if (!v)
                return 0;
        if (max >= INT64_MAX)
                snprintf(hint, sizeof(hint), "give a whole number from %llu up",
                         (unsigned long long)min);
        else
                snprintf(hint, sizeof(hint), "give a whole number from %llu to %llu",
                         (unsigned long long)min, (unsigned long long)max);
        if (!json_is_integer(v))
                return reader_refuse(reader, member, hint, "it is not a whole number");
        i = json_integer_value(v);
        if (i < 0 || (uint64_t)i < min || ((uint64_t)i > max && !(takes_none && i == INT64_MAX)))
                return reader_refuse(reader, member, hint, "%lld is out of range", (long long)i);
        *ret = takes_none && i == INT64_MAX ? LIMIT_NONE : (uint64_t)i;
        return 0;
}

static int read_cpu_max(struct reader *reader, struct limits *limits)
{
        const struct limit_info *info = &limit_infos[LIMIT_CPU_MAX];
        json_t *v = reader_take(reader, info->member);
        double cpus;

        if (!v)
                return 0;
        if (!json_is_number(v))
                return reader_refuse(reader, info->member, "give CPUs, 1.5 for 150%",
                                     "it is not a number");
        cpus = json_number_value(v);
        if (!(cpus * (double)LIMIT_CPU >= (double)info->min) ||
            cpus * (double)LIMIT_CPU > (double)info->max)
                return reader_refuse(reader, info->member, "give CPUs, from 0.01 up, 1.5 for 150%",
                                     "%g is out of range", cpus);
        /* The resolution of cpu.max: microseconds in a tenth of a second. */
        limits->values[LIMIT_CPU_MAX] = (uint64_t)(cpus * (double)LIMIT_CPU / 10 + 0.5) * 10;
        limits->given |= LIMIT_BIT(LIMIT_CPU_MAX);
        return 0;
}

static int read_numbers(struct reader *reader, struct limits *limits)
{
        bool given;
        int r;

        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                const struct limit_info *info = &limit_infos[i];

                if (info->kind != LIMIT_KIND_COUNT && info->kind != LIMIT_KIND_BYTES)
                        continue;
                r = read_number(reader, info->member, info->min, info->max, info->takes_none,
                                &given, &limits->values[i]);
                if (r < 0)
                        return r;
                if (given)
                        limits->given |= LIMIT_BIT(i);
        }
        return 0;
}

static int read_cpus(struct reader *reader, struct limits *limits)
{
        const struct limit_info *info = &limit_infos[LIMIT_CPUS];
        const char *text = NULL;
        struct cpu_list list;
        int r;

        r = reader_string(reader, info->member, false, LIMIT_CPUS_MAX, info->form, &text);
        if (r < 0 || !text)
                return r;
        if (cpu_list_parse(text, &list) < 0)
                return reader_refuse(reader, info->member, info->form,
                                     "\"%.*s\" is no list of CPUs", utf8_prefix(text, NAME_SHOWN),
                                     text);
        limits->cpus = strdup(text);
        if (!limits->cpus)
                return -ENOMEM;
        limits->given |= LIMIT_BIT(LIMIT_CPUS);
        return 0;
}

static int read_device(struct reader *reader, struct io_limit *io)
{
        static const char hint[] = "give the disk's numbers as in lsblk, \"8:0\"";
        const char *text = NULL;
        int r;

        r = reader_string(reader, "device", true, DEVICE_MAX, hint, &text);
        if (r < 0)
                return r;
        r = block_device_parse(text, &io->major, &io->minor);
        if (r < 0)
                return reader_refuse(reader, "device", hint, "\"%.*s\" %s",
                                     utf8_prefix(text, NAME_SHOWN), text,
                                     r == -ERANGE ? "is out of range" : "is no MAJOR:MINOR");
        return 0;
}

/* Also those of jobs that an older version admitted: that a rate is not too low is for the
 * admission to see to. */
static int read_rates(struct reader *reader, struct io_limit *io)
{
        bool given, any = false;
        int r;

        for (unsigned i = 0; i < _IO_RATE_N; ++i) {
                io->rates[i] = LIMIT_NONE;
                r = read_number(reader, io_rate_infos[i].member, 1, INT64_MAX, true, &given,
                                &io->rates[i]);
                if (r < 0)
                        return r;
                any |= given;
        }
        if (!any)
                return reader_refuse(reader, NULL,
                                     "give one of the rates, as read_bytes_per_second",
                                     "it limits nothing");
        return 0;
}

static int read_io_limit(json_t *json, const char *path, size_t index, struct io_limit *ret,
                         struct fault *fault)
{
        static const char *const known[] = {
                "device",           "read_bytes_per_second", "write_bytes_per_second",
                "reads_per_second", "writes_per_second",     NULL
        };
        char name[80];
        struct reader reader = { json, name, fault, 0 };
        int r;

        snprintf(name, sizeof(name), "%s.io_max[%zu]", path, index);
        if (!json_is_object(json))
                return reader_refuse(&reader, NULL, "give an object", "it is not an object");
        r = read_device(&reader, ret);
        if (r >= 0)
                r = read_rates(&reader, ret);
        return r < 0 ? r : reader_finish(&reader, "IoMax", known);
}

static int read_io(struct reader *reader, struct limits *limits)
{
        json_t *list = NULL;
        size_t n;
        int r;

        r = reader_array(reader, "io_max", LIMIT_IO_DEVICES_MAX, "give one entry for each disk",
                         &list);
        if (r < 0 || !list)
                return r;
        n = json_array_size(list);
        limits->io = calloc(n, sizeof(*limits->io));
        if (!limits->io)
                return -ENOMEM;
        for (size_t i = 0; i < n && r >= 0; ++i) {
                struct io_limit *io = &limits->io[i];

                r = read_io_limit(json_array_get(list, i), reader->path, i, io, reader->fault);
                if (r >= 0 && limits_find_io(limits, io->major, io->minor))
                        r = reader_refuse(reader, "io_max", "give all rates of a disk together",
                                          "the disk %u:%u is there twice", io->major, io->minor);
                ++limits->n_io;
        }
        limits->given |= LIMIT_BIT(LIMIT_IO_MAX);
        return r;
}

static int finish(struct reader *reader)
{
        const char *known[_LIMIT_N + 1] = { NULL };

        for (unsigned i = 0; i < _LIMIT_N; ++i)
                known[i] = limit_infos[i].member;
        return reader_finish(reader, "Limits", known);
}

int limits_from_json(json_t *json, const char *path, struct limits *ret, struct fault *fault)
{
        struct reader reader = { json, path, fault, 0 };
        struct limits limits = LIMITS_NULL;
        int r;

        if (!json_is_object(json))
                return reader_refuse(&reader, NULL, "give an object", "it is not an object");
        if ((r = read_cpu_max(&reader, &limits)) < 0 || (r = read_numbers(&reader, &limits)) < 0 ||
            (r = read_cpus(&reader, &limits)) < 0 || (r = read_io(&reader, &limits)) < 0 ||
            (r = finish(&reader)) < 0) {
                limits_deinit(&limits);
                return reader_end(&reader, r);
        }
        *ret = limits;
        return 0;
}

static json_t *number_to_json(uint64_t value)
{
        return json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX));
}

static json_t *io_limit_to_json(const struct io_limit *io)
{
        json_t *json;
        char device[24];

        snprintf(device, sizeof(device), "%u:%u", io->major, io->minor);
        json = json_pack("{s:s}", "device", device);
        for (unsigned i = 0; json && i < _IO_RATE_N; ++i)
                if (io->rates[i] != LIMIT_NONE &&
                    json_object_set_new(json, io_rate_infos[i].member,
                                        number_to_json(io->rates[i])) < 0) {
                        json_decref(json);
                        return NULL;
                }
        return json;
}

static json_t *io_to_json(const struct limits *limits)
{
        json_t *list = json_array();

        for (size_t i = 0; list && i < limits->n_io; ++i)
                if (json_array_append_new(list, io_limit_to_json(&limits->io[i])) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static json_t *value_to_json(const struct limits *limits, enum limit limit)
{
        switch (limit_infos[limit].kind) {
        case LIMIT_KIND_CPUS:
                return json_real((double)limits->values[limit] / (double)LIMIT_CPU);
        case LIMIT_KIND_CPU_LIST:
                return json_string(limits->cpus);
        case LIMIT_KIND_RATES:
                return io_to_json(limits);
        case LIMIT_KIND_COUNT:
        case LIMIT_KIND_BYTES:
        default:
                return number_to_json(limits->values[limit]);
        }
}

json_t *limits_to_json(const struct limits *limits)
{
        json_t *json = json_object();

        for (unsigned i = 0; json && i < _LIMIT_N; ++i)
                if (limits_has(limits, i) && json_object_set_new(json, limit_infos[i].member,
                                                                 value_to_json(limits, i)) < 0) {
                        json_decref(json);
                        return NULL;
                }
        return json;
}
