#pragma once

/* What a function writes to a standard stream. */

#include <sys/mman.h>

#include "tests/unit/test.h"

/* What is written to a standard stream between capture_begin() and capture_end(). */
struct capture {
        FILE *stream;
        int fd, saved;
        char *text; /* of the latest capture */
};

/* All of a small file, NUL-terminated, from its beginning. */
static inline char *contents(int fd)
{
        off_t size = lseek(fd, 0, SEEK_END);
        char *text;

        test_int(size, >=, 0);
        text = calloc(1, (size_t)size + 1);
        test_true(text);
        test_int(pread(fd, text, (size_t)size, 0), ==, size);
        return text;
}

static inline void capture_begin(struct capture *capture, FILE *stream)
{
        (void)fflush(stream);
        capture->stream = stream;
        capture->fd = memfd_create("capture", MFD_CLOEXEC);
        capture->saved = dup(fileno(stream));
        test_int(capture->fd, >=, 0);
        test_int(dup2(capture->fd, fileno(stream)), >=, 0);
}

static inline const char *capture_end(struct capture *capture)
{
        (void)fflush(capture->stream);
        (void)dup2(capture->saved, fileno(capture->stream));
        free(capture->text);
        capture->text = contents(capture->fd);
        close_fd(capture->fd);
        close_fd(capture->saved);
        return capture->text;
}
