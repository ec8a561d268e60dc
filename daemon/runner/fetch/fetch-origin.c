#include "daemon/runner/fetch/fetch-origin.h"

#include <limits.h>
#include <strings.h>

/*
 * Beyond this number, origins that nobody uses are forgotten; a job may go to a million hosts, once
 * each.
 */
#define ORIGINS_KEPT 4096

/* How long libcurl keeps a resolved name. */
#define ADDRESS_NS (60 * NSEC_PER_SEC)

/* Host and port together are the second part of the key. */
static size_t authority_size(const struct http_parts *at)
{
        return at->n_host + at->n_port;
}

static bool is_address(const struct http_parts *at)
{
        if (authority_size(at) == 0)
                return false;
        return at->host[0] == '[' || strspn(at->host, "0123456789.:") >= authority_size(at);
}

/* FNV-1a, without regard to case. */
static uint32_t hash_text(uint32_t hash, const char *text, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                hash = (hash ^ ((unsigned char)text[i] | 0x20)) * 16777619U;
        return hash;
}

static bool origin_is(const struct origin *origin, uint32_t hash, const struct http_parts *at)
{
        return origin->hash == hash && origin->n_key == at->n_scheme + authority_size(at) &&
               strncasecmp(origin->key, at->scheme, at->n_scheme) == 0 &&
               strncasecmp(origin->key + at->n_scheme, at->host, authority_size(at)) == 0;
}

static struct origin *origin_new(uint32_t hash, const struct http_parts *at, bool secure)
{
        struct origin *origin = calloc(1, sizeof(*origin) + at->n_scheme + authority_size(at));

        if (!origin)
                return NULL;
        fetch_queue_init(&origin->waiting);
        origin->hash = hash;
        origin->secure = secure;
        origin->room = secure ? ORIGIN_STREAMS : UINT_MAX;
        origin->n_key = at->n_scheme + authority_size(at);
        memcpy(origin->key, at->scheme, at->n_scheme);
        memcpy(origin->key + at->n_scheme, at->host, authority_size(at));
        return origin;
}

static void forget_unused(struct origins *origins)
{
        for (size_t i = 0; i < ORIGIN_BUCKETS; ++i) {
                struct origin **p = &origins->buckets[i];

                while (*p) {
                        struct origin *origin = *p;

                        if (origin->n_users > 0) {
                                p = &origin->next;
                                continue;
                        }
                        *p = origin->next;
                        free(origin);
                        --origins->n;
                }
        }
}

void origins_init(struct origins *origins)
{
        *origins = (struct origins){ .limit = ORIGINS_KEPT };
}

void origins_deinit(struct origins *origins)
{
        forget_unused(origins);
        assert(origins->n == 0);
}

static struct origin *origins_add(struct origins *origins, struct origin *origin)
{
        struct origin **bucket = &origins->buckets[origin->hash % ORIGIN_BUCKETS];

        if (origins->n >= origins->limit) {
                forget_unused(origins);
                origins->limit = MAX((size_t)ORIGINS_KEPT, 2 * origins->n);
        }
        origin->next = *bucket;
        *bucket = origin;
        ++origins->n;
        return origin;
}

struct origin *origins_get(struct origins *origins, const char *url)
{
        bool secure = strncasecmp(url, "https:", 6) == 0;
        struct origin *origin;
        struct http_parts at;
        uint32_t hash;

        if (!http_url_cut(url, &at) || (!secure && is_address(&at)))
                return NULL;
        hash = hash_text(hash_text(2166136261U, at.scheme, at.n_scheme), at.host,
                         authority_size(&at));
        for (origin = origins->buckets[hash % ORIGIN_BUCKETS]; origin; origin = origin->next)
                if (origin_is(origin, hash, &at))
                        return origin;
        origin = origin_new(hash, &at, secure);
        return origin ? origins_add(origins, origin) : NULL;
}

void origin_set_address(struct origin *origin, const char *ip, int port)
{
        origin->has_address = port > 0 && port <= UINT16_MAX &&
                              http_address_parse(ip, strlen(ip), (uint16_t)port, &origin->address);
        origin->address_until_ns = now_monotonic() + ADDRESS_NS;
}

void origin_forget_address(struct origin *origin)
{
        origin->has_address = false;
}

bool origin_get_address(const struct origin *origin, union http_address *ret)
{
        if (!origin->has_address || now_monotonic() >= origin->address_until_ns)
                return false;
        *ret = origin->address;
        return true;
}

void origin_extend_address(struct origin *origin)
{
        origin->address_until_ns = now_monotonic() + ADDRESS_NS;
}
