#include "daemon/runner/fetch/http-cookies.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

#include "daemon/runner/fetch/http-fields.h"
#include "daemon/runner/fetch/http-url.h"

struct text {
        const char *s;
        size_t n;
};

struct http_cookie {
        struct http_cookie *next;
        bool host_only;
        bool secure;
        char *host; /* the host, or the domain without its dot */
        char *path;
        char *pair; /* NAME=VALUE */
        size_t n_name;
};

/* One Set-Cookie, its parts where they lie. */
struct setting {
        struct text pair, domain, path;
        size_t n_name;
        bool secure, expired;
};

static void cookie_free(struct http_cookie *cookie)
{
        free(cookie->host);
        free(cookie->path);
        free(cookie->pair);
        free(cookie);
}

void http_cookies_deinit(struct http_cookies *cookies)
{
        struct http_cookie *next;

        for (struct http_cookie *cookie = cookies->first; cookie; cookie = next) {
                next = cookie->next;
                cookie_free(cookie);
        }
        *cookies = (struct http_cookies)HTTP_COOKIES_NULL;
}

static struct text trim(const char *s, size_t n)
{
        while (n > 0 && (*s == ' ' || *s == '\t'))
                ++s, --n;
        while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
                --n;
        return (struct text){ s, n };
}

static bool text_is(struct text text, const char *word)
{
        return text.n == strlen(word) && strncasecmp(text.s, word, text.n) == 0;
}

/* Moves *@rest past the next of the parts that stand between semicolons. */
static struct text next_part(struct text *rest)
{
        const char *semicolon = memchr(rest->s, ';', rest->n);
        size_t n = semicolon ? (size_t)(semicolon - rest->s) : rest->n;
        struct text part = trim(rest->s, n);

        n += semicolon != NULL;
        rest->s += n;
        rest->n -= n;
        return part;
}

static void read_attribute(struct text part, struct setting *setting)
{
        const char *equals = memchr(part.s, '=', part.n);
        struct text name = part, value = { "", 0 };
        time_t date;

        if (equals) {
                name = trim(part.s, (size_t)(equals - part.s));
                value = trim(equals + 1, (size_t)(part.s + part.n - equals - 1));
        }
        if (text_is(name, "Domain"))
                setting->domain = value;
        else if (text_is(name, "Path"))
                setting->path = value;
        else if (text_is(name, "Secure"))
                setting->secure = true;
        else if (text_is(name, "Max-Age"))
                setting->expired = value.n > 0 && (*value.s == '-' || text_is(value, "0"));
        else if (text_is(name, "Expires"))
                setting->expired |= http_date_parse(value.s, value.n, &date) && date <= time(NULL);
}

static bool has_control(struct text text)
{
        for (size_t i = 0; i < text.n; ++i)
                if ((unsigned char)text.s[i] < ' ' || text.s[i] == 0x7f)
                        return true;
        return false;
}

static bool read_setting(struct text value, struct setting *ret)
{
        struct setting setting = { .pair = next_part(&value) };
        const char *equals = memchr(setting.pair.s, '=', setting.pair.n);

        if (!equals || equals == setting.pair.s || setting.pair.n > HTTP_COOKIE_SIZE_MAX ||
            has_control(setting.pair))
                return false;
        setting.n_name = (size_t)(equals - setting.pair.s);
        while (value.n > 0)
                read_attribute(next_part(&value), &setting);
        *ret = setting;
        return true;
}

static bool is_secure(const struct http_parts *url)
{
        return url->n_scheme == 5;
}

static bool is_address(struct text host)
{
        char text[INET6_ADDRSTRLEN];
        struct in_addr v4;

        if (host.n > 0 && host.s[0] == '[')
                return true;
        if (host.n >= sizeof(text))
                return false;
        memcpy(text, host.s, host.n);
        text[host.n] = 0;
        return inet_aton(text, &v4) == 1;
}

/* Whether @host is @domain or a host below it. */
static bool is_below(struct text host, struct text domain)
{
        size_t n_more;

        if (host.n < domain.n)
                return false;
        n_more = host.n - domain.n;
        if (strncasecmp(host.s + n_more, domain.s, domain.n) != 0)
                return false;
        return n_more == 0 || (host.s[n_more - 1] == '.' && !is_address(host));
}

/* Finds the cookie's owner; false if the host has no right to set it. */
static bool find_owner(const struct http_parts *url, struct setting *setting, bool *ret_host_only)
{
        struct text host = { url->host, url->n_host }, *domain = &setting->domain;

        if (domain->n > 0 && domain->s[0] == '.')
                ++domain->s, --domain->n;
        *ret_host_only = domain->n == 0 || (domain->n == host.n && is_below(host, *domain) &&
                                            (is_address(host) || !memchr(host.s, '.', host.n)));
        if (*ret_host_only) {
                *domain = host;
                return true;
        }
        return memchr(domain->s, '.', domain->n) && is_below(host, *domain);
}

