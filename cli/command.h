#pragma once

/*
 * The command of `pppctl run LEVEL exec [OPTION...] -- WORD... [::: INPUT...]`: its words, its
 * inputs, and what it takes over from the caller. Functions return 0, or print the error and return
 * an exit status.
 */

#include "cli/client.h"
#include "cli/source.h"

/*
 * All but the surroundings; free with command_deinit(). @call: what has to come before "--", for
 * people, "run async exec"; it has @n_call operands.
 */
int command_choose(const struct args *args, const char *call, size_t n_call, struct command *ret);

/*
 * Opens its inputs: those after :::, else of --from, else of standard input if that is a pipe or a
 * file, else none. @command gets to know whether there are any. source->is_empty: the list is.
 */
int command_open_source(const struct args *args, struct command *command, struct source *source);

/*
 * Where it runs: for the caller's own pppd the directory, the environment and the umask of the
 * caller; another's gets what the options say, and nothing else of the caller.
 */
int command_surround(const struct args *args, const struct pppd *pppd, struct command *command);
