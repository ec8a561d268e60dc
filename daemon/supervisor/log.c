#include "daemon/supervisor/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

static bool to_journal;

void supervisor_log_init(void)
{
        const char *stream = getenv("JOURNAL_STREAM");
        uintmax_t device, inode;
        struct stat st;

        if (!stream || sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) != 2)
                return;
        if (fstat(STDERR_FILENO, &st) < 0)
                return;
        to_journal = st.st_dev == device && st.st_ino == inode;
}

void supervisor_log(int priority, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        int saved = errno;
        va_list args;
        int r;

        assert(priority >= LOG_EMERG && priority <= LOG_DEBUG);
        va_start(args, format);
        r = vasprintf(&text, format, args);
        va_end(args);
        if (r < 0)
                text = NULL;
        /* Standard error may be gone (a closed terminal): there is nobody left to tell. */
        if (to_journal)
                (void)dprintf(STDERR_FILENO, "<%d>%s\n", priority, text ? text : format);
        else
                (void)dprintf(STDERR_FILENO, "pppd-supervisor: %s\n", text ? text : format);
        errno = saved;
}

int supervisor_log_oom(void)
{
        supervisor_log(LOG_ERR, "out of memory");
        return -ENOMEM;
}
