#include "cli/times.h"

#include <stdio.h>

const char *times_local(const char *rfc3339, char text[TIMES_SIZE])
{
        struct tm utc = { 0 }, local;
        time_t t;

        if (!strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &utc) || !strchr(rfc3339, 'Z')) {
                snprintf(text, TIMES_SIZE, "%s", rfc3339);
                return text;
        }
        t = timegm(&utc);
        if (!localtime_r(&t, &local) || strftime(text, TIMES_SIZE, "%F %T", &local) == 0)
                snprintf(text, TIMES_SIZE, "%s", rfc3339);
        return text;
}
