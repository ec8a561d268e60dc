#pragma once

/* The command line, and where things are when it does not say. */

#include "lib/util.h"

struct options {
        char *socket;
        char *state;
        char *config; /* NULL: the usual places */
        char *cgroup; /* NULL: found or made */
        char *runner;
        char *web;
        bool check_config; /* and nothing else; the other members are as they were given */
};

#define OPTIONS_NULL           \
        {                      \
                .socket = NULL \
        }

/*
 * Returns 0; 1 when --help or --version was answered and there is nothing else to do; a negative
 * errno after it told what is wrong on standard error.
 */
int supervisor_options_parse(struct options *options, int argc, char **argv);
void supervisor_options_deinit(struct options *options);

/*
 * The configuration files to read without --config, in order; each optional. Allocated, @n of them.
 */
#define CONFIG_FILES_MAX 2
int supervisor_config_files(char *ret[static CONFIG_FILES_MAX], size_t *ret_n);
