#pragma once

/* The verbs of pppctl: one file each, one row each in the table of verbs.c. */

#include "cli/args.h"

#define VERB_OPERANDS_MAX 3

enum operand {
        OPERAND_NONE,
        OPERAND_LEVEL,
        OPERAND_WORKLOAD,
        OPERAND_INPUT, /* any number of them, also files */
        OPERAND_JOB,
        OPERAND_JOBS, /* any number of them */
        OPERAND_VERB,
        OPERAND_CHAPTER, /* of talk */
};

struct verb {
        const char *name;
        const char *synopsis; /* after the name */
        enum operand operands[VERB_OPERANDS_MAX];
        const char *what;                    /* one line, for the list of verbs */
        bool shows_choices;                  /* its own help begins with the levels and workloads */
        const char *text;                    /* lines, for the verb's own help */
        const char *examples;                /* lines */
        option_set options;                  /* besides OPTIONS_COMMON */
        int (*run)(const struct args *args); /* returns the exit status */
};

extern const struct verb verb_run, verb_compare, verb_list, verb_show, verb_logs, verb_results,
        verb_timeline, verb_wait, verb_cancel, verb_pause, verb_resume, verb_rerun, verb_nodes,
        verb_doctor, verb_metrics, verb_talk, verb_help;

/* All verbs, in the order of the help; NULL-terminated. */
extern const struct verb *const verbs[];

/* NULL if there is none of this name. */
const struct verb *verb_find(const char *name);
int verb_say_unknown(const char *name);

/* On standard output. */
void help_show(void);
void help_show_verb(const struct verb *verb);

/* pppctl itself: parses, dispatches, returns the exit status. */
int pppctl(int argc, char **argv);
