#include "daemon/runner/fetch/http-fields.h"

#include <strings.h>

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

static const char *value_of(const char *line, const char *end, const char *name, size_t *ret_n)
{
        size_t n = strlen(name);

        if ((size_t)(end - line) <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
                return NULL;
        line += n + 1;
        while (line < end && is_blank(*line))
                ++line;
        while (end > line && (is_blank(end[-1]) || end[-1] == '\r'))
                --end;
        *ret_n = (size_t)(end - line);
        return line;
}

const char *http_fields_next(const char **at, const char *end, const char *name, size_t *ret_n)
{
        while (*at < end) {
                const char *line = *at, *lf = memchr(line, '\n', (size_t)(end - line)), *value;

                *at = lf ? lf + 1 : end;
                value = value_of(line, lf ?: end, name, ret_n);
                if (value)
                        return value;
        }
        return NULL;
}

bool http_date_parse(const char *text, size_t n, time_t *ret)
{
        static const char *const formats[] = {
                "%a, %d %b %Y %H:%M:%S GMT",
                "%a, %d-%b-%Y %H:%M:%S GMT",
                "%A, %d-%b-%y %H:%M:%S GMT",
                "%a %b %e %H:%M:%S %Y",
        };
        char copy[64]; /* none of them is that long */

        if (n >= sizeof(copy))
                return false;
        memcpy(copy, text, n);
        copy[n] = 0;
        for (size_t i = 0; i < ARRAY_SIZE(formats); ++i) {
                struct tm tm = { 0 };
                const char *end = strptime(copy, formats[i], &tm);

                if (!end || *end)
                        continue;
                *ret = timegm(&tm);
                return true;
        }
        return false;
}
