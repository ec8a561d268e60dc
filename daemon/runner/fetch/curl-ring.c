#include "daemon/runner/fetch/curl-ring.h"

#include <poll.h>
#include <sys/socket.h>

struct curl_watch {
        struct ring_op poll;
        struct curl_ring *driver;
        struct curl_watch *next_changed;
        int fd;
        uint32_t wanted; /* events libcurl waits for */
        uint32_t armed;  /* events of the poll in flight, 0: none is */
        bool ours;       /* from curl_ring_open_socket(), so closed by us */
        bool connected;  /* libcurl has waited for data on it */
        bool changed;    /* on the list */
        bool gone;       /* libcurl has let go of it */
};

static void watch_complete(struct ring_op *op, int res, uint32_t flags);

static int table_reserve(struct curl_ring *driver, size_t fd)
{
        struct curl_watch **bigger;
        size_t n = MAX(driver->n_by_fd, (size_t)64);

        if (fd < driver->n_by_fd)
                return 0;
        while (n <= fd)
                n *= 2;
        bigger = realloc(driver->by_fd, n * sizeof(struct curl_watch *));
        if (!bigger)
                return -ENOMEM;
        memset(bigger + driver->n_by_fd, 0, (n - driver->n_by_fd) * sizeof(struct curl_watch *));
        driver->by_fd = bigger;
        driver->n_by_fd = n;
        return 0;
}

static struct curl_watch *watch_find(struct curl_ring *driver, int fd)
{
        return (size_t)fd < driver->n_by_fd ? driver->by_fd[fd] : NULL;
}

static void watch_mark_changed(struct curl_watch *watch)
{
        if (watch->changed)
                return;
        watch->changed = true;
        watch->next_changed = watch->driver->changed;
        watch->driver->changed = watch;
}

/* The end of a watch that is gone and whose poll has ended; the list of changes may hold it. */
static void watch_dispose(struct curl_watch *watch)
{
        if (watch->ours)
                watch->fd = close_fd(watch->fd);
        if (!watch->changed)
                free(watch);
}

static void watch_let_go(struct curl_watch *watch)
{
        watch->driver->by_fd[watch->fd] = NULL;
        watch->gone = true;
        watch->wanted = 0;
        if (watch->armed)
                ring_cancel(watch->driver->ring, &watch->poll);
        else
                watch_dispose(watch);
}

/*
 * libcurl 7.88 closes a socket that has not connected yet by itself, saying at most that it no
 * longer waits for it. Then its number may come up again with a watch still in its place. The old
 * watch is then freed, without closing the number, which is another socket by now. If the new
 * socket is for the same transfer, libcurl takes it for the old one and does not say again what it
 * waits for.
 */
static uint32_t watch_supersede(struct curl_watch *watch)
{
        uint32_t wanted = watch->wanted;

        watch->ours = false;
        watch_let_go(watch);
        return wanted;
}

static struct curl_watch *watch_new(struct curl_ring *driver, int fd, bool ours)
{
        struct curl_watch *watch, *old;

        if (table_reserve(driver, (size_t)fd) < 0)
                return NULL;
        watch = calloc(1, sizeof(*watch));
        if (!watch)
                return NULL;
        watch->poll.complete = watch_complete;
        watch->driver = driver;
        watch->fd = fd;
        watch->ours = ours;
        old = watch_find(driver, fd);
        if (old)
                watch->wanted = watch_supersede(old);
        driver->by_fd[fd] = watch;
        if (watch->wanted)
                watch_mark_changed(watch);
        return watch;
}

static void watch_arm(struct curl_watch *watch)
{
        struct ring *ring = watch->driver->ring;
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_poll_add(sqe, watch->fd, watch->wanted);
        ring_arm(ring, sqe, &watch->poll);
        watch->armed = watch->wanted;
        watch->driver->n_in_flight++;
}

/*
 * libcurl changed its mind with a poll in flight. If that poll has fired already the update finds
 * nothing, and its completion leads to the next poll, with the events that are wanted then.
 */
static void watch_update(struct curl_watch *watch)
{
        struct ring *ring = watch->driver->ring;
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_poll_update(sqe, (uintptr_t)&watch->poll, 0, watch->wanted,
                                  IORING_POLL_UPDATE_EVENTS);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        ring_arm(ring, sqe, NULL);
        watch->armed = watch->wanted;
}

/* A poll for more than is wanted is left alone: it does no harm if it fires. */
static void watch_settle(struct curl_watch *watch)
{
        if (!watch->armed && watch->wanted)
                watch_arm(watch);
        else if (watch->wanted & ~watch->armed)
                watch_update(watch);
}

static int libcurl_events(int res)
{
        int events = 0;

        if (res < 0 || res & (POLLERR | POLLNVAL))
                events |= CURL_CSELECT_ERR;
        if (res > 0 && res & (POLLIN | POLLHUP | POLLERR))
                events |= CURL_CSELECT_IN;
        if (res > 0 && res & POLLOUT)
                events |= CURL_CSELECT_OUT;
        return events;
}

static void watch_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct curl_watch *watch = container_of(op, struct curl_watch, poll);
        struct curl_ring *driver = watch->driver;
        int fd = watch->fd, running;

        assert(watch->armed);
        watch->armed = 0;
        driver->n_in_flight--;
        if (watch->gone) {
                watch_dispose(watch);
                return;
        }
        if (!watch->wanted)
                return;
        watch_mark_changed(watch);
        if (res != -ECANCELED) /* the watch may be gone after this */
                sym_curl_multi_socket_action(driver->multi, fd, libcurl_events(res), &running);
        driver->acted(driver);
}