/* A name may promise by its prefix properties that the cookie must have. */
static bool keeps_promise(const struct http_parts *url, const struct setting *setting,
                          bool host_only)
{
        const char *name = setting->pair.s;

        if (setting->secure && !is_secure(url))
                return false;
        if (strncasecmp(name, "__Secure-", 9) == 0)
                return setting->secure;
        if (strncasecmp(name, "__Host-", 7) == 0)
                return setting->secure && host_only && setting->path.n == 1;
        return true;
}

/* The directory of the URL's path, used where the cookie names none. */
static struct text default_path(const struct http_parts *url)
{
        const char *slash = memrchr(url->path, '/', url->n_path);

        return slash && slash > url->path ? (struct text){ url->path, (size_t)(slash - url->path) }
                                          : (struct text){ "/", 1 };
}

static bool is_same(const struct http_cookie *a, const struct http_cookie *b)
{
        return a->n_name == b->n_name && memcmp(a->pair, b->pair, a->n_name) == 0 &&
               strcasecmp(a->host, b->host) == 0 && streq(a->path, b->path);
}

/* A cookie of the same name, host and path takes the place of the one before. */
static void remove_same(struct http_cookies *cookies, const struct http_cookie *as)
{
        for (struct http_cookie **p = &cookies->first; *p; p = &(*p)->next) {
                struct http_cookie *cookie = *p;

                if (!is_same(cookie, as))
                        continue;
                *p = cookie->next;
                cookie_free(cookie);
                --cookies->n;
                return;
        }
}

static struct http_cookie *cookie_new(const struct setting *setting, bool host_only)
{
        struct http_cookie *cookie = calloc(1, sizeof(*cookie));

        if (!cookie)
                return NULL;
        cookie->host_only = host_only;
        cookie->secure = setting->secure;
        cookie->n_name = setting->n_name;
        cookie->host = strndup(setting->domain.s, setting->domain.n);
        cookie->path = strndup(setting->path.s, setting->path.n);
        cookie->pair = strndup(setting->pair.s, setting->pair.n);
        if (!cookie->host || !cookie->path || !cookie->pair) {
                cookie_free(cookie);
                return NULL;
        }
        return cookie;
}

static void add(struct http_cookies *cookies, struct http_cookie *cookie)
{
        struct http_cookie **p = &cookies->first;

        while (*p)
                p = &(*p)->next;
        *p = cookie;
        ++cookies->n;
}

static void take_one(struct http_cookies *cookies, const struct http_parts *url, struct text value)
{
        struct http_cookie *cookie;
        struct setting setting;
        bool host_only;

        if (!read_setting(value, &setting) || !find_owner(url, &setting, &host_only) ||
            !keeps_promise(url, &setting, host_only))
                return;
        if (setting.path.n == 0 || setting.path.s[0] != '/')
                setting.path = default_path(url);
        cookie = cookie_new(&setting, host_only);
        if (!cookie)
                return;
        remove_same(cookies, cookie);
        if (setting.expired || cookies->n >= HTTP_COOKIES_MAX)
                cookie_free(cookie);
        else
                add(cookies, cookie);
}

void http_cookies_take(struct http_cookies *cookies, const char *url, const char *head, size_t n)
{
        const char *at = head;
        struct http_parts parts;
        struct text value;

        if (!http_url_cut(url, &parts))
                return;
        while ((value.s = http_fields_next(&at, head + n, "Set-Cookie", &value.n)))
                take_one(cookies, &parts, value);
}

static bool path_matches(const struct http_cookie *cookie, const struct http_parts *url)
{
        size_t n = strlen(cookie->path);

        if (url->n_path == 0)
                return streq(cookie->path, "/");
        if (url->n_path < n || memcmp(url->path, cookie->path, n) != 0)
                return false;
        return url->n_path == n || cookie->path[n - 1] == '/' || url->path[n] == '/';
}

static bool goes_to(const struct http_cookie *cookie, const struct http_parts *url)
{
        struct text host = { url->host, url->n_host };

        if (cookie->secure && !is_secure(url))
                return false;
        if (cookie->host_only
                    ? !text_is(host, cookie->host)
                    : !is_below(host, (struct text){ cookie->host, strlen(cookie->host) }))
                return false;
        return path_matches(cookie, url);
}

int http_cookies_header(const struct http_cookies *cookies, const char *url, char **ret)
{
        _cleanup_free_ char *header = NULL;
        struct http_parts parts;

        *ret = NULL;
        if (!cookies->first || !http_url_cut(url, &parts))
                return 0;
        for (struct http_cookie *cookie = cookies->first; cookie; cookie = cookie->next) {
                char *longer;

                if (!goes_to(cookie, &parts))
                        continue;
                if (asprintf(&longer, "%s%s%s", header ?: "", header ? "; " : "", cookie->pair) < 0)
                        return -ENOMEM;
                free(header);
                header = longer;
        }
        *ret = steal_ptr(header);
        return 0;
}
