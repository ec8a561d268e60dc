/* pppctl: the companion of pppd. See cli/verbs.c for what it can do. */

#include <fcntl.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/say.h"
#include "cli/verbs.h"

/*
 * If standard output is closed, the next file opened would take its number, and results would be
 * written into that. /dev/null holds the place, opened such that writing fails.
 */
static void hold_standard_fds(void)
{
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
                if (fcntl(fd, F_GETFD) < 0)
                        (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* What verbs print is checked by output_finish(); this is for the help. */
static int flush_help(void)
{
        if (fflush(stdout) == 0)
                return CLI_OK;
        if (errno == EPIPE)
                return CLI_PIPE;
        return cli_fail(CLI_FAILED, "cannot write to standard output: %s; %s",
                        strerrordesc_np(errno), output_hint(-errno));
}

int main(int argc, char **argv)
{
        int r;

        hold_standard_fds();
        r = pppctl(argc, argv);
        return r == CLI_OK ? flush_help() : r;
}
