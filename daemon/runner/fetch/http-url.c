#include "daemon/runner/fetch/http-url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

#include "daemon/runner/fetch/http-idna.h"

#define SCHEME "http://"
#define ALPHA  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* The characters of a name, a path and a query; the latter two are those of RFC 3986, and `%`. */
#define HOST_BYTES  ALPHA DIGITS "-."
#define PATH_BYTES  ALPHA DIGITS "-._~!$&'()*+,;=:@/%"
#define QUERY_BYTES PATH_BYTES "?"

static bool is_letter(char c)
{
        return (unsigned char)((c | 0x20) - 'a') < 26;
}

/* A decimal of 1 to @n_max digits without a leading zero at *@s, which is moved past it; or -1. */
static int read_number(const char **s, const char *end, unsigned n_max)
{
        const char *begin = *s;
        int value = 0;

        while (*s < end && (unsigned char)(**s - '0') < 10 && (size_t)(*s - begin) < n_max)
                value = value * 10 + *(*s)++ - '0';
        return *s == begin || (*begin == '0' && *s - begin > 1) ? -1 : value;
}

/* Four decimals; inet_aton(3) has other forms, which not everybody reads in the same way. */
static bool read_ipv4(const char *s, size_t n, in_addr_t *ret)
{
        const char *end = s + n;
        uint32_t address = 0;

        for (unsigned i = 0; i < 4; ++i) {
                int part;

                if (i > 0 && (s == end || *s++ != '.'))
                        return false;
                part = read_number(&s, end, 3);
                if (part < 0 || part > 255)
                        return false;
                address = address << 8 | (unsigned)part;
        }
        *ret = htonl(address);
        return s == end;
}

static bool read_ipv6(const char *s, size_t n, struct in6_addr *ret)
{
        char text[INET6_ADDRSTRLEN];

        if (n >= sizeof(text))
                return false;
        memcpy(text, s, n);
        text[n] = 0;
        return inet_pton(AF_INET6, text, ret) == 1;
}

bool http_address_parse(const char *text, size_t n, uint16_t port, union http_address *ret)
{
        union http_address address;

        memset(&address, 0, sizeof(address));
        if (read_ipv4(text, n, &address.v4.sin_addr.s_addr)) {
                address.v4.sin_family = AF_INET;
                address.v4.sin_port = htons(port);
        } else if (read_ipv6(text, n, &address.v6.sin6_addr)) {
                address.v6.sin6_family = AF_INET6;
                address.v6.sin6_port = htons(port);
        } else {
                return false;
        }
        *ret = address;
        return true;
}

bool http_address_is_loopback(const union http_address *address)
{
        if (address->any.sa_family == AF_INET6)
                return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
}

/*
 * Letters, digits, `-` and `.`. Its last label begins with a letter, or else it might be one of the
 * other ways to write an address.
 */
static bool is_name(const char *host, size_t n)
{
        const char *dot = memrchr(host, '.', n), *last = dot ? dot + 1 : host;

        return host[0] != '.' && last < host + n && is_letter(*last);
}

static const char *find_host_end(const char *host)
{
        const char *end;

        if (*host != '[')
                return host + strspn(host, HOST_BYTES);
        end = strchr(host, ']');
        return end ? end + 1 : NULL;
}

/* `:` and a port at *@s, which is moved past it. The default port is 80. */
static bool read_port(const char **s, uint16_t *ret)
{
        int port = 80;

        if (**s == ':') {
                ++*s;
                port = read_number(s, *s + strlen(*s), 5);
        }
        if (port < 1 || port > UINT16_MAX)
                return false;
        *ret = (uint16_t)port;
        return true;
}

static bool split_authority(const char *host, struct http_url *url)
{
        const char *end = find_host_end(host), *rest = end;

        if (!end || end == host || !read_port(&rest, &url->port))
                return false;
        url->host = host;
        url->n_host = (size_t)(end - host);
        url->n_authority = url->port == 80 ? url->n_host : (size_t)(rest - host);
        url->path = rest;
        if (*host == '[')
                return url->n_host > 2 && memchr(host, ':', url->n_host) &&
                       http_address_parse(host + 1, url->n_host - 2, url->port, &url->address) &&
                       (url->is_address = true);
        url->is_address = http_address_parse(host, url->n_host, url->port, &url->address);
        return url->is_address || is_name(host, url->n_host);
}

/* Whether no segment begins with a dot, encoded or not: it might be one of `.` and `..`. */
static bool has_dots(const char *path, size_t n)
{
        for (const char *slash = path; (slash = memchr(slash, '/', n - (size_t)(slash - path)));) {
                ++slash;
                if (*slash == '.' || strncasecmp(slash, "%2e", 3) == 0)
                        return true;
        }
        return false;
}

/* The part that is sent ends where the fragment begins. */
static bool split_path(struct http_url *url)
{
        size_t n = strspn(url->path, PATH_BYTES);

        if (url->path[0] != '/' && n > 0)
                return false;
        if (has_dots(url->path, n))
                return false;
        if (url->path[n] == '?' && n > 0)
                n += strspn(url->path + n, QUERY_BYTES);
        url->n_path = n;
        return url->path[n] == 0 || url->path[n] == '#';
}

bool http_url_split(const char *url, struct http_url *ret)
{
        *ret = (struct http_url){ 0 };
        if (strncasecmp(url, SCHEME, strlen(SCHEME)) != 0)
                return false;
        return split_authority(url + strlen(SCHEME), ret) && split_path(ret);
}

