#pragma once

/*
 * Limits that a cgroup enforces: what a client asks for (as JSON, or as the text of an option),
 * what is written to the group's files, and what is read back from them. Each limit is one row of
 * limit_infos.
 */

#include <jansson.h>

#include "lib/cgroup.h"
#include "lib/fault.h"

/* In the order in which people see them. */
enum limit {
        LIMIT_CPU_MAX,
        LIMIT_CPU_WEIGHT,
        LIMIT_CPUS,
        LIMIT_MEMORY_MAX,
        LIMIT_MEMORY_HIGH,
        LIMIT_SWAP_MAX,
        LIMIT_PIDS_MAX,
        LIMIT_IO_MAX,
        _LIMIT_N,
};

enum limit_kind {
        LIMIT_KIND_CPUS,     /* millionths of a CPU; in JSON, CPUs */
        LIMIT_KIND_COUNT,    /* a whole number without a unit */
        LIMIT_KIND_BYTES,    /* a whole number of bytes */
        LIMIT_KIND_CPU_LIST, /* a text, "0-3,8" */
        LIMIT_KIND_RATES,    /* rates by disk */
};

#define LIMIT_NONE           UINT64_MAX        /* "max": asked not to limit it */
#define LIMIT_CPU            UINT64_C(1000000) /* one CPU, in LIMIT_CPU_MAX's unit */
#define LIMIT_MEMORY_MIN     (UINT64_C(4) << 20)
#define LIMIT_CPUS_MAX       4096 /* bytes of a list: 819 CPUs one by one */
#define LIMIT_IO_DEVICES_MAX 64

struct limit_info {
        const char *member;        /* its key in JSON: of the type Limits and of the summary */
        const char *option;        /* "memory-max", of pppctl and of [node] in the configuration */
        const char *worker_option; /* "worker-memory-max": the same for each worker */
        const char *argument;      /* the option's value in a word: "SIZE" */
        const char *help;          /* the option's line of help */
        const char *form;          /* the values that the option takes: "give …" */
        const char *label;         /* its name in pppctl show */
        enum limit_kind kind;
        const char *file; /* "memory.max" */
        enum cgroup_controller controller;
        uint64_t min, max; /* of a number, in its unit */
        bool takes_none;   /* "max", or the largest integer of JSON, asks for no limit */
};
extern const struct limit_info limit_infos[_LIMIT_N];

/* Each rate LIMIT_NONE where it is not limited. */
enum io_rate {
        IO_READ_BYTES,
        IO_WRITE_BYTES,
        IO_READS,
        IO_WRITES,
        _IO_RATE_N,
};
struct io_rate_info {
        const char *key;    /* "rbps", as in io.max */
        const char *member; /* "read_bytes_per_second" */
        uint64_t min;
        const char *at_least; /* @min, as people write it */
};
extern const struct io_rate_info io_rate_infos[_IO_RATE_N];

struct io_limit {
        unsigned major, minor;
        uint64_t rates[_IO_RATE_N];
};

struct limits {
        unsigned given;            /* LIMIT_BIT of each that was */
        uint64_t values[_LIMIT_N]; /* of those that are numbers */
        char *cpus;                /* owned */
        struct io_limit *io;       /* owned; one a device */
        size_t n_io;
};

#define LIMITS_NULL        \
        {                  \
                .given = 0 \
        }
#define LIMIT_BIT(limit) (1U << (limit))

static inline bool limits_has(const struct limits *limits, enum limit limit)
{
        return limits->given & LIMIT_BIT(limit);
}

static inline bool limit_is_number(enum limit limit)
{
        return limit_infos[limit].kind <= LIMIT_KIND_BYTES;
}

/* Whether it is given, and not as "max", so that there is something to enforce. */
static inline bool limits_enforces(const struct limits *limits, enum limit limit)
{
        return limits_has(limits, limit) &&
               !(limit_is_number(limit) && limits->values[limit] == LIMIT_NONE);
}

void limits_deinit(struct limits *limits);

/* The limit on this device, NULL if there is none. */
const struct io_limit *limits_find_io(const struct limits *limits, unsigned major, unsigned minor);

/*
 * limits-json.c: @path is the object's name in messages, "spec.limits". Strict as spec_from_json():
 * -EBADMSG or -ENOMEM, and @fault tells, with the field.
 */
int limits_from_json(json_t *json, const char *path, struct limits *ret, struct fault *fault);

/* A new reference; what is not given is left out. NULL when out of memory. */
json_t *limits_to_json(const struct limits *limits);

/*
 * limits-text.c: takes the text of an option, such as "150%", "64M" or "/var rbps=1M". IO_MAX may
 * be set several times, once a device. -EBADMSG and @fault, or -ENOMEM.
 */
int limits_set_text(struct limits *limits, enum limit limit, const char *text, struct fault *fault);

/*
 * limits-cgroup.c: writes each limit to the group @fd and reads it back. A negative errno with
 * @fault set, the field being "@path.member", when one is not in force then.
 */
int limits_apply(const struct limits *limits, int fd, const char *path, struct fault *fault);

/* Reads the limits in force from the group's files. Missing files limit nothing. */
int limits_read(int fd, struct limits *ret);
