#pragma once

/* What the files of the configuration's parser share with each other and nobody else. */

#include "daemon/supervisor/base/config.h"

/* Where the parser is, for errors. */
struct place {
        const char *file;
        unsigned line;
        bool is_public; /* everybody may read the file */
        struct fault *fault;
};

/* Sets place->fault, with "FILE:LINE: …"; -EBADMSG. */
int config_refuse(const struct place *place, const char *format, ...) _printf_(2, 3);

/* config-machines.c: sets a key of [machines] or [node]; -ENOENT: there is no such key. */
int config_machines_set(struct machines_config *machines, const char *section, const char *name,
                        const char *value, const struct place *place);
