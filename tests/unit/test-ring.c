/*
 * The ring, on each rung of its set-up: completions find their ops, none is lost, cancelling ends
 * what is in flight.
 */

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "tests/unit/ring-rungs.h"

/* An op that notes what became of it. */
struct noted {
        struct ring_op op;
        int res;
        uint32_t flags;
        unsigned n_complete;
};

static void note(struct ring_op *op, int res, uint32_t flags)
{
        struct noted *noted = container_of(op, struct noted, op);

        noted->res = res;
        noted->flags = flags;
        noted->n_complete++;
}

#define NOTED                       \
        {                           \
                .op.complete = note \
        }

static void ring_setup(struct ring *ring, unsigned entries)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        n_attempts = 0;
        r = ring_init(ring, entries, &fault);
        if (r < 0)
                test_fail_at("ring_init: %s: %s", fault.why, fault.advice ?: "");
}

/* Turns until nothing is in flight; how many completions were run. */
static uint64_t ring_drain(struct ring *ring)
{
        uint64_t n = 0;

        while (ring->n_in_flight > 0) {
                int r = ring_turn(ring, true);

                test_int(r, >=, 0);
                n += (uint64_t)r;
        }
        return n;
}

static void nop(struct ring *ring, struct ring_op *op)
{
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_nop(sqe);
        ring_arm(ring, sqe, op);
}

static void sleep_op(struct ring *ring, struct ring_op *op, struct __kernel_timespec *ts)
{
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_timeout(sqe, ts, 0, 0);
        ring_arm(ring, sqe, op);
}

static void poll_op(struct ring *ring, struct ring_op *op, int fd)
{
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_poll_add(sqe, fd, POLLIN);
        ring_arm(ring, sqe, op);
}

static void test_nops(void)
{
        struct noted ops[16] = { 0 };
        struct ring ring;

        ring_setup(&ring, 8);
        test_true(ring.setup != NULL);
        for (size_t i = 0; i < ARRAY_SIZE(ops); ++i) {
                ops[i] = (struct noted)NOTED;
                nop(&ring, &ops[i].op);
        }
        test_int(ring.n_in_flight, ==, 16);
        test_int(ring_drain(&ring), ==, 16);
        for (size_t i = 0; i < ARRAY_SIZE(ops); ++i) {
                test_int(ops[i].n_complete, ==, 1);
                test_int(ops[i].res, ==, 0);
        }
        test_int(ring.counters.submissions, ==, 16);
        test_int(ring.counters.completions, ==, 16);
        /* The queue of 8 was full once, and its rest went out with the turn. */
        test_int(ring.counters.enters, ==, 2);
        test_int(ring.counters.wakeups, ==, 1);

        /* With nothing in flight and nothing queued, a turn neither blocks nor enters. */
        test_int(ring_turn(&ring, true), ==, 0);
        test_int(ring.counters.enters, ==, 2);
        ring_deinit(&ring);
        ring_deinit(&ring);
}

/* A turn that need not wait doesn't, and later finds what has come. */
static void test_turn_without_waiting(void)
{
        struct __kernel_timespec ts = { .tv_nsec = 20 * 1000 * 1000 };
        struct noted op = NOTED;
        uint64_t begin = now_monotonic();
        struct ring ring;
        unsigned n = 0;

        ring_setup(&ring, 8);
        sleep_op(&ring, &op.op, &ts);
        while (op.n_complete == 0 && ring_turn(&ring, false) >= 0)
                ++n;
        test_int(op.res, ==, -ETIME);
        test_int(n, >, 2);
        test_int(now_monotonic() - begin, >=, 20 * NSEC_PER_MSEC);
        /* To submit it, and to have its completion worked off: not one for each turn. */
        test_int(ring.counters.enters, <=, 3);
        ring_deinit(&ring);
}

/* Linux hands out some twenty a call since 6.13; all are run that there are. */
static void test_all_in_one_turn(void)
{
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        static const uint64_t one = 1;
        struct noted ops[200];
        struct ring ring;

        ring_setup(&ring, 64);
        for (size_t i = 0; i < ARRAY_SIZE(ops); ++i) {
                ops[i] = (struct noted)NOTED;
                poll_op(&ring, &ops[i].op, fd);
        }
        test_int(ring_turn(&ring, false), ==, 0);
        test_int(write(fd, &one, sizeof(one)), ==, sizeof(one));
        test_int(ring_turn(&ring, true), ==, ARRAY_SIZE(ops));
        test_int(ring.n_in_flight, ==, 0);
        ring_deinit(&ring);
}

