#pragma once

/*
 * The configuration: an ini-like file and the fragments beside it.
 *
 *     # pppctl.conf(5)
 *     [jobs]
 *     max_running = 4
 *     keep_age = 30d
 *     [machines]
 *     redis = redis://redis.example:6379
 *
 * Every key is optional; one that is not known, or whose value is not what it takes, is an error
 * with its file and line, so that a typing error never goes unnoticed. Fragments in FILE.d/ that
 * end with .conf are read after FILE, in the order of their names; the last value of a key counts.
 */

#include "lib/fault.h"
#include "lib/redis-url.h"
#include "lib/spec.h"

/* [machines] and [node]. Texts are owned, and NULL where no file says anything. */
struct machines_config {
        struct redis_url url;      /* see machines_has_redis() */
        char *username, *password; /* those beside the URL */
        char *ca_file, *prefix, *name;
        uint64_t heartbeat_ns;
        bool serve;         /* takes other machines' chunks */
        unsigned workloads; /* which ones: bits of enum workload_id */
        uint32_t owners;    /* whose chunks are run at once */
        struct spec node;   /* how a node runs them: level, workers, loops and limits */
};

static inline bool machines_has_redis(const struct machines_config *machines)
{
        return machines->url.path || machines->url.host;
}

void machines_config_defaults(struct machines_config *machines);
void machines_config_deinit(struct machines_config *machines);

/* What no key alone can tell. -EBADMSG and @fault, or -ENOMEM. */
int machines_config_check(const struct machines_config *machines, struct fault *fault);

/*
 * The object "machines" for pppd-runner (lib/machines.h), with the password: for its memfd and
 * nothing else. NULL when out of memory.
 */
json_t *machines_config_to_json(const struct machines_config *machines);

struct config {
        uint64_t max_running;          /* jobs that run at the same time */
        uint64_t max_running_per_user; /* of one user other than root and our own; 0: all but one */
        uint64_t max_queued;           /* jobs that wait for that */
        uint64_t max_queued_per_user; /* of one user other than root and our own; 0: half of them */
        uint64_t keep_jobs;           /* ended jobs that are kept */
        uint64_t keep_age_ns;         /* and for how long; 0: no limit */
        uint64_t max_size_per_user;   /* bytes of one user's jobs on disk; 0: see space.h */
        uint64_t keep_free; /* bytes of the file system that they leave free; 0: see space.h */
        uint64_t inputs_size_max; /* bytes of one job's inputs */
        struct machines_config machines;
};

void config_defaults(struct config *config);
void config_deinit(struct config *config);

/*
 * Reads one file's text into @config. @file names it in errors; @is_public: everybody may read it,
 * so that no password may be in it. Returns 0; -EBADMSG and @fault; or -ENOMEM. On any error what
 * is in @config is of no use, and is still to be deinited.
 */
int config_parse(struct config *config, const char *file, bool is_public, const char *text,
                 size_t n, struct fault *fault);

/*
 * Reads @path and its fragments over what @config holds. A file that is not there is an error only
 * when @required. On any error but -ENOMEM @fault tells, and @config is as
 * config_parse() leaves it.
 */
int config_load(struct config *config, const char *path, bool required, struct fault *fault);
