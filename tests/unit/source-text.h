#pragma once

/* Inputs for pppctl that stand in a file. */

#include "cli/source.h"
#include "tests/unit/capture.h"

/* Opens the @n bytes of @text as `--from FILE`, by a name that open(2) takes; what is said goes
 * into @err. */
static inline int source_from_text(struct source *source, const char *text, size_t n,
                                   struct capture *err)
{
        _cleanup_close_ int fd = memfd_create("from", MFD_CLOEXEC);
        char path[64];
        int r;

        test_int(write_all(fd, text, n), ==, 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        capture_begin(err, stderr);
        r = source_open(source, WORKLOAD_SUM, path, NULL, 0);
        capture_end(err);
        return r;
}