/* Another processor sets the flag after it has added the work, which may be done by then. */
static void test_flag_without_work(void)
{
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        static const uint64_t one = 1;
        struct noted ops[2] = { NOTED, NOTED };
        struct ring ring;

        ring_setup(&ring, 8);
        nop(&ring, &ops[0].op);
        poll_op(&ring, &ops[1].op, fd);
        test_int(ring_turn(&ring, true), ==, 1);
        __atomic_or_fetch(ring.uring.sq.kflags, IORING_SQ_TASKRUN, __ATOMIC_RELAXED);
        test_int(ring_turn(&ring, false), ==, 0);
        nop(&ring, &ops[0].op);
        __atomic_or_fetch(ring.uring.sq.kflags, IORING_SQ_TASKRUN, __ATOMIC_RELAXED);
        test_int(ring_turn(&ring, true), ==, 1);
        test_int(write(fd, &one, sizeof(one)), ==, sizeof(one));
        test_int(ring_turn(&ring, true), ==, 1);
        ring_deinit(&ring);
}

static void test_linked_timeout(void)
{
        struct __kernel_timespec ts = { .tv_nsec = 10 * 1000 * 1000 };
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        struct noted poll = NOTED, timeout = NOTED;
        uint64_t begin = now_monotonic();
        struct io_uring_sqe *sqe;
        struct ring ring;

        ring_setup(&ring, 8);
        ring_reserve(&ring, 2);
        sqe = ring_sqe(&ring);
        io_uring_prep_poll_add(sqe, fd, POLLIN);
        sqe->flags |= IOSQE_IO_LINK;
        ring_arm(&ring, sqe, &poll.op);
        sqe = ring_sqe(&ring);
        io_uring_prep_link_timeout(sqe, &ts, 0);
        ring_arm(&ring, sqe, &timeout.op);

        ring_drain(&ring);
        test_int(poll.res, ==, -ECANCELED);
        test_int(timeout.res, ==, -ETIME);
        test_int(now_monotonic() - begin, >=, 10 * NSEC_PER_MSEC);
        ring_deinit(&ring);
}

/* A chain that does not fit in what is left of the queue must not be cut by a submission. */
static void test_reserve(void)
{
        struct noted fillers[7], first = NOTED, second = NOTED;
        struct io_uring_sqe *sqe;
        struct ring ring;

        ring_setup(&ring, 8);
        for (int i = 0; i < 7; ++i) {
                fillers[i] = (struct noted)NOTED;
                nop(&ring, &fillers[i].op);
        }
        ring_reserve(&ring, 2);
        sqe = ring_sqe(&ring);
        io_uring_prep_read(sqe, -1, NULL, 0, 0); /* fails, which cancels the rest of its chain */
        sqe->flags |= IOSQE_IO_LINK;
        ring_arm(&ring, sqe, &first.op);
        nop(&ring, &second.op);
        ring_drain(&ring);
        test_int(first.res, ==, -EBADF);
        test_int(second.res, ==, -ECANCELED);
        ring_deinit(&ring);
}

static void test_cancel_one(void)
{
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        static const uint64_t one = 1;
        struct noted a = NOTED, b = NOTED;
        struct ring ring;

        ring_setup(&ring, 8);
        poll_op(&ring, &a.op, fd);
        poll_op(&ring, &b.op, fd);
        test_int(ring_turn(&ring, false), ==, 0);
        ring_cancel(&ring, &a.op);
        while (a.n_complete == 0)
                test_int(ring_turn(&ring, true), >=, 0);
        test_int(a.res, ==, -ECANCELED);
        test_int(b.n_complete, ==, 0);
        test_int(ring.n_in_flight, ==, 1);

        test_int(write(fd, &one, sizeof(one)), ==, sizeof(one));
        ring_drain(&ring);
        test_int(b.res, ==, POLLIN);

        /* What is gone can't be cancelled: silently. */
        ring_cancel(&ring, &a.op);
        test_int(ring_turn(&ring, true), >=, 0);
        test_int(a.n_complete, ==, 1);
        ring_deinit(&ring);
}

static void read_op(struct ring *ring, struct ring_op *op, int fd, char *byte)
{
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_read(sqe, fd, byte, 1, (uint64_t)-1);
        ring_arm(ring, sqe, op);
}

