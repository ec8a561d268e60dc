#include "daemon/supervisor/base/failure.h"

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
                return "give the daemon access to it, or start it with another --state DIR";
        case -EIO:
                return "look in the kernel's log for what is wrong with the disk";
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
        /* -ECHILD means that the child that was to do the work was killed. */
        if (failure_is_want(error) || error == -EIO || error == -EINTR || error == -EBUSY ||
            error == -ECHILD)
                return FAILURE_PASSES;
        if (error == -EBADMSG || error == -ENOENT || error == -ENOTDIR || error == -EISDIR ||
            error == -ELOOP)
                return FAILURE_STAYS;
        return FAILURE_UNKNOWN;
}

bool failure_may_pass(const struct fault *fault)
{
        return fault->field ? failure_is_want(fault->error)
                            : failure_kind(fault->error) == FAILURE_PASSES;
}
