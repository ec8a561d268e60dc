#pragma once

/* Answers a shell that completes a command line of pppctl. complete.c describes the form of the
 * answer. */

/* @words: those after "pppctl", up to the one that is being typed. Returns the exit status. */
int complete(int n_words, char **words);
