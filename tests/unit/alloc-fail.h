#pragma once

/*
 * Out of memory, everywhere: check_out_of_memory() runs an operation with its first allocation
 * failing, then with its second, and so on, until it gets through without a failure. Each time it
 * must fail with -ENOMEM or be right nevertheless, and give back all it took.
 *
 * To be included by one file of a program that the Makefile links with WRAP_ALLOCATIONS. The calls
 * of our own objects are replaced, and jansson's. Memory that a library allocates for us to free
 * (open_memstream(), getline(), libcurl) is not counted: operations that use such need another
 * test.
 */

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>

#include "tests/unit/test.h"

static struct {
        size_t n;               /* allocations so far */
        size_t fail_at, fail_n; /* the first one to fail, from 1, and how many do; 0: none */
        bool failed;
        ssize_t live; /* blocks that were taken and not given back */
} allocations;

static bool allocation_fails(void)
{
        ++allocations.n;
        if (allocations.fail_at == 0 || allocations.n < allocations.fail_at ||
            allocations.n - allocations.fail_at >= allocations.fail_n)
                return false;
        allocations.failed = true;
        errno = ENOMEM;
        return true;
}

static void *allocated(void *block)
{
        allocations.live += block != NULL;
        return block;
}

#define WRAPPED(type, name, ...)         \
        type __real_##name(__VA_ARGS__); \
        type __wrap_##name(__VA_ARGS__); \
        type __wrap_##name(__VA_ARGS__)

/* NOLINTBEGIN(bugprone-macro-parentheses) */
WRAPPED(void *, malloc, size_t n)
{
        return allocation_fails() ? NULL : allocated(__real_malloc(n));
}

WRAPPED(void *, calloc, size_t n, size_t size)
{
        return allocation_fails() ? NULL : allocated(__real_calloc(n, size));
}

WRAPPED(void *, realloc, void *block, size_t n)
{
        if (allocation_fails())
                return NULL;
        return block ? __real_realloc(block, n) : allocated(__real_realloc(NULL, n));
}

WRAPPED(void *, reallocarray, void *block, size_t n, size_t size)
{
        if (allocation_fails())
                return NULL;
        return block ? __real_reallocarray(block, n, size)
                     : allocated(__real_reallocarray(NULL, n, size));
}

WRAPPED(void, free, void *block)
{
        allocations.live -= block != NULL;
        __real_free(block);
}

WRAPPED(char *, strdup, const char *text)
{
        return allocation_fails() ? NULL : allocated(__real_strdup(text));
}

WRAPPED(char *, strndup, const char *text, size_t n)
{
        return allocation_fails() ? NULL : allocated(__real_strndup(text, n));
}

WRAPPED(int, vasprintf, char **ret, const char *format, va_list args)
{
        int n = allocation_fails() ? -1 : __real_vasprintf(ret, format, args);

        allocations.live += n >= 0;
        return n;
}

WRAPPED(int, asprintf, char **ret, const char *format, ...)
{
        va_list args;
        int n;

        va_start(args, format);
        n = __wrap_vasprintf(ret, format, args);
        va_end(args);
        return n;
}

/* What these two become with _FORTIFY_SOURCE. */
WRAPPED(int, __vasprintf_chk, char **ret, int flag, const char *format, va_list args)
{
        return __wrap_vasprintf(ret, format, args);
}

WRAPPED(int, __asprintf_chk, char **ret, int flag, const char *format, ...)
{
        va_list args;
        int n;

        va_start(args, format);
        n = __wrap_vasprintf(ret, format, args);
        va_end(args);
        return n;
}
/* NOLINTEND(bugprone-macro-parentheses) */

static void say_out_of_memory(size_t fail_at, size_t fail_n, char text[static 64])
{
        snprintf(text, 64, "allocation %zu%s failed", fail_at,
                 fail_n > 1 ? ", and all after it," : "");
}

/* Returns whether an allocation failed: false is the last time. */
static bool try_out_of_memory(int (*operation)(void), size_t fail_at, size_t fail_n)
{
        ssize_t live = allocations.live;
        char what[64];
        int r;

        allocations.n = 0;
        allocations.fail_at = fail_at;
        allocations.fail_n = fail_n;
        allocations.failed = false;
        r = operation();
        allocations.fail_at = 0;
        say_out_of_memory(fail_at, fail_n, what);
        if (r != 0 && !(r == -ENOMEM && allocations.failed))
                test_fail_at("%d was returned when %s", r, what);
        if (allocations.live != live)
                test_fail_at("%zd blocks were left when %s", allocations.live - live, what);
        return allocations.failed;
}

/*
 * @operation returns 0 after it has checked what came of it, or -ENOMEM. Once each allocation fails
 * alone, since much can be tried again, and once with all that follow.
 */
static void check_out_of_memory(int (*operation)(void))
{
        static const size_t fail_n[] = { 1, SIZE_MAX };

        json_set_alloc_funcs(malloc, free);
        for (size_t i = 0; i < ARRAY_SIZE(fail_n); ++i) {
                size_t at = 1;

                while (try_out_of_memory(operation, at, fail_n[i]))
                        ++at;
                test_int(at, >, 1); /* it does allocate */
        }
}
