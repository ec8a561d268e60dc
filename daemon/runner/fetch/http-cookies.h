#pragma once

/*
 * The cookies of one chain of redirects (RFC 6265): the next request may have to send what a
 * redirect has set. They live as long as the chain, so their expiry does not matter. A cookie goes
 * back to the host that set it; with Domain= also to the hosts below that domain, which must be a
 * parent of the host, no address, and have a dot in it. Path= and Secure are heeded, and so are the
 * prefixes __Host- and __Secure-.
 */

#include "lib/util.h"

struct http_cookie;

struct http_cookies {
        struct http_cookie *first;
        unsigned n;
};

#define HTTP_COOKIES_NULL \
        {                 \
                0         \
        }

/*
 * A server may set this many cookies in one chain, each of this many bytes; further and longer ones
 * are ignored.
 */
#define HTTP_COOKIES_MAX     64
#define HTTP_COOKIE_SIZE_MAX 4096

void http_cookies_deinit(struct http_cookies *cookies);

/* Takes the cookies that the head of an answer to @url sets, except those for which there is no
 * memory. */
void http_cookies_take(struct http_cookies *cookies, const char *url, const char *head, size_t n);

/* The value of Cookie for a request to @url; the caller's, or NULL if none goes there. -ENOMEM. */
int http_cookies_header(const struct http_cookies *cookies, const char *url, char **ret);
