/* Tells URLs from paths for `words`. Pure: looks at the text only. */

#include "daemon/runner/workloads/words-input.h"

#include <stdio.h>

#include "lib/input-kind.h"
#include "lib/percent.h"

/* A URL's path; it has no query and no fragment. */
static int decode_path(const char *s, char **ret)
{
        return strpbrk(s, "?#") ? -EINVAL : percent_decode(s, strlen(s), ret);
}

/* @s is the text after "file:". A host must be this machine: RFC 8089 knows "" and "localhost". */
static int parse_file_url(const char *s, struct words_input *ret)
{
        static const char localhost[] = "//localhost/";
        int r;

        if (strncasecmp(s, localhost, strlen(localhost)) == 0)
                s += strlen(localhost) - 1;
        else if (strncmp(s, "///", 3) == 0)
                s += 2;
        else if (s[0] != '/' || s[1] == '/')
                return -EINVAL;
        r = decode_path(s, &ret->made);
        if (r < 0)
                return r;
        ret->source = WORDS_READ;
        ret->target = ret->made;
        return 0;
}

static int parse_demo(const char *year, const char *demo_url, struct words_input *ret)
{
        if (!demo_url)
                return -EPROTONOSUPPORT;
        if (year[0] == 0 || year[strspn(year, "0123456789")] != 0)
                return -EINVAL;
        if (asprintf(&ret->made, "%s/%s", demo_url, year) < 0) {
                ret->made = NULL;
                return -ENOMEM;
        }
        ret->source = WORDS_FETCH;
        ret->target = ret->made;
        return 0;
}

int words_input_parse(const char *input, const char *demo_url, struct words_input *ret)
{
        struct words_input parsed = { .source = WORDS_READ, .target = input };
        size_t n;
        int r = 0;

        switch (input_kind_of(input, strlen(input), &n)) {
        case INPUT_PATH:
                break;
        case INPUT_FILE:
                r = parse_file_url(input + n + 1, &parsed);
                break;
        case INPUT_DEMO:
                r = parse_demo(input + n + 1, demo_url, &parsed);
                break;
        case INPUT_HTTP:
                parsed.source = WORDS_FETCH;
                break;
        case INPUT_FOREIGN:
                r = -EPROTONOSUPPORT;
                break;
        }
        if (r < 0)
                return r;
        *ret = parsed;
        return 0;
}