/* Returns how long it took. */
static uint64_t cancel_all(void)
{
        enum { N = 1000 };
        static struct noted timeouts[N], polls[N], reads[N];
        struct __kernel_timespec hour = { .tv_sec = 3600 };
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        uint64_t begin;
        struct ring ring;
        int pipes[2];
        char byte;

        test_int(pipe2(pipes, O_CLOEXEC), ==, 0);
        ring_setup(&ring, 2048);
        for (int i = 0; i < N; ++i) {
                timeouts[i] = polls[i] = reads[i] = (struct noted)NOTED;
                sleep_op(&ring, &timeouts[i].op, &hour);
                poll_op(&ring, &polls[i].op, fd);
                read_op(&ring, &reads[i].op, pipes[0], &byte);
        }
        test_int(ring_turn(&ring, false), ==, 0);
        begin = now_monotonic();
        ring_cancel_all(&ring);
        test_int(ring_drain(&ring), ==, 3 * N);
        begin = now_monotonic() - begin;
        for (int i = 0; i < N; ++i) {
                test_int(timeouts[i].n_complete + polls[i].n_complete + reads[i].n_complete, ==, 3);
                test_int(timeouts[i].res, ==, -ECANCELED);
                test_int(polls[i].res, ==, -ECANCELED);
                test_int(reads[i].res, ==, -ECANCELED);
        }
        ring_deinit(&ring);
        close(pipes[0]);
        close(pipes[1]);
        return begin;
}

/* Of hours of waiting. */
static void test_cancel_all(void)
{
        test_int(cancel_all(), <, 30 * NSEC_PER_SEC);
}

/* It is in flight until the completion that has no F_MORE, whatever came before. */
static void test_multishot(void)
{
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        static const uint64_t one = 1;
        struct noted op = NOTED;
        struct io_uring_sqe *sqe;
        struct ring ring;

        ring_setup(&ring, 8);
        sqe = ring_sqe(&ring);
        io_uring_prep_poll_multishot(sqe, fd, POLLIN);
        ring_arm(&ring, sqe, &op.op);
        test_int(ring_turn(&ring, false), ==, 0);
        for (unsigned i = 1; i <= 3; ++i) {
                test_int(write(fd, &one, sizeof(one)), ==, sizeof(one));
                test_int(ring_turn(&ring, true), ==, 1);
                test_int(op.n_complete, ==, i);
                test_int(op.res, ==, POLLIN);
                test_true(op.flags & IORING_CQE_F_MORE);
                test_int(ring.n_in_flight, ==, 1);
        }
        ring_cancel(&ring, &op.op);
        ring_drain(&ring);
        test_int(op.n_complete, ==, 4);
        test_int(op.res, ==, -ECANCELED);
        test_true(!(op.flags & IORING_CQE_F_MORE));
        test_int(ring.n_in_flight, ==, 0);
        ring_deinit(&ring);
}

/* Many more completions than the queue has places, none taken before all have been posted. */
/* A success is not heard of; a failure is, and so is a send that fits only in part. */
static void test_silent(void)
{
        static char data[1 << 20];
        struct noted good = NOTED, bad = NOTED, part = NOTED, last = NOTED;
        struct noted *noted[] = { &good, &bad, &part };
        const int flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
        int fds[2], size = 4096;
        struct ring ring;

        test_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
        test_int(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), ==, 0);
        ring_setup(&ring, 8);
        for (size_t i = 0; i < ARRAY_SIZE(noted); ++i) {
                struct io_uring_sqe *sqe = ring_sqe(&ring);
                size_t n = noted[i] == &part ? sizeof(data) : 1;

                io_uring_prep_send(sqe, noted[i] == &bad ? -1 : fds[0], data, n, flags);
                ring_arm_silent(&ring, sqe, &noted[i]->op);
        }
        test_int(ring.n_in_flight, ==, 0);
        nop(&ring, &last.op);
        test_int(ring_turn(&ring, true), ==, 3);
        test_int(last.n_complete, ==, 1);
        test_int(good.n_complete, ==, 0);
        test_int(bad.n_complete, ==, 1);
        test_int(bad.res, ==, -EBADF);
        test_int(part.n_complete, ==, 1);
        test_int(part.res, <, sizeof(data));
        test_true(part.res > 0 || part.res == -EAGAIN);
        test_int(ring.n_in_flight, ==, 0);
        ring_deinit(&ring);
        close(fds[0]);
        close(fds[1]);
}

static void test_overflow(void)
{
        enum { N = 1000 }; /* the queue has 4 * 8 */
        struct noted ops[N];
        struct ring ring;

        ring_setup(&ring, 8);
        for (int i = 0; i < N; ++i) {
                ops[i] = (struct noted)NOTED;
                nop(&ring, &ops[i].op);
        }
        test_int(ring_drain(&ring), ==, N);
        for (int i = 0; i < N; ++i)
                test_int(ops[i].n_complete, ==, 1);
        test_int(ring.counters.overflows, >, 0);
        test_int(ring.counters.completions, ==, N);
        test_int(ring.counters.submissions, ==, N);
        ring_deinit(&ring);
}

struct freed {
        struct ring_op op;
        struct ring *ring;
        unsigned left;
        unsigned *n_freed;
};

