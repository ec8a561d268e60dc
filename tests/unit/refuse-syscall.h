#pragma once

/*
 * Takes the place of the C library's syscall(2) in a test program, since nothing else makes the
 * kernel refuse one call at will. The program says which: refuses_syscall() returns the errno that
 * the caller is to see, 0 for a call that the kernel gets.
 */

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "lib/util.h"

static int refuses_syscall(long number);

long syscall(long number, ...)
{
        static long (*next)(long number, ...);
        long (*found)(long number, ...) = __atomic_load_n(&next, __ATOMIC_RELAXED);
        long arguments[6];
        va_list list;
        int error;

        va_start(list, number);
        for (unsigned i = 0; i < ARRAY_SIZE(arguments); ++i)
                arguments[i] = va_arg(list, long);
        va_end(list);
        error = refuses_syscall(number);
        if (error > 0) {
                errno = error;
                return -1;
        }
        if (!found) {
                *(void **)&found = dlsym(RTLD_NEXT, "syscall");
                __atomic_store_n(&next, found, __ATOMIC_RELAXED);
        }
        return found(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                     arguments[5]);
}
