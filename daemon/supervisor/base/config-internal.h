#pragma once

/* Definitions that the two files of the configuration's parser share. */

#include "daemon/supervisor/base/config.h"

/* The line that is being parsed; errors name it. */
struct place {
        const char *file;
        unsigned line;
        bool is_public; /* every user may read the file */
        struct fault *fault;
};

/* Sets place->fault, with "FILE:LINE: …"; -EBADMSG. */
int config_refuse(const struct place *place, const char *format, ...) _printf_(2, 3);

/* Sets a key of [machines] or [node]. -ENOENT when there is no such key. */
int config_machines_set(struct machines_config *machines, const char *section, const char *name,
                        const char *value, const struct place *place);
