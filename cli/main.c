/* pppctl: the companion of pppd. See cli/verbs.c for what it can do. */

#include <stdio.h>

#include "cli/output.h"
#include "cli/say.h"
#include "cli/verbs.h"

/* Output of verbs is checked by output_finish(); this is for the help. */
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
        int r = hold_standard_fds();

        if (r < 0)
                return cli_fail(
                        CLI_FAILED,
                        "cannot open /dev/null in place of a standard stream that is closed: %s",
                        strerrordesc_np(-r));
        r = pppctl(argc, argv);
        return r == CLI_OK ? flush_help() : r;
}
