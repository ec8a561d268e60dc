#include "cli/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/progress.h"
#include "cli/visible.h"

/* The arguments may contain text that others wrote. */
static _printf_(2, 0) void say(const char *prefix, const char *format, va_list ap)
{
        _cleanup_free_ char *text = NULL;

        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        progress_clear();
        /* Standard output may be the same terminal; it is flushed to keep the order. */
        (void)fflush(stdout);
        fputs(prefix, stderr);
        visible_put(stderr, text ?: "out of memory", strlen(text ?: "out of memory"));
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
