#include "daemon/runner/fetch/content-type.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t"

/* Past a quoted string that starts at @s; a missing end quote is the end of the text. */
static const char *skip_quoted(const char *s)
{
        for (++s; *s && *s != '"'; ++s)
                if (*s == '\\' && s[1])
                        ++s;
        return *s ? s + 1 : s;
}

/* To the `;` that ends the parameter at @s, or to the end of the text. */
static const char *skip_parameter(const char *s)
{
        while (*s && *s != ';')
                s = *s == '"' ? skip_quoted(s) : s + 1;
        return s;
}

/* The text after `name=` if the parameter at @s has that name. RFC 9110 has no blanks around `=`,
 * servers do. */
static const char *parameter_value(const char *s, const char *name)
{
        size_t n = strlen(name);

        if (strncasecmp(s, name, n) != 0)
                return NULL;
        s += n;
        s += strspn(s, BLANKS);
        if (*s != '=')
                return NULL;
        return s + 1 + strspn(s + 1, BLANKS);
}

const char *content_type_charset(const char *value, size_t *ret_n)
{
        for (const char *s = skip_parameter(value); *s == ';'; s = skip_parameter(s)) {
                const char *charset;
                bool quoted;
                size_t n;

                s += 1 + strspn(s + 1, BLANKS);
                charset = parameter_value(s, "charset");
                if (!charset)
                        continue;
                /* It is clear what people mean by charset='utf-8', too. */
                quoted = *charset == '"' || *charset == '\'';
                n = quoted ? strcspn(charset + 1, "\"'") : strcspn(charset, BLANKS ";,");
                if (n == 0)
                        return NULL;
                *ret_n = n;
                return charset + quoted;
        }
        return NULL;
}
