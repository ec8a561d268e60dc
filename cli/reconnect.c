#include "cli/reconnect.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "cli/say.h"

/*
 * We try to connect after each change of the socket's directory. Some changes are not seen there: a
 * socket is made before it listens, and the directory itself may be made again. So we also try in
 * intervals that double.
 */
#define INTERVAL_MIN_MS 10
#define INTERVAL_MAX_MS 1000

static int open_watch(const char *path)
{
        _cleanup_free_ char *directory = strdup(path);
        char *slash = directory ? strrchr(directory, '/') : NULL;
        int fd;

        if (!directory)
                return -ENOMEM;
        if (slash)
                slash[slash == directory] = '\0';
        fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (inotify_add_watch(fd, slash ? directory : ".", IN_CREATE | IN_MOVED_TO | IN_ATTRIB) < 0)
                return close_fd(fd);
        return fd;
}

static void drain(int fd)
{
        char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

        while (fd >= 0 && read(fd, events, sizeof(events)) > 0)
                ;
}

static int ms_left(const struct pppd *pppd)
{
        uint64_t end = pppd->absence.since_ns + pppd->return_ns, now = now_monotonic();

        return now < end ? (int)((end - now) / NSEC_PER_MSEC + 1) : 0;
}

static int say_absent(const struct pppd *pppd)
{
        char seconds[32];

        snprintf(seconds, sizeof(seconds), "%" PRIu64 " s", pppd->return_ns / NSEC_PER_SEC);
        if (pppd->job == 0)
                return cli_fail(CLI_NO_DAEMON,
                                "pppd at %s went away and was not back within %s: %s; "
                                "see its log (journalctl -u pppd), start it again",
                                pppd->path, seconds, strerrordesc_np(-pppd->absence.error));
        return cli_fail(CLI_NO_DAEMON,
                        "pppd at %s went away and was not back within %s: %s; see its log "
                        "(journalctl -u pppd), start it again, then: pppctl wait %" PRIu64,
                        pppd->path, seconds, strerrordesc_np(-pppd->absence.error), pppd->job);
}

static void begin_absence(struct pppd *pppd)
{
        if (pppd->absence.since_ns)
                return;
        pppd->absence = (struct pppd_absence){ .since_ns = now_monotonic(), .error = -ETIMEDOUT };
        if (!pppd->quiet)
                cli_note("pppd went away; waiting for it to come back");
}

void pppd_is_back(struct pppd *pppd)
{
        if (!pppd->absence.since_ns)
                return;
        pppd->absence = (struct pppd_absence){ .since_ns = 0 };
        if (!pppd->quiet)
                cli_note("pppd is back");
}

/* Waits between one try and the next; the first comes at once. Returns 0 or an exit status. */
static int pause_before_try(struct pppd *pppd, int watch_fd)
{
        struct pollfd fds[] = {
                { .fd = MAX(pppd->signal_fd, -1), .events = POLLIN },
                { .fd = MAX(watch_fd, -1), .events = POLLIN },
        };
        unsigned n = pppd->absence.n_tries++;
        int interval = MIN(INTERVAL_MIN_MS << MIN(n, 10U), INTERVAL_MAX_MS), left = ms_left(pppd);

        if (n == 0)
                return 0;
        if (left == 0)
                return say_absent(pppd);
        if (poll(fds, ARRAY_SIZE(fds), MIN(interval, left)) < 0 && errno != EINTR)
                return cli_fail(CLI_FAILED, "cannot wait for pppd (poll(2)): %s",
                                strerrordesc_np(errno));
        if (fds[0].revents)
                return CLI_INTERRUPTED;
        if (fds[1].revents) {
                drain(watch_fd);
                pppd->absence.n_tries = 1;
        }
        return 0;
}

int pppd_reconnect(struct pppd *pppd)
{
        _cleanup_close_ int watch_fd = -EBADF;
        int r, fd;

        begin_absence(pppd);
        varlink_deinit(&pppd->varlink);
        /* Without it we try in intervals only. */
        watch_fd = open_watch(pppd->path);
        for (;;) {
                r = pause_before_try(pppd, watch_fd);
                if (r)
                        return r;
                r = varlink_connect(pppd->path, 0, &fd);
                if (r >= 0)
                        break;
                pppd->absence.error = r;
        }
        varlink_init_consume(&pppd->varlink, fd);
        return 0;
}

int pppd_await_reply(struct pppd *pppd)
{
        for (;;) {
                struct pollfd fds[] = {
                        { .fd = MAX(pppd->signal_fd, -1), .events = POLLIN },
                        { .fd = pppd->varlink.fd, .events = POLLIN },
                };
                int n = poll(fds, ARRAY_SIZE(fds), ms_left(pppd));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return cli_fail(CLI_FAILED, "cannot wait for pppd (poll(2)): %s",
                                        strerrordesc_np(errno));
                if (n == 0) {
                        pppd->absence.error = -ETIMEDOUT;
                        return say_absent(pppd);
                }
                return fds[0].revents ? CLI_INTERRUPTED : 0;
        }
}
