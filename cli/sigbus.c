#include "cli/sigbus.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile sig_atomic_t hit;
static uintptr_t page_size;

/* mmap(2) is a bare system call, so it may be called here. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
        void *page = (void *)((uintptr_t)info->si_addr & ~(page_size - 1));
        int saved = errno;

        hit = 1;
        /*
         * Any other access, or a failure here, kills us as it would have: it is repeated without
         * this handler.
         */
        if (info->si_code != BUS_ADRERR ||
            mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                    MAP_FAILED)
                (void)signal(SIGBUS, SIG_DFL);
        errno = saved;
}

int sigbus_guard(void)
{
        const struct sigaction action = {
                .sa_sigaction = on_sigbus,
                .sa_flags = SA_SIGINFO | SA_NODEFER,
        };

        hit = 0;
        page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
        return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

bool sigbus_was_hit(void)
{
        return hit;
}
