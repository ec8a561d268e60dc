#include "cli/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/progress.h"

static _printf_(2, 0) void say(const char *prefix, const char *format, va_list ap)
{
        progress_clear();
        /* Standard output may be the same terminal: what was printed before comes before. */
        (void)fflush(stdout);
        fputs(prefix, stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        (void)fflush(stderr);
}

int cli_fail(int status, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        say("pppctl: ", format, ap);
        va_end(ap);
        return status;
}

void cli_note(const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        say("", format, ap);
        va_end(ap);
}

int cli_no_memory(void)
{
        return cli_fail(CLI_FAILED, "out of memory; close something, or give fewer inputs");
}
