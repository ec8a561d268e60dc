#pragma once

/* The words of a job's command (lib/command.h), with the placeholders replaced for one task. */

#include "lib/command.h"

/* The values that take the place of placeholders. */
struct template_values {
        const char *input; /* NULL: there is none, and its placeholders stand for nothing */
        size_t n_input;
        uint64_t task; /* from 1 */
        unsigned slot; /* from 1 */
};

/* Whether one of the words has a placeholder for the input, so that it is not added at the end. */
bool template_has_input(const struct command *command);

/*
 * The arguments of one command, which end with NULL, to be freed with template_free(). With
 * command->shell they are those of a shell. @adds_input: the input is one more word. -ENOMEM.
 */
int template_expand(const struct command *command, const struct template_values *values,
                    bool adds_input, char ***ret);
void template_free(char **arguments);
