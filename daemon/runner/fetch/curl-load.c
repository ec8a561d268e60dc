#include "daemon/runner/fetch/curl-load.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

#include "daemon/runner/runner.h"

/* The names that Debian and Fedora have for its package. */
#define CURL_REMEDY "install libcurl 7.84 or newer (Debian: libcurl4, Fedora: libcurl)"

#define DLSYM_FUNCTION(symbol) __typeof__(symbol) *sym_##symbol;
CURL_SYMBOLS(DLSYM_FUNCTION)
#undef DLSYM_FUNCTION

/* As void *: the address of a pointer to a function, which dlsym() gives as void * too. */
#define SYMBOL_ENTRY(symbol) { #symbol, (void *)&sym_##symbol },
static const struct {
        const char *name;
        void *pointer;
} symbols[] = { CURL_SYMBOLS(SYMBOL_ENTRY) };
#undef SYMBOL_ENTRY

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static int load_result;

static int look_up(void *library)
{
        for (size_t i = 0; i < ARRAY_SIZE(symbols); ++i) {
                void *address = dlsym(library, symbols[i].name);

                if (!address) {
                        log_error("cannot fetch: " CURL_LIBRARY " has no %s(); " CURL_REMEDY,
                                  symbols[i].name);
                        return -ENOPKG;
                }
                memcpy(symbols[i].pointer, &address, sizeof(address));
        }
        return 0;
}

/*
 * libcurl allocates its receive buffer anew for every request. glibc maps memory of that size, or
 * gives the top of the heap back to the kernel when it is freed, so each request would pay for
 * faulting the pages in again: a quarter of its CPU time. Memory at its peak stays the same.
 */
static void keep_freed_memory(void)
{
        mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
        mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
}

static int load(void)
{
        /*
         * Lazily: a fetch calls few of the functions that the thirty libraries bind. This saves
         * half of the time.
         */
        void *library = dlopen(CURL_LIBRARY, RTLD_LAZY | RTLD_NODELETE);
        CURLcode code;
        int r;

        if (!library) {
                log_error("cannot fetch: cannot load libcurl: %s; " CURL_REMEDY, dlerror());
                return -ENOPKG;
        }
        r = look_up(library);
        if (r < 0) {
                dlclose(library);
                return r;
        }
        keep_freed_memory();
        code = sym_curl_global_init(CURL_GLOBAL_DEFAULT);
        if (code != CURLE_OK) {
                log_error("cannot fetch: libcurl does not start up: its error %d; "
                          "is there memory left, is OpenSSL's configuration sound?",
                          (int)code);
                return -ENOPKG;
        }
        return 0;
}

static void load_once_run(void)
{
        load_result = load();
}

int curl_load(void)
{
        int r = pthread_once(&load_once, load_once_run);

        assert(r == 0);
        return load_result;
}
