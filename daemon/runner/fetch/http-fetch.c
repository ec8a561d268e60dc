#include "daemon/runner/fetch/http-fetch.h"

#include <strings.h>

#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/fetch/http-cookies.h"
#include "daemon/runner/fetch/http-exchange.h"

/* Whatever proxy the environment names, only this machine is sure to be reached without. */
static bool is_direct(const struct http_transport *transport, const struct http_url *url)
{
        if (!transport->has_proxy)
                return true;
        return url->is_address && http_address_is_loopback(&url->address);
}

/* 0, HTTP_FOLLOW, or a negative errno. */
static int fetch_one(struct http_transport *transport, struct http_get *get)
{
        struct http_url url;

        if (http_url_split(get->url, &url) && is_direct(transport, &url))
                return http_exchange(transport, get, &url);
        return transport->ops->fetch(transport, get);
}

static bool scheme_is(const char *url, size_t n, const char *scheme)
{
        return strlen(scheme) == n && strncasecmp(url, scheme, n) == 0;
}

/* Names the schemes that servers redirect to by mistake. */
static enum ppp_scheme_fault find_fault(const char *url, size_t n)
{
        static const struct {
                const char *scheme;
                enum ppp_scheme_fault fault;
        } known[] = {
                { "javascript", PPP_SCHEME_JAVASCRIPT },
                { "ftp", PPP_SCHEME_FTP },
                { "file", PPP_SCHEME_FILE },
                { "data", PPP_SCHEME_DATA },
                { "mailto", PPP_SCHEME_MAILTO },
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); ++i)
                if (scheme_is(url, n, known[i].scheme))
                        return known[i].fault;
        return PPP_SCHEME_OF_REDIRECT;
}

static int check_redirect(struct ppp_task *task, const char *url, unsigned n_left)
{
        size_t n = http_url_scheme(url);

        if (n_left == 0)
                return task_fail(task, PPP_REASON_REDIRECTS, 0);
        if (scheme_is(url, n, "http") || scheme_is(url, n, "https"))
                return 0;
        return task_fail(task, PPP_REASON_BAD_SCHEME, (int32_t)find_fault(url, n));
}

/* @error is http_url_to_ascii()'s. */
static int fail_host(struct ppp_task *task, int error)
{
        switch (error) {
        case -ENOMEM:
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        case -ENOPKG:
                return task_fail(task, PPP_REASON_NO_FETCH, PPP_LIBRARY_IDN2);
        case -EILSEQ:
                return task_fail(task, PPP_REASON_BAD_URL, PPP_URL_HOST_UTF8);
        case -ENAMETOOLONG:
                return task_fail(task, PPP_REASON_BAD_URL, PPP_URL_HOST_LENGTH);
        default:
                return task_fail(task, PPP_REASON_BAD_URL, PPP_URL_HOST_NAME);
        }
}

/*
 * The request's route, its Host, its cookies and the connection that it may use all depend on the
 * host, so the host is converted to ASCII first. *@at is freed if it is superseded.
 */
static int set_url(struct http_get *get, char **at)
{
        char *ascii;
        int r = http_url_to_ascii(get->url, &ascii);

        if (r < 0)
                return fail_host(get->task, r);
        if (ascii) {
                free(*at);
                *at = ascii;
                get->url = ascii;
        }
        return 0;
}

/* The URL that is being asked for belongs to us, except the first. */
static int follow(struct http_transport *transport, struct http_get *get)
{
        _cleanup_free_ char *at = NULL;
        int r = set_url(get, &at);

        if (r < 0)
                return r;
        for (unsigned n_left = FETCH_REDIRECTS_MAX;; --n_left) {
                _cleanup_free_ char *location = NULL;

                if (get->task->deadline_ns && task_time_left(get->task, now_monotonic()) == 0)
                        return task_fail(get->task, PPP_REASON_TIMEOUT, 0);
                r = fetch_one(transport, get);
                location = steal_ptr(get->location);
                if (r != HTTP_FOLLOW)
                        return r;
                r = check_redirect(get->task, location, n_left);
                if (r < 0)
                        return r;
                free(at);
                at = steal_ptr(location);
                get->url = at;
                r = set_url(get, &at);
                if (r < 0)
                        return r;
        }
}

int http_fetch(struct http_transport *transport, struct http_codings *codings,
               struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata)
{
        struct http_cookies cookies = HTTP_COOKIES_NULL;
        struct http_get get = {
                .task = task,
                .url = url,
                .cookies = &cookies,
                .codings = codings,
                .sink = sink,
                .userdata = userdata,
        };
        int r;

        r = follow(transport, &get);
        http_cookies_deinit(&cookies);
        return r;
}
