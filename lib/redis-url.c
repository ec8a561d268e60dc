#include "lib/redis-url.h"

#include <stdio.h>
#include <sys/un.h>

#include "lib/percent.h"

#define FORMS "give unix:/path[?db=N], redis://[[user]:password@]host[:port][/db] or rediss://…"

static int refuse(struct fault *fault, const char *why)
{
        return fault_say(fault, -EINVAL, FORMS, "%s", why);
}

static int parse_db(const char *s, size_t n, struct redis_url *url, struct fault *fault)
{
        uint64_t db;

        if (parse_u64(s, n, REDIS_DB_MAX, &db) < 0)
                return refuse(fault, "the database is no number from 0 to 16383");
        url->db = (uint32_t)db;
        return 0;
}

static int parse_unix(const char *s, struct redis_url *url, struct fault *fault)
{
        const char *query = strchr(s, '?');
        size_t n = query ? (size_t)(query - s) : strlen(s);

        if (n < 2 || s[0] != '/')
                return refuse(fault, "the socket's path does not begin with /");
        if (n >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
                return refuse(fault, "the socket's path is longer than the 107 bytes that a Unix "
                                     "socket may have");
        url->path = strndup(s, n);
        if (!url->path)
                return -ENOMEM;
        if (!query)
                return 0;
        if (strncmp(query, "?db=", 4) != 0)
                return refuse(fault, "after the socket's path only ?db=N may stand");
        return parse_db(query + 4, strlen(query + 4), url, fault);
}

static int parse_user(const char *s, size_t n, struct redis_url *url, struct fault *fault)
{
        const char *colon = memchr(s, ':', n);
        size_t n_name = colon ? (size_t)(colon - s) : n;
        int r = 0;

        if (!colon)
                return refuse(fault, "before the @ there is no password");
        if (n_name > 0)
                r = percent_decode(s, n_name, &url->username);
        if (r >= 0)
                r = percent_decode(colon + 1, n - n_name - 1, &url->password);
        return r == -EINVAL ? fault_say(fault, r, "a percent sign itself is %25",
                                        "user or password has a bad percent-encoding")
                            : r;
}

static int parse_port(const char *s, size_t n, struct redis_url *url, struct fault *fault)
{
        uint64_t port;

        if (parse_u64(s, n, UINT16_MAX, &port) < 0 || port == 0)
                return refuse(fault, "the port is no number from 1 to 65535");
        url->port = (uint16_t)port;
        return 0;
}

/* host, host:port, [address], [address]:port */
static int parse_host(const char *s, size_t n, struct redis_url *url, struct fault *fault)
{
        const char *end, *host = s;
        size_t n_host;

        if (n > 0 && *s == '[') {
                end = memchr(s, ']', n);
                if (!end)
                        return refuse(fault, "the address's [ has no ]");
                host = s + 1;
                n_host = (size_t)(end - host);
                ++end;
        } else {
                end = memchr(s, ':', n) ?: s + n;
                n_host = (size_t)(end - host);
        }
        if (n_host == 0)
                return refuse(fault, "there is no host");
        url->host = strndup(host, n_host);
        if (!url->host)
                return -ENOMEM;
        if (end == s + n)
                return 0;
        if (*end != ':')
                return refuse(fault, "after the address's ] only :port may stand");
        return parse_port(end + 1, (size_t)(s + n - end - 1), url, fault);
}

static int parse_net(const char *s, struct redis_url *url, struct fault *fault)
{
        const char *slash = strchrnul(s, '/'), *at = memrchr(s, '@', (size_t)(slash - s));
        int r = 0;

        /* A password may hold a / that was not encoded: the last @ ends it. */
        if (!at && (at = strrchr(s, '@')))
                slash = strchrnul(at, '/');
        if (at)
                r = parse_user(s, (size_t)(at - s), url, fault);
        s = at ? at + 1 : s;
        if (r >= 0)
                r = parse_host(s, (size_t)(slash - s), url, fault);
        if (r >= 0 && *slash && slash[1])
                r = parse_db(slash + 1, strlen(slash + 1), url, fault);
        return r;
}

int redis_url_parse(const char *text, struct redis_url *ret, struct fault *fault)
{
        struct redis_url url = REDIS_URL_NULL;
        int r;

        if (strncmp(text, "unix:", 5) == 0) {
                r = parse_unix(strncmp(text, "unix:///", 8) == 0 ? text + 7 : text + 5, &url,
                               fault);
        } else if (strncmp(text, "redis://", 8) == 0) {
                r = parse_net(text + 8, &url, fault);
        } else if (strncmp(text, "rediss://", 9) == 0) {
                url.tls = true;
                r = parse_net(text + 9, &url, fault);
        } else {
                r = refuse(fault, "it is no address of a Redis");
        }
        if (r < 0) {
                redis_url_deinit(&url);
                return r;
        }
        *ret = url;
        return 0;
}

void redis_url_deinit(struct redis_url *url)
{
        free(url->path);
        free(url->host);
        free(url->username);
        if (url->password)
                explicit_bzero(url->password, strlen(url->password));
        free(url->password);
        *url = (struct redis_url)REDIS_URL_NULL;
}

char *redis_url_to_text(const struct redis_url *url)
{
        bool v6 = url->host && strchr(url->host, ':');
        char *text;
        int n;

        if (url->path && url->db)
                n = asprintf(&text, "unix:%s?db=%u", url->path, url->db);
        else if (url->path)
                n = asprintf(&text, "unix:%s", url->path);
        else
                n = asprintf(&text, "redis%s://%s%s%s:%u/%u", url->tls ? "s" : "", v6 ? "[" : "",
                             url->host, v6 ? "]" : "", url->port, url->db);
        return n < 0 ? NULL : text;
}
