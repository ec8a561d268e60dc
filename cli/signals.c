#include "cli/signals.h"

#include <signal.h>
#include <sys/signalfd.h>

#include "cli/say.h"

int signals_open(int *ret_fd)
{
        sigset_t set;
        int fd;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
                close_fd(fd);
                return cli_fail(CLI_FAILED, "cannot wait for signals (signalfd(2)): %s",
                                strerrordesc_np(errno));
        }
        *ret_fd = fd;
        return 0;
}

void signals_drain(int fd)
{
        struct signalfd_siginfo info;

        while (read(fd, &info, sizeof(info)) > 0)
                ;
}
