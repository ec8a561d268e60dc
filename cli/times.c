#include "cli/times.h"

#include <stdio.h>

static bool parse(const char *rfc3339, struct tm *ret_local)
{
        struct tm utc = { 0 };
        time_t t;

        if (!strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &utc) || !strchr(rfc3339, 'Z'))
                return false;
        t = timegm(&utc);
        return localtime_r(&t, ret_local);
}

/* A text that is no time is shown unchanged, and so is a time that strftime(3) cannot write. */
static const char *or_as_it_is(size_t written, const char *rfc3339, char text[TIMES_SIZE])
{
        if (written == 0)
                snprintf(text, TIMES_SIZE, "%s", rfc3339);
        return text;
}

const char *times_local(const char *rfc3339, char text[TIMES_SIZE])
{
        struct tm local;
        size_t n = 0;

        if (parse(rfc3339, &local))
                n = strftime(text, TIMES_SIZE, "%F %T", &local);
        return or_as_it_is(n, rfc3339, text);
}

const char *times_brief(const char *rfc3339, time_t now, char text[TIMES_SIZE])
{
        struct tm local, today;
        size_t n;

        if (!parse(rfc3339, &local) || !localtime_r(&now, &today))
                n = 0;
        else if (local.tm_year != today.tm_year)
                n = strftime(text, TIMES_SIZE, "%F", &local);
        else if (local.tm_yday != today.tm_yday)
                n = strftime(text, TIMES_SIZE, "%m-%d %H:%M", &local);
        else
                n = strftime(text, TIMES_SIZE, "%T", &local);
        return or_as_it_is(n, rfc3339, text);
}