static void free_and_go_on(struct ring_op *op, int res, uint32_t flags)
{
        struct freed *old = container_of(op, struct freed, op), *next;

        if (old->left > 0) {
                next = malloc(sizeof(*next));
                *next = *old;
                next->left--;
                nop(old->ring, &next->op);
        }
        ++*old->n_freed;
        memset(old, 0xff, sizeof(*old));
        free(old);
}

/* An op may go in its own completion, and submit from it. */
static void test_free_in_completion(void)
{
        unsigned n_freed = 0;
        struct ring ring;

        ring_setup(&ring, 8);
        for (int i = 0; i < 20; ++i) {
                struct freed *op = malloc(sizeof(*op));

                *op = (struct freed){ { .complete = free_and_go_on }, &ring, 10, &n_freed };
                nop(&ring, &op->op);
        }
        ring_drain(&ring);
        test_int(n_freed, ==, 20 * 11);
        ring_deinit(&ring);
}

/*
 * The kernel refuses entries. This takes the place of liburing's function in this program, as the
 * one above does; nothing else brings about such an answer at will.
 */
static int refuse_with; /* 0: it does not */
static unsigned n_refused;

/* For good if the error is; else as long as completions are in the queue, and at least once. */
static bool refuses(const struct io_uring *ring)
{
        if (!refuse_with)
                return false;
        if (n_refused > 1000)
                return false; /* the test fails for it, and does not hang */
        return n_refused == 0 || refuse_with == -EBADFD || io_uring_cq_ready(ring) > 0;
}

int io_uring_submit(struct io_uring *ring)
{
        static int (*real)(struct io_uring * ring);

        if (refuses(ring)) {
                ++n_refused;
                return refuse_with;
        }
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit");
        return real(ring);
}

/* Notes also in which order they came. */
struct ordered {
        struct ring_op op;
        unsigned *clock;
        unsigned at;
};

static void note_order(struct ring_op *op, int res, uint32_t flags)
{
        struct ordered *ordered = container_of(op, struct ordered, op);

        ordered->at = ++*ordered->clock;
}

static void test_refused(int error)
{
        struct ordered ops[45];
        unsigned clock = 0;
        struct ring ring;

        ring_setup(&ring, 8);
        refuse_with = 0;
        n_refused = 0;
        for (size_t i = 0; i < ARRAY_SIZE(ops); ++i) {
                ops[i] = (struct ordered){ .op.complete = note_order, .clock = &clock };
                nop(&ring, &ops[i].op);
                if (i == 4) {
                        test_int(io_uring_submit(&ring.uring), ==, 5);
                        refuse_with = error;
                }
                test_int(clock, ==, 0); /* none is run behind the caller's back */
        }
        test_int(n_refused, >, 0);
        test_int(n_refused, <, 100);
        refuse_with = 0;
        test_int(ring_drain(&ring), ==, ARRAY_SIZE(ops));
        for (size_t i = 0; i < ARRAY_SIZE(ops); ++i)
                test_int(ops[i].at, ==, i + 1);
        ring_deinit(&ring);
}

static void test_refused_for_now(void)
{
        test_refused(-EBUSY);
        test_refused(-EAGAIN);
        test_refused(-EINTR);
}

static void test_refused_for_good(void)
{
        struct noted ops[20];
        struct ring ring;

        ring_setup(&ring, 8);
        refuse_with = -EBADFD;
        n_refused = 0;
        for (size_t i = 0; i < ARRAY_SIZE(ops); ++i) {
                ops[i] = (struct noted)NOTED;
                nop(&ring, &ops[i].op);
        }
        test_int(n_refused, ==, 1);
        refuse_with = 0;
        test_int(ring_turn(&ring, true), ==, -EBADFD);
        test_int(ring_turn(&ring, false), ==, -EBADFD);
        for (size_t i = 0; i < ARRAY_SIZE(ops); ++i)
                test_int(ops[i].n_complete, ==, 0);
        ring_deinit(&ring);
}

static const struct test_case cases[] = {
        { "no-ops complete once each", test_nops },
        { "a turn need not wait", test_turn_without_waiting },
        { "all there are in one turn", test_all_in_one_turn },
        { "a flag without work", test_flag_without_work },
        { "linked timeouts", test_linked_timeout },
        { "chains are not cut", test_reserve },
        { "cancel one", test_cancel_one },
        { "cancel all within 100 ms", test_cancel_all },
        { "multishot until its terminal completion", test_multishot },
        { "silent unless it fails", test_silent },
        { "overflow loses nothing", test_overflow },
        { "an op is freed in its completion", test_free_in_completion },
        { "entries refused for now", test_refused_for_now },
        { "entries refused for good", test_refused_for_good },
};

int main(void)
{
        return run_on_each_rung(cases, ARRAY_SIZE(cases));
}
