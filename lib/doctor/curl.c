#include "lib/doctor/check.h"

#include <dlfcn.h>
#include <stdio.h>

#define LIBRARY "libcurl.so.4"

/* The first byte says whether the rest is a version or an error text. */
static void work(int fd)
{
        void *library = dlopen(LIBRARY, RTLD_NOW), *address;
        char *(*version)(void);
        const char *text;

        address = library ? dlsym(library, "curl_version") : NULL;
        if (!address) {
                text = dlerror();
                (void)dprintf(fd, "-%s", text ?: "cannot be loaded");
                return;
        }
        memcpy(&version, &address, sizeof(version));
        (void)dprintf(fd, "+%s", version());
}

/*
 * Before 8.1.0 a first field that is folded makes a handle that was used before write into freed
 * memory (curl#11101). Distributions do not fix that in versions that they have released.
 */
static const char *known_fault(const char *version)
{
        unsigned major, minor;

        if (sscanf(version, "libcurl/%u.%u", &major, &minor) != 2)
                return "";
        return major < 8 || (major == 8 && minor < 1)
                       ? "; older than 8.1.0, so it has the fault curl#11101 (an answer with a "
                         "folded first field can make it crash), which pppd goes around"
                       : "";
}

void check_curl(const struct patient *patient, struct finding *finding)
{
        static const char remedy[] = "install libcurl 7.84 or newer (Debian: libcurl4, Fedora: "
                                     "libcurl); files and numbers work without";
        char text[512];
        int signal;
        ssize_t n;

        n = check_in_child(work, text, sizeof(text) - 1, &signal);
        text[MAX(n, (ssize_t)0)] = 0;
        if (n > 1 && text[0] == '+')
                finding_set(finding, CHECK_YES, NULL, "%.*s%s", (int)strcspn(text + 1, " "),
                            text + 1, known_fault(text + 1));
        else
                finding_set(finding, CHECK_NO, remedy, "words cannot fetch URLs: %s",
                            n > 1 ? text + 1 : LIBRARY " cannot be loaded");
}
