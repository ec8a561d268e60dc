#include "lib/redis-tls.h"

#include <stdio.h>

static int fail(struct redis *redis, const char *why)
{
        redis->trouble = REDIS_TROUBLE_UNUSABLE;
        snprintf(redis->why, sizeof(redis->why), "cannot speak TLS with Redis at %s:%u: %s",
                 redis->machines->url.host, redis->machines->url.port, why);
        return -EPROTO;
}

#if __has_include(<hiredis/hiredis_ssl.h>)

#include <dlfcn.h>
#include <hiredis/hiredis_ssl.h>

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)
#define LIBRARY    "libhiredis_ssl.so." TEXT(HIREDIS_SONAME)

/* Every function of it we call; X-macro, so that none is declared and not looked up. */
#define SYMBOLS(X)                                                                                 \
        X(redisInitOpenSSL)                                                                        \
        X(redisCreateSSLContext)                                                                   \
        X(redisFreeSSLContext)                                                                     \
        X(redisSSLContextGetError)                                                                 \
        X(redisInitiateSSLWithContext)

#define DECLARE(symbol) static __typeof__(symbol) *sym_##symbol;
SYMBOLS(DECLARE)
#undef DECLARE

#define ENTRY(symbol) { #symbol, (void *)&sym_##symbol },
static const struct {
        const char *name;
        void *pointer;
} symbols[] = { SYMBOLS(ENTRY) };
#undef ENTRY

bool redis_tls_is_built(void)
{
        return true;
}

static bool load(void)
{
        static bool loaded;
        void *library;

        if (loaded)
                return true;
        library = dlopen(LIBRARY, RTLD_LAZY | RTLD_NODELETE);
        if (!library)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(symbols); ++i) {
                void *address = dlsym(library, symbols[i].name);

                if (!address)
                        return false;
                memcpy(symbols[i].pointer, &address, sizeof(address));
        }
        loaded = sym_redisInitOpenSSL() == REDIS_OK;
        return loaded;
}

int redis_tls_start(struct redis *redis)
{
        const struct machines *machines = redis->machines;
        redisSSLContextError error = REDIS_SSL_CTX_NONE;
        redisSSLContext *tls;
        int r = 0;

        if (!load())
                return fail(redis, "cannot load " LIBRARY "; install it (Debian: with libhiredis, "
                                   "Fedora: hiredis-ssl)");
        tls = sym_redisCreateSSLContext(machines->ca_file,
                                        machines->ca_file ? NULL : "/etc/ssl/certs", NULL, NULL,
                                        machines->url.host, &error);
        if (!tls)
                return fail(redis, sym_redisSSLContextGetError(error));
        if (sym_redisInitiateSSLWithContext(redis->context, tls) != REDIS_OK)
                r = fail(redis, redis->context->errstr);
        /* A connection keeps what it needs of it. */
        sym_redisFreeSSLContext(tls);
        return r;
}

#else

bool redis_tls_is_built(void)
{
        return false;
}

int redis_tls_start(struct redis *redis)
{
        return fail(redis, "the hiredis this was built with has no TLS (1.0 and newer have); use "
                           "redis:// through a tunnel, or build with a newer hiredis");
}

#endif
