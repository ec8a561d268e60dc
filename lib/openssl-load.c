#include "lib/openssl-load.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define DLSYM_FUNCTION(symbol) __typeof__(symbol) *sym_##symbol;
OPENSSL_SYMBOLS(DLSYM_FUNCTION)
#undef DLSYM_FUNCTION

/* As void *: the address of a pointer to a function, which dlsym() gives as void * too. */
#define SYMBOL_ENTRY(symbol) { #symbol, (void *)&sym_##symbol },
static const struct {
        const char *name;
        void *pointer;
} symbols[] = { OPENSSL_SYMBOLS(SYMBOL_ENTRY) };
#undef SYMBOL_ENTRY

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static struct fault failure; /* none: it is loaded */

static void load(void)
{
        void *library = dlopen(OPENSSL_LIBRARY, RTLD_LAZY | RTLD_NODELETE);

        if (!library) {
                (void)fault_say(&failure, -ENOPKG, OPENSSL_REMEDY, "cannot load OpenSSL: %s",
                                dlerror());
                return;
        }
        /* Looks into the libcrypto that it depends on, too. */
        for (size_t i = 0; i < ARRAY_SIZE(symbols); ++i) {
                void *address = dlsym(library, symbols[i].name);

                if (!address) {
                        (void)fault_say(&failure, -ENOPKG, OPENSSL_REMEDY,
                                        OPENSSL_LIBRARY " has no %s()", symbols[i].name);
                        return;
                }
                memcpy(symbols[i].pointer, &address, sizeof(address));
        }
}

int openssl_load(struct fault *fault)
{
        int r = pthread_once(&load_once, load);

        assert(r == 0);
        return failure.error ? fault_say(fault, failure.error, failure.advice, "%s", failure.why)
                             : 0;
}
