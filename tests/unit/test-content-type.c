#include "daemon/runner/fetch/content-type.h"
#include "tests/unit/test.h"

static const struct {
        const char *value;
        const char *charset; /* NULL: none */
} values[] = {
        { "text/html; charset=utf-8", "utf-8" },
        { "text/html;charset=UTF-8", "UTF-8" },
        { "text/html; CharSet=\"iso-8859-1\"", "iso-8859-1" },
        { "text/html; charset='koi8-r'", "koi8-r" },
        { "text/html ; charset = latin1 ", "latin1" },
        { "text/html; charset=latin1; boundary=x", "latin1" },
        { "text/html; boundary=\"a;charset=no\"; charset=yes", "yes" },
        { "text/html; boundary=\"a\\\";charset=no\"; charset=yes", "yes" },
        { "text/html; title=x;charset=first; charset=second", "first" },
        { "text/html; charset=\"open", "open" },
        { "text/html; charset=a,text/plain", "a" },
        { "; charset=bare", "bare" },
        { "text/html", NULL },
        { "", NULL },
        { ";", NULL },
        { ";;;", NULL },
        { "charset=utf-8", NULL },
        { "text/html; charset=", NULL },
        { "text/html; charset=\"\"", NULL },
        { "text/html; charset", NULL },
        { "text/html; xcharset=utf-8", NULL },
        { "text/html; charsets=utf-8", NULL },
        { "text/html; boundary=\"; charset=no", NULL },
};

static void finds_charset(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(values); ++i) {
                size_t n = 0;
                const char *charset = content_type_charset(values[i].value, &n);
                char text[64];

                if (!values[i].charset) {
                        if (charset)
                                test_fail_at("\"%s\" has charset \"%.*s\"", values[i].value, (int)n,
                                             charset);
                        continue;
                }
                test_true(charset);
                snprintf(text, sizeof(text), "%.*s", (int)n, charset);
                test_str(text, values[i].charset);
        }
}

TEST_MAIN("content-type", { "finds charset", finds_charset })
