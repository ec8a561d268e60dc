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
              "descriptors 3 to 7; it does nothing by itself. With --node it takes part in other\n"
              "machines' jobs, with --nodes it lists who does. See pppd.service(8), pppctl(1).\n",
              to);
        return to == stdout ? EXIT_SUCCESS : 2;
}

int main(int argc, char **argv)
{
        uint64_t start_ns = now_monotonic();
        bool is_job;

        if (hold_standard_fds() < 0)
                return EXIT_FAILURE;
        if (argc == 2 && streq(argv[1], "--help"))
                return help(stdout);
        if (argc == 2 && streq(argv[1], "--version")) {
                puts("pppd-runner " PPPCTL_VERSION);
                return EXIT_SUCCESS;
        }
        if (argc != 2 || fcntl(RUNNER_FD_SPEC, F_GETFD) < 0)
                return help(stderr);
        is_job = !streq(argv[1], RUNNER_ARG_NODE) && !streq(argv[1], RUNNER_ARG_NODES);
        for (int fd = RUNNER_FD_SPEC; is_job && fd <= RUNNER_FD_CGROUP; ++fd)
                if (fcntl(fd, F_GETFD) < 0)
                        return help(stderr);
        /* Descriptors that the supervisor left open across execve(2) must not leak further. */
        for (int fd = RUNNER_FD_SPEC; fd <= RUNNER_FD_TASK_OUTPUT; ++fd)
                (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (streq(argv[1], RUNNER_ARG_NODE))
                return node_main();
        if (streq(argv[1], RUNNER_ARG_NODES))
                return nodes_main();
        return runner_main(start_ns, argv[1]);
}
