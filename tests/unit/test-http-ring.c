/*
 * Connections on the ring, where the kernel takes nothing for a while: what was queued for one of
 * them must not meet its descriptor in another's hands.
 */

#include "daemon/runner/fetch/http-ring.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "tests/unit/async-job.h"

#define REQUEST "GET / HTTP/1.1\r\n\r\n"

/*
 * These take the place of liburing's functions in this program: nothing else makes the kernel
 * refuse entries at will. Completions come all the same.
 */
static bool refusing;

static int refused(struct io_uring *ring)
{
        return io_uring_get_events(ring) < 0 ? -EINTR : -EAGAIN;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
        static int (*real)(struct io_uring * ring, unsigned n);

        if (refusing)
                return refused(ring);
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
        return real(ring, n);
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
        static int (*real)(struct io_uring * ring);

        if (refusing)
                return refused(ring);
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit_and_get_events");
        return real(ring);
}

static int listener;
static union http_address address;

static void listen_somewhere(void)
{
        socklen_t n = sizeof(address.v4);

        address.v4 = (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        test_int(bind(listener, &address.any, n), ==, 0);
        test_int(listen(listener, 4), ==, 0);
        test_int(getsockname(listener, &address.any, &n), ==, 0);
}

/* A request that is answered, after which the connection is polled. */
static void ask_once(struct http_connection *connection, struct ppp_task *task, int peer)
{
        const struct http_transport_ops *ops = connection->transport->ops;
        char buffer[64];

        test_true(http_connection_request(connection, strlen(REQUEST)));
        memcpy(connection->request, REQUEST, strlen(REQUEST));
        test_int(write(peer, "x", 1), ==, 1);
        test_int(ops->ask(connection, task, strlen(REQUEST)), ==, 0);
        test_int(ops->recv(connection, buffer, sizeof(buffer)), ==, 1);
        test_int(read(peer, buffer, sizeof(buffer)), ==, strlen(REQUEST));
}

struct alarm {
        struct loop_deadline deadline;
        bool passed;
};

static void alarm_passed(struct loop_deadline *deadline)
{
        container_of(deadline, struct alarm, deadline)->passed = true;
}

/* The kernel has a timeout, which it has not told of yet. Returns when that is. */
static uint64_t set_alarm(struct loop *loop, struct ppp_task *task, struct alarm *alarm)
{
        for (uint64_t ns = 50 * NSEC_PER_MSEC;; ns *= 2) {
                *alarm = (struct alarm){ .deadline.passed = alarm_passed };
                loop_deadline_add(loop, &alarm->deadline, task, now_monotonic() + ns);
                loop_yield(loop);
                if (!alarm->passed)
                        return alarm->deadline.at_ns;
                loop_deadline_remove(loop, &alarm->deadline);
        }
}

/* As the kernel ends a multishot poll that has no room for its completion. */
static void end_poll_of(struct loop *loop, int fd)
{
        struct io_uring_sync_cancel_reg what = {
                .fd = fd,
                .flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL,
                .timeout = { -1, -1 },
        };

        test_int(io_uring_register_sync_cancel(&loop->ring.uring, &what), >=, 0);
}

static void turn_often(struct loop *loop)
{
        for (unsigned i = 0; i < 10; ++i)
                loop_yield(loop);
}

static int run_refused(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct async_io *io = task->worker->io_context;
        struct loop *loop = io->loop;
        struct http_connection *connection;
        _cleanup_close_ int peer = -EBADF;
        struct alarm alarm;
        int fd;

        test_int(http_ring_new(loop, &io->bounds, &io->http), ==, 0);
        test_int(io->http->ops->connect(io->http, task, &address, &connection), ==, 0);
        fd = connection->fd;
        peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        test_int(peer, >=, 0);
        ask_once(connection, task, peer);

        task->deadline_ns = set_alarm(loop, task, &alarm);
        refusing = true;
        test_int(io->http->ops->ask(connection, task, strlen(REQUEST)), ==, -ETIME);
        task->deadline_ns = 0;
        loop_deadline_remove(loop, &alarm.deadline);
        http_connection_close(connection);
        end_poll_of(loop, fd);
        turn_often(loop);
        /* The request is still queued, and names the descriptor by its number. */
        test_int(fcntl(fd, F_GETFD), >=, 0);

        refusing = false;
        turn_often(loop);
        test_int(fcntl(fd, F_GETFD), <, 0);
        *ret = 1;
        return 0;
}

static void test_closed_while_refused(void)
{
        struct job job;

        listen_somewhere();
        job_begin(&job);
        job_add(&job, "x");
        job_run(&job, run_refused, 1);
        test_done(&job, 0, 1);
        job_end(&job);
        close(listener);
}

static const struct test_case cases[] = {
        { "closed while nothing is taken", test_closed_while_refused },
};

int main(void)
{
        return async_main("http-ring", cases, ARRAY_SIZE(cases));
}