static void timeout_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct curl_ring *driver = container_of(op, struct curl_ring, timeout);

        driver->timeout_armed_ns = 0;
        driver->n_in_flight--;
        if (!driver->multi)
                return;
        /* It may have been armed for an earlier time than is wanted by now. */
        if (driver->deadline_ns && now_monotonic() >= driver->deadline_ns)
                driver->due = true;
        driver->acted(driver);
}

/*
 * The poll in flight stays: the next request on the connection will want it again. The poll of a
 * socket that has not connected does not stay: the socket may be closed already, and the poll would
 * keep it open.
 */
static void watch_unwant(struct curl_watch *watch)
{
        watch->wanted = 0;
        if (!watch->ours)
                watch_let_go(watch);
        else if (!watch->connected && watch->armed)
                ring_cancel(watch->driver->ring, &watch->poll);
}

/* Within libcurl: only notes what it wants. A socket we do not know is its resolver's own. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_userdata)
{
        struct curl_ring *driver = userdata;
        struct curl_watch *watch = watch_find(driver, fd);

        if (what == CURL_POLL_REMOVE) {
                if (watch)
                        watch_unwant(watch);
                return 0;
        }
        if (!watch)
                watch = watch_new(driver, fd, false);
        if (!watch)
                return -1; /* fails all that is in flight, as out of memory */
        watch->wanted = (what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0);
        watch->connected |= what & CURL_POLL_IN;
        watch_mark_changed(watch);
        return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *userdata)
{
        struct curl_ring *driver = userdata;

        driver->due = timeout_ms == 0;
        driver->deadline_ns =
                timeout_ms > 0 ? now_monotonic() + (uint64_t)timeout_ms * NSEC_PER_MSEC : 0;
        return 0;
}

void curl_ring_init(struct curl_ring *driver, struct ring *ring, CURLM *multi,
                    void (*acted)(struct curl_ring *driver))
{
        *driver = (struct curl_ring){
                .ring = ring,
                .multi = multi,
                .acted = acted,
                .timeout.complete = timeout_complete,
        };
        sym_curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        sym_curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, driver);
        sym_curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
        sym_curl_multi_setopt(multi, CURLMOPT_TIMERDATA, driver);
}

void curl_ring_deinit(struct curl_ring *driver)
{
        driver->multi = NULL;
        if (driver->timeout_armed_ns)
                ring_cancel(driver->ring, &driver->timeout);
        for (size_t fd = 0; fd < driver->n_by_fd; ++fd)
                if (driver->by_fd[fd])
                        watch_supersede(driver->by_fd[fd]);
        curl_ring_arm(driver);
        while (driver->n_in_flight > 0)
                if (ring_turn(driver->ring, true) < 0)
                        return; /* the ring is broken: what it holds of us stays */
        free(driver->by_fd);
        driver->by_fd = NULL;
        driver->n_by_fd = 0;
}

int curl_ring_open_socket(struct curl_ring *driver, const struct curl_sockaddr *address)
{
        _cleanup_close_ int fd =
                socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

        if (fd < 0)
                return -errno;
        if (!watch_new(driver, fd, true))
                return -ENOMEM;
        return steal_fd(&fd);
}

void curl_ring_close_socket(struct curl_ring *driver, int fd)
{
        struct curl_watch *watch = watch_find(driver, fd);

        assert(watch && watch->ours);
        watch_let_go(watch);
}

void curl_ring_run_due(struct curl_ring *driver)
{
        int running;

        if (!driver->due)
                return;
        driver->due = false;
        driver->deadline_ns = 0;
        sym_curl_multi_socket_action(driver->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

/*
 * libcurl moves its clock with every request, so the timeout in flight is left as it is when it
 * fires no later than wanted; if it fires too early it is armed again for what is left.
 */
static void arm_timeout(struct curl_ring *driver)
{
        uint64_t at = driver->deadline_ns;
        struct io_uring_sqe *sqe;

        if (!driver->multi || at == 0)
                return;
        if (driver->timeout_armed_ns && driver->timeout_armed_ns <= at)
                return;
        driver->timeout_at.tv_sec = (int64_t)(at / NSEC_PER_SEC);
        driver->timeout_at.tv_nsec = (long long)(at % NSEC_PER_SEC);
        sqe = ring_sqe(driver->ring);
        if (driver->timeout_armed_ns) {
                io_uring_prep_timeout_update(sqe, &driver->timeout_at, (uintptr_t)&driver->timeout,
                                             IORING_TIMEOUT_ABS);
                sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
                ring_arm(driver->ring, sqe, NULL);
        } else {
                io_uring_prep_timeout(sqe, &driver->timeout_at, 0, IORING_TIMEOUT_ABS);
                ring_arm(driver->ring, sqe, &driver->timeout);
                driver->n_in_flight++;
        }
        driver->timeout_armed_ns = at;
}

void curl_ring_arm(struct curl_ring *driver)
{
        struct curl_watch *watch, *next = driver->changed;

        driver->changed = NULL;
        while ((watch = next)) {
                next = watch->next_changed;
                watch->changed = false;
                if (!watch->gone)
                        watch_settle(watch);
                else if (!watch->armed)
                        free(watch);
        }
        arm_timeout(driver);
}
