#pragma once

/*
 * The http: URLs that need no library, so that we fetch them ourselves. A URL that goes beyond RFC
 * 3986's plain form (with a user, an unusual host or port, characters that have to be encoded, or
 * dot segments) is left to libcurl, which also says what is wrong with it if something is. Nothing
 * here allocates but http_url_resolve() and http_url_to_ascii().
 */

#include <netinet/in.h>

#include "lib/util.h"

/* The address to connect to. All bytes that its family does not use are zero, so that two can be
 * compared. */
union http_address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
};

static inline socklen_t http_address_size(const union http_address *address)
{
        return address->any.sa_family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
}

/* Parts of a URL, not NUL-terminated, which live as long as it does. */
struct http_url {
        const char *host; /* with its brackets */
        size_t n_host;
        size_t n_authority; /* from host on: with the port, unless that is 80 */
        const char *path;   /* with the query, without the fragment; may be empty */
        size_t n_path;
        uint16_t port;
        bool is_address;            /* host is one, */
        union http_address address; /* namely this */
};

/* False: not a URL of the plain form. */
bool http_url_split(const char *url, struct http_url *ret);

/* @text is an IPv4 or IPv6 address without brackets; false if not. */
bool http_address_parse(const char *text, size_t n, uint16_t port, union http_address *ret);

/* Whether it is this machine: 127.0.0.0/8 or ::1. */
bool http_address_is_loopback(const union http_address *address);

/*
 * The URL that @location, the reference in an answer to @base, leads to; the caller's. Both may
 * have any form, even a meaningless one; blanks and bytes that are not ASCII are percent-encoded,
 * as browsers do, but in the host. Dot segments are left in. User and password stay with their
 * server. -ENOMEM.
 */
int http_url_resolve(const char *base, const char *location, char **ret);

/* Any URL of the form SCHEME://, split into its parts, which may be empty. */
struct http_parts {
        const char *scheme, *user, *host, *port, *path, *query, *fragment;
        size_t n_scheme;
        size_t n_user; /* with the `@` */
        size_t n_host; /* with its brackets */
        size_t n_port; /* with the `:` */
        size_t n_path;
        size_t n_query; /* with the `?` */
};

/* False: not of that form. */
bool http_url_cut(const char *url, struct http_parts *ret);

/*
 * @url with its host in ASCII, as http_idna_to_ascii() makes it; the caller's, or NULL if @url may
 * stay as it is. Negative errno as from that.
 */
int http_url_to_ascii(const char *url, char **ret);

/* The length of the scheme that @url begins with, 0 if there is none. */
size_t http_url_scheme(const char *url);
