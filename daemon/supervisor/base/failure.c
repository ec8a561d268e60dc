#include "daemon/supervisor/base/failure.h"

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

const char *failure_advice(int error)
{
        switch (error) {
        case -ENOSPC:
                return "make room on the file system of the state directory, or keep fewer jobs "
                       "(keep_jobs, keep_age in pppctl.conf)";
        case -EDQUOT:
                return "raise the disk quota of the daemon's user, or keep fewer jobs (keep_jobs, "
                       "keep_age in pppctl.conf)";
        case -EFBIG:
                return "raise the daemon's limit on the size of a file (LimitFSIZE=, ulimit -f), "
                       "or give fewer inputs";
        case -EROFS:
                return "mount the file system of the state directory writable, or start the daemon "
                       "with another --state DIR";
        case -EACCES:
        case -EPERM:
                return "give the daemon the right to it, or start it with another --state DIR";
        case -EIO:
                return "see the kernel's log for what is wrong with the disk";
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

bool failure_is_want(int error)
{
        return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS ||
               error == -EAGAIN;
}

enum failure_kind failure_kind(int error)
{
        /* -ECHILD: a child that was to do it was killed. */
        if (failure_is_want(error) || error == -EIO || error == -EINTR || error == -EBUSY ||
            error == -ECHILD)
                return FAILURE_PASSES;
        if (error == -EBADMSG || error == -ENOENT || error == -ENOTDIR || error == -EISDIR ||
            error == -ELOOP)
                return FAILURE_STAYS;
        return FAILURE_UNKNOWN;
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

bool failure_may_pass(const struct failure *failure, int error)
{
        if (failure->space || (failure->limit && !failure_is_want(error)))
                return false;
        return failure_kind(error) == FAILURE_PASSES;
}

int failure_set(struct failure *failure, int error, const char *hint, const char *attempted, ...)
{
        va_list args;

        assert(error < 0);
        va_start(args, attempted);
        fill(failure, strerror(-error), hint ? hint : failure_advice(error), attempted, args);
        va_end(args);
        return error;
}

int failure_set_why(struct failure *failure, int error, const char *why, const char *hint,
                    const char *attempted, ...)
{
        va_list args;

        assert(error < 0);
        va_start(args, attempted);
        fill(failure, why, hint ? hint : failure_advice(error), attempted, args);
        va_end(args);
        return error;
}

int failure_set_sentence(struct failure *failure, int error, const char *hint, const char *why, ...)
{
        _cleanup_free_ char *sentence = NULL;
        va_list args;

        va_start(args, why);
        if (vasprintf(&sentence, why, args) < 0)
                sentence = NULL;
        va_end(args);
        return failure_set_why(failure, error, failure_text(sentence), hint, "admit the job");
}

char *failure_sentence(const struct failure *failure)
{
        char *text;

        if (asprintf(&text, "cannot %s: %s; %s", failure_text(failure->attempted),
                     failure_text(failure->why), failure_text(failure->hint)) < 0)
                return NULL;
        return text;
}

int failure_set_limit(struct failure *failure, int error, const struct spec_error *what)
{
        const char *name = strrchr(what->field, '.');

        (void)failure_set_why(failure, error, what->why, what->hint, "set the limit %s",
                              name ? name + 1 : what->field);
        failure->limit = strdup(what->field);
        return error;
}
