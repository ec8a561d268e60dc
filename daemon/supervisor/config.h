#pragma once

/*
 * The configuration: an ini-like file and the fragments beside it.
 *
 *     # pppctl.conf(5)
 *     [jobs]
 *     max_running = 4
 *     keep_age = 30d
 *
 * Every key is optional; one that is not known, or whose value is not what it takes, is an error
 * with its file and line, so that a typing error never goes unnoticed. Fragments in FILE.d/ that end
 * with .conf are read after FILE, in the order of their names; the last value of a key counts.
 */

#include "lib/util.h"

struct config {
        uint64_t max_running;           /* jobs that run at the same time */
        uint64_t max_queued;            /* jobs that wait for that */
        uint64_t max_queued_per_user;   /* of one user other than root and our own; 0: half of them */
        uint64_t keep_jobs;             /* ended jobs that are kept */
        uint64_t keep_age_ns;           /* and for how long; 0: no limit */
        uint64_t inputs_size_max;       /* bytes of one job's inputs */
};

void config_defaults(struct config *config);

/*
 * Reads one file's text into @config. @file names it in errors. Returns 0; -EBADMSG and the sentence
 * in @ret_error (the caller frees it), with @config unchanged; or -ENOMEM.
 */
int config_parse(struct config *config, const char *file, const char *text, size_t n,
                 char **ret_error);

/*
 * Reads @path and its fragments over what @config holds. A file that is not there is an error only
 * when @required. On any error @config is unchanged and *@ret_error tells (NULL: out of memory).
 */
int config_load(struct config *config, const char *path, bool required, char **ret_error);
