#pragma once

/*
 * The few macros and helpers every part of pppd uses: cleanup by attribute, container_of,
 * checked time and descriptor helpers. Nothing here knows any other file of the project.
 */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _public_       __attribute__((visibility("default")))
#define _likely_(x)    __builtin_expect(!!(x), 1)
#define _unlikely_(x)  __builtin_expect(!!(x), 0)

#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Each argument is evaluated once; names are made unique, so that the macros nest. */
#define _CONCAT(a, b) a##b
#define CONCAT(a, b)  _CONCAT(a, b)
#define _LESSER(a, b, op, n)                                                           \
        ({                                                                             \
                __typeof__(a) CONCAT(_lesser_a, n) = (a);                              \
                __typeof__(b) CONCAT(_lesser_b, n) = (b);                              \
                CONCAT(_lesser_a, n)                                                   \
                op CONCAT(_lesser_b, n) ? CONCAT(_lesser_a, n) : CONCAT(_lesser_b, n); \
        })
#define MIN(a, b) _LESSER(a, b, <, __COUNTER__)
#define MAX(a, b) _LESSER(a, b, >, __COUNTER__)

/* Hand an owned pointer or descriptor on: the variable no longer owns it. */
#define steal_ptr(p)                                \
        ({                                          \
                __typeof__(p) *_steal_p = &(p);     \
                __typeof__(p) _steal_v = *_steal_p; \
                *_steal_p = NULL;                   \
                _steal_v;                           \
        })

static inline int steal_fd(int *fd)
{
        int v = *fd;

        *fd = -EBADF;
        return v;
}

/* Closes @fd if it is one, keeps errno. Returns -EBADF, so: x->fd = close_fd(x->fd). */
static inline int close_fd(int fd)
{
        int saved = errno;

        if (fd >= 0)
                (void)close(fd);
        errno = saved;
        return -EBADF;
}

static inline void closep(int *fd)
{
        *fd = close_fd(*fd);
}

static inline void freep(void *p)
{
        free(*(void **)p);
}

#define _cleanup_free_  _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)

/* A typed cleanup function: DEFINE_CLEANUP(struct job *, job_free) makes job_freep(). */
#define DEFINE_CLEANUP(type, func)                                                   \
        static inline void func##p(type *p) /* NOLINT(bugprone-macro-parentheses) */ \
        {                                                                            \
                if (*p)                                                              \
                        func(*p);                                                    \
        }

/* "1 task", "2 tasks": the ending of the noun. */
static inline const char *plural(uint64_t n)
{
        return n == 1 ? "" : "s";
}

static inline bool streq(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

/* Nanoseconds of CLOCK_MONOTONIC; 23 ns a call where the vDSO has it. */
static inline uint64_t now_monotonic(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_realtime(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Runs also while the machine is suspended. */
static inline uint64_t now_boottime(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/*
 * Strict decimal: digits only, no sign, no space, no overflow.
 * Returns 0, -EINVAL (no number) or -ERANGE (past @max).
 */
int parse_u64(const char *s, size_t n, uint64_t max, uint64_t *ret);

/* "0.25" (seconds), "200ms"; units are ns, us, ms, s, min (or m), h and d. Returns 0, -EINVAL or
 * -ERANGE. */
int parse_duration(const char *s, uint64_t *ret_ns);

/* "64M", "4096": bytes; K, M, G and T are powers of 1024. At most INT64_MAX. -EINVAL or -ERANGE. */
int parse_size(const char *s, uint64_t *ret);

/* How many bytes of UTF-8 text @s, at most @max, can be printed without cutting a character. */
int utf8_prefix(const char *s, size_t max);

/*
 * To be called first in main(): makes sure that descriptors 0 to 2 are open. If one were closed,
 * the next file opened (a lock, a socket, results) would take its number, and messages would be
 * written into it. /dev/null takes the place, opened such that reading, or writing, fails as
 * before. Returns 0, or the error of opening that.
 */
int hold_standard_fds(void);

/* Writes or reads all of @n unless an error or (read) the end comes first; restarts on EINTR. */
int write_all(int fd, const void *data, size_t n);
ssize_t read_all(int fd, void *data, size_t n);

/* Reads a whole file of unknown size (procfs, cgroupfs); NUL-terminated, owned by the caller. */
int read_file_at(int dirfd, const char *path, char **ret_text, size_t *ret_n);

/* A memfd holding @data, sealed against any change. */
int memfd_sealed(const char *name, const void *data, size_t n, int *ret_fd);
