/*
 * pppd-supervisor admits, starts, watches and accounts for jobs. It is one thread on one event
 * loop. It never runs a workload's code, and waits for clients and runners only in that loop.
 */

#include <signal.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/kept/checkpoint.h"
#include "daemon/supervisor/manager.h"

#define EXIT_USAGE 2

/*
 * SIGPIPE and SIGXFSZ are ignored, so that a client that is gone, or a file that grows too long
 * (RLIMIT_FSIZE), is an error and does not kill us. SIGTERM, SIGINT and SIGHUP are blocked, since
 * the event loop reads them from a signalfd. All others get their default action: our parent may
 * have left some ignored, which our children would inherit; and with SIGCHLD ignored we would not
 * learn how children end.
 */
static int set_up_signals(void)
{
        sigset_t mask;

        /* This fails, as it may, for SIGKILL, SIGSTOP and the signals that the C library uses. */
        for (int i = 1; i < _NSIG; ++i)
                (void)signal(i, SIG_DFL);
        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        sigaddset(&mask, SIGHUP);
        if (sigprocmask(SIG_SETMASK, &mask, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
            signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
                return -errno;
        return 0;
}

/* Raises the soft limit, which exists for select(2); that is not used here. Jobs inherit it. */
static void raise_descriptor_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                supervisor_log(LOG_INFO, "cannot raise the limit on open files: %s",
                               strerror(errno));
}

static int run(const struct options *options)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        struct manager manager;
        int r;

        r = set_up_signals();
        if (r >= 0)
                r = sd_event_new(&event);
        if (r < 0) {
                supervisor_log(LOG_ERR, "cannot set up the event loop: %s", strerror(-r));
                return r;
        }
        raise_descriptor_limit();
        r = manager_init(&manager, event, options);
        if (r == 0) {
                r = event_loop_run(event);
                if (r < 0)
                        supervisor_log(LOG_ERR, "the event loop failed: %s", strerror(-r));
        }
        manager_deinit(&manager);
        return r;
}

static int exit_status(int r)
{
        if (r == MANAGER_E_CONFIG)
                return EX_CONFIG;
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
        struct options options = OPTIONS_NULL;
        int status = EXIT_SUCCESS, r;

        r = hold_standard_fds();
        if (argc == 3 && streq(argv[1], CHECKPOINT_ARG))
                return -store_checkpoint(argv[2]);
        supervisor_log_init();
        if (r < 0) {
                supervisor_log(
                        LOG_ERR,
                        "cannot open /dev/null in place of a standard stream that is closed: %s",
                        strerror(-r));
                return EXIT_FAILURE;
        }
        r = supervisor_options_parse(&options, argc, argv);
        if (r < 0)
                status = EXIT_USAGE;
        else if (r == 0)
                status = exit_status(options.check_config ? manager_check_config(&options)
                                                          : run(&options));
        supervisor_options_deinit(&options);
        return status;
}
