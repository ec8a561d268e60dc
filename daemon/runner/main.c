#include "daemon/runner/main.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/runner-abi.h"
#include "lib/util.h"

static int help(FILE *to)
{
        fputs("pppd-runner JOB\n"
              "\n"
              "Carries one job of pppd. pppd-supervisor starts it, with the job's files open as\n"
              "descriptors 3 to 7; it does nothing by itself. See pppd.service(8), pppctl(1).\n", to);
        return to == stdout ? EXIT_SUCCESS : 2;
}

int main(int argc, char **argv)
{
        uint64_t start_ns = now_monotonic();

        if (argc == 2 && streq(argv[1], "--help"))
                return help(stdout);
        if (argc == 2 && streq(argv[1], "--version")) {
                puts("pppd-runner " PPPCTL_VERSION);
                return EXIT_SUCCESS;
        }
        for (int fd = RUNNER_FD_SPEC; fd <= RUNNER_FD_CGROUP; ++fd)
                if (argc != 2 || fcntl(fd, F_GETFD) < 0)
                        return help(stderr);
        /* What the supervisor left open across execve(2) must not leak further. */
        for (int fd = RUNNER_FD_SPEC; fd <= RUNNER_FD_CGROUP; ++fd)
                (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        return runner_main(start_ns);
}
