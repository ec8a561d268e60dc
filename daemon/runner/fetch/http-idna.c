#include "daemon/runner/fetch/http-idna.h"

#include <dlfcn.h>
#include <idn2.h>
#include <pthread.h>

#include "daemon/runner/runner.h"
#include "lib/percent.h"

#define IDN2_REMEDY "install libidn2 (Debian: libidn2-0, Fedora: libidn2)"

static __typeof__(idn2_lookup_u8) *sym_idn2_lookup_u8;
static __typeof__(idn2_free) *sym_idn2_free;

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static int load_result;

static int load(void)
{
        void *library = dlopen(IDN2_LIBRARY, RTLD_LAZY | RTLD_NODELETE);
        void *lookup = library ? dlsym(library, "idn2_lookup_u8") : NULL;
        void *release = lookup ? dlsym(library, "idn2_free") : NULL;

        if (!lookup || !release) {
                log_error("cannot convert a host name that is not ASCII: cannot load libidn2: "
                          "%s; " IDN2_REMEDY,
                          dlerror());
                return -ENOPKG;
        }
        memcpy(&sym_idn2_lookup_u8, &lookup, sizeof(lookup));
        memcpy(&sym_idn2_free, &release, sizeof(release));
        return 0;
}

static void load_once_run(void)
{
        load_result = load();
}

static int idn2_load(void)
{
        int r = pthread_once(&load_once, load_once_run);

        assert(r == 0);
        return load_result;
}

static bool is_ascii(const char *s, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                if ((unsigned char)s[i] >= 0x80)
                        return false;
        return true;
}

static int error_of(int code)
{
        switch (code) {
        case IDN2_OK:
                return 0;
        case IDN2_MALLOC:
                return -ENOMEM;
        case IDN2_ENCODING_ERROR:
                return -EILSEQ;
        case IDN2_PUNYCODE_BIG_OUTPUT:
        case IDN2_PUNYCODE_OVERFLOW:
        case IDN2_TOO_BIG_DOMAIN:
        case IDN2_TOO_BIG_LABEL:
                return -ENAMETOOLONG;
        default:
                return -EINVAL;
        }
}

/*
 * Some characters become ASCII that means something else in a URL (U+2100 is `a/c`): so the result
 * may contain nothing but characters of names.
 */
static bool is_host(const char *name)
{
        size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-._");

        return n > 0 && name[n] == 0 && name[0] != '.';
}

/* A name that the newer rules forbid is tried with the older ones, as curl does. */
static int convert(const char *name, char **ret)
{
        static const int flags[] = { IDN2_NONTRANSITIONAL, IDN2_TRANSITIONAL };
        uint8_t *converted = NULL;
        int r = -EINVAL;

        for (size_t i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; ++i)
                r = error_of(sym_idn2_lookup_u8((const uint8_t *)name, &converted,
                                                IDN2_NFC_INPUT | flags[i]));
        if (r == 0 && (!converted || !is_host((const char *)converted)))
                r = -EINVAL;
        if (r == 0) {
                *ret = strdup((const char *)converted);
                r = *ret ? 0 : -ENOMEM;
        }
        sym_idn2_free(converted);
        return r;
}

int http_idna_to_ascii(const char *host, size_t n, char **ret)
{
        _cleanup_free_ char *name = NULL;
        int r;

        *ret = NULL;
        if (is_ascii(host, n) && !memchr(host, '%', n))
                return 0;
        r = percent_decode(host, n, &name);
        if (r == -EINVAL && is_ascii(host, n))
                return 0;
        if (r < 0)
                return r;
        if (is_ascii(name, strlen(name)))
                return 0;
        r = idn2_load();
        return r < 0 ? r : convert(name, ret);
}
