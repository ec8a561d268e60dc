/*
 * Counts brackets outside of strings. A string starts and ends at a quote that no backslash
 * precedes, just as a parser lexes it; so as long as a parser is without error, both agree on the
 * depth.
 */

#include "lib/json-depth.h"

/* The byte after the string that starts at @p; @end if the string does not end. */
static const char *skip_string(const char *p, const char *end)
{
        for (++p; p < end && *p != '"'; ++p)
                if (*p == '\\' && ++p == end)
                        return end;
        return p < end ? p + 1 : end;
}

bool json_depth_exceeds(const char *text, size_t n, unsigned max)
{
        const char *p = text, *end = text + n;
        unsigned depth = 0;

        while (p < end) {
                if (*p == '"') {
                        p = skip_string(p, end);
                        continue;
                }
                if ((*p == '{' || *p == '[') && ++depth > max)
                        return true;
                if ((*p == '}' || *p == ']') && depth > 0)
                        --depth;
                ++p;
        }
        return false;
}

bool json_members_exceed(const char *text, size_t n, size_t max)
{
        const char *p = text, *end = text + n;
        size_t commas = 0;

        while (p < end) {
                if (*p == '"') {
                        p = skip_string(p, end);
                        continue;
                }
                if (*p++ == ',' && ++commas > max)
                        return true;
        }
        return false;
}
