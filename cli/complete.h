#pragma once

/* What a shell's completion asks pppctl: complete.c tells the form of the answer. */

/* @words: those after "pppctl", up to the one that is being typed. Returns the exit status. */
int complete(int n_words, char **words);
