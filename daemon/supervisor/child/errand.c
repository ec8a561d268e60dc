#include "daemon/supervisor/child/errand.h"

#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/supervisor/child/child-exit.h"
#include "daemon/supervisor/child/oom-score.h"

struct errand {
        sd_event_source *source;
        int pidfd, out_fd;
        void (*done)(void *userdata, int r, int out_fd); /* NULL: nobody waits for it */
        void *userdata;
};

/* Called when its event source goes, be it with the event loop. */
static void errand_free(void *userdata)
{
        struct errand *errand = userdata;

        close_fd(errand->pidfd);
        close_fd(errand->out_fd);
        free(errand);
}

static bool is_kept(const struct errand_work *work, int out_fd, unsigned fd)
{
        for (size_t i = 0; i < work->n_fds; ++i)
                if (work->fds[i] == (int)fd)
                        return true;
        return (int)fd == out_fd;
}

/* All above standard error but those that are kept. */
static void child_close(const struct errand_work *work, int out_fd)
{
        unsigned last = (unsigned)out_fd, from = 3;

        for (size_t i = 0; i < work->n_fds; ++i)
                last = MAX(last, (unsigned)work->fds[i]);
        for (unsigned fd = 3; fd <= last; ++fd)
                if (is_kept(work, out_fd, fd)) {
                        if (fd > from)
                                (void)close_range(from, fd - 1, 0);
                        from = fd + 1;
                }
        (void)close_range(from, ~0U, 0);
}

/* A negative errno becomes an exit status: that has room for all of them. */
_Noreturn static void child_run(const struct errand_work *work, int out_fd, pid_t parent)
{
        int r;

        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(ESRCH);
        r = oom_score_reset();
        if (r < 0)
                _exit(-r);
        child_close(work, out_fd);
        r = work->run(work->userdata, out_fd);
        _exit(r < 0 ? -r : 0);
}

static int result_of(const siginfo_t *info)
{
        return info->si_code == CLD_EXITED ? -info->si_status : -ECHILD;
}

static int on_exit_of_child(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct errand *errand = userdata;
        siginfo_t info = { 0 };

        if (child_exit_take(errand->pidfd, &info, NULL) == -EAGAIN)
                return 0;
        if (errand->done) {
                errand->done(errand->userdata, result_of(&info), errand->out_fd);
                sd_event_source_disable_unref(source);
        } else {
                /* Takes the event loop's reference back and drops it; there is no other one. */
                (void)sd_event_source_set_floating(source, false);
        }
        return 0;
}

/* The child, watched. */
static int start(sd_event *event, const struct errand_work *work, struct errand *errand)
{
        pid_t parent = getpid(), pid;
        int r;

        errand->out_fd = memfd_create("pppd-errand", MFD_CLOEXEC);
        if (errand->out_fd < 0)
                return -errno;
        pid = fork();
        if (pid == 0)
                child_run(work, errand->out_fd, parent);
        if (pid < 0)
                return -errno;
        errand->pidfd = pidfd_open(pid, 0);
        r = errand->pidfd < 0 ? -errno : 0;
        if (r >= 0)
                r = child_exit_watch(event, &errand->source, errand->pidfd, on_exit_of_child,
                                     errand);
        if (r < 0) {
                (void)kill(pid, SIGKILL);
                (void)waitpid(pid, NULL, 0);
        }
        return r;
}

int errand_start(sd_event *event, const struct errand_work *work, struct errand **ret)
{
        struct errand *errand = calloc(1, sizeof(*errand));
        int r;

        assert(work->n_fds <= ERRAND_FDS_MAX);
        if (!errand)
                return -ENOMEM;
        *errand = (struct errand){
                .done = work->done, .userdata = work->userdata, .pidfd = -EBADF, .out_fd = -EBADF
        };
        r = start(event, work, errand);
        if (r < 0) {
                errand_free(errand);
                return r;
        }
        (void)sd_event_source_set_destroy_callback(errand->source, errand_free);
        *ret = errand;
        return 0;
}

struct errand *errand_await(struct errand *errand, int msec)
{
        struct pollfd pollfd = { .events = POLLIN };

        if (!errand)
                return NULL;
        pollfd.fd = errand->pidfd;
        (void)poll(&pollfd, 1, msec);
        return errand_cancel(errand);
}

/* It is the event loop's from here, until the child was reaped. */
struct errand *errand_cancel(struct errand *errand)
{
        if (!errand)
                return NULL;
        (void)pidfd_send_signal(errand->pidfd, SIGKILL, NULL, 0);
        errand->done = NULL;
        (void)sd_event_source_set_floating(errand->source, true);
        sd_event_source_unref(errand->source);
        return NULL;
}