size_t http_url_scheme(const char *url)
{
        size_t n = is_letter(url[0]) ? strspn(url, ALPHA DIGITS "+-.") : 0;

        return url[n] == ':' ? n : 0;
}

bool http_url_cut(const char *url, struct http_parts *ret)
{
        struct http_parts parts = { .scheme = url, .n_scheme = http_url_scheme(url) };
        const char *end, *at;

        if (parts.n_scheme == 0 || strncmp(url + parts.n_scheme, "://", 3) != 0)
                return false;
        parts.user = url + parts.n_scheme + 3;
        end = parts.user + strcspn(parts.user, "/?#");
        at = memrchr(parts.user, '@', (size_t)(end - parts.user));
        parts.n_user = at ? (size_t)(at + 1 - parts.user) : 0;
        parts.host = parts.user + parts.n_user;
        at = memrchr(parts.host, ':', (size_t)(end - parts.host));
        if (!at || memchr(at, ']', (size_t)(end - at)))
                at = end;
        parts.n_host = (size_t)(at - parts.host);
        parts.port = at;
        parts.n_port = (size_t)(end - at);
        parts.path = end;
        parts.n_path = strcspn(end, "?#");
        parts.query = end + parts.n_path;
        parts.n_query = strcspn(parts.query, "#");
        parts.fragment = parts.query + parts.n_query;
        *ret = parts;
        return true;
}

int http_url_to_ascii(const char *url, char **ret)
{
        _cleanup_free_ char *host = NULL;
        struct http_parts parts;
        int r;

        *ret = NULL;
        if (!http_url_cut(url, &parts) || parts.host[0] == '[')
                return 0;
        r = http_idna_to_ascii(parts.host, parts.n_host, &host);
        if (r < 0 || !host)
                return r;
        if (asprintf(ret, "%.*s%s%s", (int)(parts.host - url), url, host, parts.port) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

/* A host is not percent-encoded: everything up to its end stays as it is. */
static size_t host_end(const char *url)
{
        const char *host = strstr(url, "//");

        return host ? (size_t)(host - url) + 2 + strcspn(host + 2, "/?#") : 0;
}

static int encode(const char *url, char **ret)
{
        static const char hex[] = "0123456789abcdef";
        char *encoded = malloc(3 * strlen(url) + 1), *to = encoded;
        const char *rest = url + host_end(url);
        bool in_query = false;

        if (!encoded)
                return -ENOMEM;
        to = mempcpy(to, url, (size_t)(rest - url));
        for (; *rest; ++rest) {
                unsigned char c = (unsigned char)*rest;

                in_query |= c == '?';
                if (c > ' ' && c < 0x7f) {
                        *to++ = (char)c;
                } else if (c == ' ' && in_query) {
                        *to++ = '+';
                } else {
                        *to++ = '%';
                        *to++ = hex[c >> 4];
                        *to++ = hex[c & 15];
                }
        }
        *to = 0;
        *ret = encoded;
        return 0;
}

static bool same(const char *a, size_t n_a, const char *b, size_t n_b)
{
        return n_a == n_b && strncasecmp(a, b, n_a) == 0;
}

/*
 * An absolute URL on the server of @base has its user and password, unless it names others. A host
 * that cannot be converted counts as another server, and is refused when it is asked for.
 */
static char *with_user(const struct http_parts *base, const char *location)
{
        _cleanup_free_ char *ascii = NULL;
        struct http_parts to;
        char *url;

        if (base->n_user > 0 && http_url_to_ascii(location, &ascii) == 0 && ascii)
                location = ascii;
        if (base->n_user == 0 || !http_url_cut(location, &to) || to.n_user > 0 ||
            !same(base->scheme, base->n_scheme, to.scheme, to.n_scheme) ||
            !same(base->host, base->n_host + base->n_port, to.host, to.n_host + to.n_port))
                return strdup(location);
        return asprintf(&url, "%.*s://%.*s%s", (int)to.n_scheme, to.scheme, (int)base->n_user,
                        base->user, to.host) < 0
                       ? NULL
                       : url;
}

/* The end of that part of the URL which @location is relative to. */
static const char *kept_end(const struct http_parts *base, const char *location)
{
        const char *slash;

        switch (*location) {
        case 0:
        case '#':
                return base->fragment;
        case '?':
                return base->query;
        case '/':
                return base->path;
        default:
                slash = memrchr(base->path, '/', base->n_path);
                return slash ? slash + 1 : base->path;
        }
}

/* Takes the parts that @location leaves out from @base. */
static char *join(const struct http_parts *base, const char *location)
{
        const char *end = kept_end(base, location), *slash = "";
        char *url;

        if (http_url_scheme(location) > 0)
                return with_user(base, location);
        if (*location == '/' && location[1] == '/')
                end = base->scheme + base->n_scheme + 1;
        else if (end == base->path && *location != '/')
                slash = "/";
        return asprintf(&url, "%.*s%s%s", (int)(end - base->scheme), base->scheme, slash,
                        location) < 0
                       ? NULL
                       : url;
}

int http_url_resolve(const char *base, const char *location, char **ret)
{
        _cleanup_free_ char *joined = NULL;
        struct http_parts parts;

        if (http_url_cut(base, &parts))
                joined = join(&parts, location);
        else
                joined = strdup(location);
        return joined ? encode(joined, ret) : -ENOMEM;
}
