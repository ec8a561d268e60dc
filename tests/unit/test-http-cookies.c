/*
 * Cookies of a chain of redirects: which are taken, and where they go. And the dates and fields
 * that they, and Retry-After, are read from.
 */

#include "daemon/runner/fetch/http-cookies.h"
#include "daemon/runner/fetch/http-fields.h"
#include "daemon/runner/fetch/retry-after.h"
#include "tests/unit/test.h"

static void take(struct http_cookies *cookies, const char *url, const char *field)
{
        char head[512];
        int n = snprintf(head, sizeof(head),
                         "HTTP/1.1 302 Found\r\nServer: x\r\nSET-cookie: %s\r\n\r\n", field);

        http_cookies_take(cookies, url, head, (size_t)n);
}

static void check(const struct http_cookies *cookies, const char *url, const char *expected)
{
        _cleanup_free_ char *header = NULL;

        test_int(http_cookies_header(cookies, url, &header), ==, 0);
        test_str(header ?: "", expected);
}

/* One cookie, set by one URL, and what a request to another brings. */
static void goes_where_it_may(void)
{
        static const struct {
                const char *set_by, *field, *asked, *expected;
        } cases[] = {
                { "http://h.example/a/b", "k=v", "http://h.example/a/c", "k=v" },
                { "http://h.example/a/b", "k=v", "http://H.EXAMPLE:8/a/c", "k=v" },
                { "http://h.example/a/b", "k=v", "http://h.example/", "" },
                { "http://h.example/a/b", "k=v; Path=/", "http://h.example", "k=v" },
                { "http://h.example/a/b", "k=v; path=/a", "http://h.example/ab", "" },
                { "http://h.example/a/b", "k=v; path=/a", "http://h.example/a?q", "k=v" },
                { "http://h.example/a/b", "k=v; Path=a", "http://h.example/a/", "k=v" },
                { "http://h.example/", "k=v", "http://www.h.example/", "" },
                { "http://h.example/", "k=v", "http://other.example/", "" },
                { "http://a.h.example/", "k=v; Domain=.h.example", "http://b.h.example/", "k=v" },
                { "http://a.h.example/", "k=v; Domain=h.example", "http://h.example/", "k=v" },
                { "http://a.h.example/", "k=v; Domain=h.example", "http://oh.example/", "" },
                { "http://a.h.example/", "k=v; Domain=b.h.example", "http://a.h.example/", "" },
                { "http://h.example/", "k=v; Domain=example", "http://h.example/", "" },
                { "http://h.example/", "k=v; Domain=other.example", "http://other.example/", "" },
                { "http://localhost/", "k=v; Domain=localhost", "http://localhost/", "k=v" },
                { "http://localhost/", "k=v; Domain=localhost", "http://x.localhost/", "" },
                { "http://127.0.0.1/", "k=v; Domain=127.0.0.1", "http://127.0.0.1/", "k=v" },
                { "http://127.0.0.1/", "k=v; Domain=0.0.1", "http://127.0.0.1/", "" },
                { "http://127.0.0.1/", "k=v", "http://localhost/", "" },
                { "http://[::1]:8/", "k=v", "http://[::1]/", "k=v" },
                { "https://h.example/", "k=v; Secure", "https://h.example/", "k=v" },
                { "https://h.example/", "k=v; Secure", "http://h.example/", "" },
                { "http://h.example/", "k=v; Secure", "https://h.example/", "" },
                { "https://h.example/", "__Secure-k=v; Secure", "https://h.example/",
                  "__Secure-k=v" },
                { "https://h.example/", "__Secure-k=v", "https://h.example/", "" },
                { "https://h.example/", "__Host-k=v; Secure; Path=/", "https://h.example/",
                  "__Host-k=v" },
                { "https://a.h.example/", "__Host-k=v; Secure; Path=/; Domain=h.example",
                  "https://a.h.example/", "" },
                { "http://h.example/", "k=v; Max-Age=0", "http://h.example/", "" },
                { "http://h.example/", "k=v; Max-Age=9", "http://h.example/", "k=v" },
                { "http://h.example/", "k=v; Expires=Thu, 01-Jan-1970 00:00:00 GMT",
                  "http://h.example/", "" },
                { "http://h.example/", "k=v; Expires=Thu, 01 Jan 2970 00:00:00 GMT",
                  "http://h.example/", "k=v" },
                { "http://h.example/", "  k = v=w ; HttpOnly", "http://h.example/", "k = v=w" },
                { "http://h.example/", "no-value", "http://h.example/", "" },
                { "http://h.example/", "=v", "http://h.example/", "" },
                { "http://h.example/", "k=a\001b", "http://h.example/", "" },
                { "http://h.example/", "", "http://h.example/", "" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct http_cookies cookies = HTTP_COOKIES_NULL;
                _cleanup_free_ char *header = NULL;

                take(&cookies, cases[i].set_by, cases[i].field);
                test_int(http_cookies_header(&cookies, cases[i].asked, &header), ==, 0);
                if (!streq(header ?: "", cases[i].expected))
                        test_fail_at("\"%s\" of %s, for %s: \"%s\"", cases[i].field,
                                     cases[i].set_by, cases[i].asked, header ?: "");
                http_cookies_deinit(&cookies);
        }
        CU_PASS("cookies");
}

static void later_ones_replace(void)
{
        struct http_cookies cookies = HTTP_COOKIES_NULL;

        take(&cookies, "http://h/", "a=1");
        take(&cookies, "http://h/", "b=2; Path=/x");
        take(&cookies, "http://h/", "a=3");
        check(&cookies, "http://h/x", "b=2; a=3");
        take(&cookies, "http://h/", "a=; Max-Age=-1");
        check(&cookies, "http://h/x", "b=2");
        http_cookies_deinit(&cookies);
}

static void are_bounded(void)
{
        struct http_cookies cookies = HTTP_COOKIES_NULL;
        char field[32];

        for (unsigned i = 0; i < 2 * HTTP_COOKIES_MAX; ++i) {
                snprintf(field, sizeof(field), "k%u=v", i);
                take(&cookies, "http://h/", field);
        }
        test_int(cookies.n, ==, HTTP_COOKIES_MAX);
        http_cookies_deinit(&cookies);
}

static uint64_t retry_after(const char *value)
{
        char head[256];
        int n = snprintf(head, sizeof(head), "HTTP/1.1 503 Busy\r\nretry-after:  %s\r\n\r\n",
                         value);

        return retry_after_find(head, (size_t)n);
}

static void asks_for_a_wait(void)
{
        char date[64];
        time_t soon = time(NULL) + 30;
        struct tm tm;

        test_int(retry_after("7"), ==, 7 * NSEC_PER_SEC);
        test_int(retry_after("0"), ==, 0);
        test_int(retry_after("86400"), ==, RETRY_AFTER_MAX_NS);
        test_int(retry_after("99999999999999999999999"), ==, 0);
        test_int(retry_after("soon"), ==, 0);
        test_int(retry_after("-1"), ==, 0);
        test_int(retry_after("Thu, 01 Jan 1970 00:00:00 GMT"), ==, 0);
        test_int(retry_after("Thu, 01 Jan 2970 00:00:00 GMT"), ==, RETRY_AFTER_MAX_NS);
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&soon, &tm));
        test_int(retry_after(date), >, 5 * NSEC_PER_SEC);
        test_int(retry_after(date), <=, 30 * NSEC_PER_SEC);
        test_int(retry_after_find("HTTP/1.1 503 Busy\r\n\r\n", 21), ==, 0);
}

TEST_MAIN("http-cookies", { "goes where it may", goes_where_it_may },
          { "later ones replace", later_ones_replace }, { "are bounded", are_bounded },
          { "asks for a wait", asks_for_a_wait })
