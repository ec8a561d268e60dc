#include "daemon/supervisor/failure.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/spec.h"

void failure_deinit(struct failure *failure)
{
        free(failure->attempted);
        free(failure->why);
        free(failure->hint);
        free(failure->limit);
        *failure = (struct failure)FAILURE_NULL;
}

static const char *hint_for(int error)
{
        switch (error) {
        case -ENOSPC:
        case -EDQUOT:
                return "make room on the file system of the state directory, or keep fewer jobs "
                       "(keep_jobs, keep_age in pppctl.conf)";
        case -EROFS:
        case -EACCES:
        case -EPERM:
                return "give the daemon the right to it, or start it with another --state DIR";
        case -EMFILE:
        case -ENFILE:
                return "let jobs or clients end, or raise the limit on open files (LimitNOFILE=)";
        case -EAGAIN:
                return "let jobs end, or raise the limit on processes (TasksMax=, ulimit -u)";
        case -ENOMEM:
                return "free memory on this machine, or run fewer jobs at a time";
        default:
                return "the daemon's log tells more";
        }
}

static void fill(struct failure *failure, const char *why, const char *hint, const char *attempted,
                 va_list args) _printf_(4, 0);

static void fill(struct failure *failure, const char *why, const char *hint, const char *attempted,
                 va_list args)
{
        failure_deinit(failure);
        if (vasprintf(&failure->attempted, attempted, args) < 0)
                failure->attempted = NULL;
        failure->why = strdup(why);
        failure->hint = strdup(hint);
}

int failure_set(struct failure *failure, int error, const char *hint, const char *attempted, ...)
{
        va_list args;

        assert(error < 0);
        va_start(args, attempted);
        fill(failure, strerror(-error), hint ? hint : hint_for(error), attempted, args);
        va_end(args);
        return error;
}

int failure_set_why(struct failure *failure, int error, const char *why, const char *hint,
                    const char *attempted, ...)
{
        va_list args;

        assert(error < 0);
        va_start(args, attempted);
        fill(failure, why, hint ? hint : hint_for(error), attempted, args);
        va_end(args);
        return error;
}

int failure_set_limit(struct failure *failure, int error, const struct spec_error *what)
{
        const char *name = strrchr(what->field, '.');

        (void)failure_set_why(failure, error, what->why, what->hint, "set the limit %s",
                              name ? name + 1 : what->field);
        failure->limit = strdup(what->field);
        return error;
}
