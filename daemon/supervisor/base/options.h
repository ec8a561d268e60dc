#pragma once

/* The options of the command line, and the default places for those that are not given. */

#include "lib/util.h"

struct options {
        char *socket;
        char *state;
        char *config; /* NULL: the default files, see supervisor_config_files() */
        char *cgroup; /* NULL: a delegated cgroup is found, or one is made */
        char *runner;
        char *web;
        bool check_config; /* only check the configuration; other members then have no defaults */
};

#define OPTIONS_NULL           \
        {                      \
                .socket = NULL \
        }

/*
 * Returns 0; 1 when --help or --version was answered and there is nothing else to do; or a negative
 * errno, after an error message on standard error.
 */
int supervisor_options_parse(struct options *options, int argc, char **argv);
void supervisor_options_deinit(struct options *options);

/*
 * The @ret_n configuration files that are read without --config, in order. Each may be missing. The
 * caller frees the names.
 */
#define CONFIG_FILES_MAX 2
int supervisor_config_files(char *ret[static CONFIG_FILES_MAX], size_t *ret_n);
