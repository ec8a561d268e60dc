#include "cli/signals.h"

#include <signal.h>
#include <sys/signalfd.h>

#include "cli/say.h"
#include "cli/stream.h"

int signals_open(int *ret_fd)
{
        sigset_t set;
        int fd, r;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
                close_fd(fd);
                return cli_fail(CLI_FAILED, "cannot wait for signals (signalfd(2)): %s",
                                strerrordesc_np(errno));
        }
        r = streams_mind_signals(fd);
        if (r < 0) {
                close_fd(fd);
                return cli_fail(CLI_FAILED, "cannot set up the standard streams: %s",
                                strerrordesc_np(-r));
        }
        *ret_fd = fd;
        return 0;
}

bool signals_drain(int fd)
{
        struct signalfd_siginfo info;
        bool any = false;

        while (read(fd, &info, sizeof(info)) > 0)
                any = true;
        if (any)
                streams_note_signal();
        return any;
}
