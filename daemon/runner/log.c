#include <stdarg.h>
#include <stdio.h>

#include "daemon/runner/runner.h"

void log_error(const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        /* One write, so that lines of threads and processes do not mix. */
        if (n >= 0)
                dprintf(STDERR_FILENO, "pppd-runner: %s\n", text);
}
