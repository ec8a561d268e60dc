#pragma once

/*
 * The configuration: a file in ini style, and the fragments beside it.
 *
 *     # pppctl.conf(5)
 *     [jobs]
 *     max_running = 4
 *     keep_age = 30d
 *     [machines]
 *     redis = redis://redis.example:6379
 *
 * Every key is optional. An unknown key and an invalid value are errors that name the file and the
 * line, so that a typing error never goes unnoticed. Fragments FILE.d/NAME.conf are read after
 * FILE, in the order of their names; the last value of a key counts.
 */

#include "lib/fault.h"
#include "lib/redis-url.h"
#include "lib/spec.h"

/* The sections [machines] and [node]. Texts are owned, and NULL when no file sets them. */
struct machines_config {
        struct redis_url url;      /* empty: no Redis is configured, see machines_has_redis() */
        char *username, *password; /* given by keys of their own, not in the URL */
        char *ca_file, *prefix, *name;
        uint64_t heartbeat_ns;
        bool serve;         /* this machine is a node: it runs chunks of other machines' jobs */
        unsigned workloads; /* the workloads that the node runs: bits of enum workload_id */
        uint32_t owners;    /* the number of owners whose chunks the node runs at the same time */
        struct spec node;   /* how the node runs chunks: level, workers, loops and limits */
};

static inline bool machines_has_redis(const struct machines_config *machines)
{
        return machines->url.path || machines->url.host;
}

void machines_config_defaults(struct machines_config *machines);
void machines_config_deinit(struct machines_config *machines);

/* Checks the keys against each other. -EBADMSG and @fault, or -ENOMEM. */
int machines_config_check(const struct machines_config *machines, struct fault *fault);

/*
 * Makes the object "machines" for pppd-runner (lib/machines.h). It contains the password, and so
 * must go into the runner's memfd and nowhere else. NULL when out of memory.
 */
json_t *machines_config_to_json(const struct machines_config *machines);

struct config {
        /* The limits per user do not apply to root and to the daemon's own user. */
        uint64_t max_running;          /* jobs that may run at the same time */
        uint64_t max_running_per_user; /* running jobs of one user; 0: max_running less one */
        uint64_t max_queued;           /* jobs that may wait in the queue */
        uint64_t max_queued_per_user;  /* waiting jobs of one user; 0: half of max_queued */
        uint64_t keep_jobs;            /* ended jobs that are kept */
        uint64_t keep_age_ns;          /* how long ended jobs are kept; 0: without limit */
        uint64_t max_size_per_user;    /* bytes of one user's jobs on disk; 0: see space.h */
        uint64_t keep_free;            /* bytes left free on the file system; 0: see space.h */
        uint64_t inputs_size_max;      /* bytes of one job's inputs */
        int64_t exec_group;            /* whose members may run commands; -1: nobody may */
        struct machines_config machines;
};

void config_defaults(struct config *config);
void config_deinit(struct config *config);

/*
 * Reads one file's text into @config. @file is its name for errors. A file that is public, that is,
 * one that every user may read, may not contain a password. -EBADMSG and @fault, or -ENOMEM. After
 * an error @config must not be used, but still has to be deinited.
 */
int config_parse(struct config *config, const char *file, bool is_public, const char *text,
                 size_t n, struct fault *fault);

/*
 * Reads @path and its fragments; their values replace those in @config. A missing file is an error
 * only if @required. On any error but -ENOMEM @fault says why, and @config is as
 * config_parse() leaves it.
 */
int config_load(struct config *config, const char *path, bool required, struct fault *fault);
