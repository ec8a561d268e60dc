#include "lib/input-kind.h"

#include <strings.h>

static bool is_scheme_char(char c, bool first)
{
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
                return true;
        return !first && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.');
}

/* Before a colon (RFC 3986, 3.1); 0 if there is none. Most paths end the search at once. */
static size_t scheme_length(const char *s, size_t n)
{
        size_t i = 0;

        while (i < n && is_scheme_char(s[i], i == 0))
                ++i;
        return i < n && s[i] == ':' ? i : 0;
}

static bool scheme_is(const char *s, size_t n, const char *name)
{
        return strlen(name) == n && strncasecmp(s, name, n) == 0;
}

enum input_kind input_kind_of(const char *input, size_t n, size_t *ret_scheme)
{
        size_t k = scheme_length(input, n);

        *ret_scheme = k;
        if (k == 0)
                return INPUT_PATH;
        if (scheme_is(input, k, "file"))
                return INPUT_FILE;
        if (scheme_is(input, k, "demo"))
                return INPUT_DEMO;
        if (n - k < 3 || memcmp(input + k, "://", 3) != 0)
                return INPUT_PATH;
        if (scheme_is(input, k, "http") || scheme_is(input, k, "https"))
                return INPUT_HTTP;
        return INPUT_FOREIGN;
}
