#pragma once

/*
 * One io_uring, used by one thread. An operation is a struct ring_op embedded in the object that
 * waits for it; its address is the completion's user_data and its identity. It lives until its
 * terminal completion (one without IORING_CQE_F_MORE): closing a descriptor does not end it,
 * cancel it and wait for that (io_uring_cancelation(7)).
 *
 * Set-up ladder, each rung only where the kernel refuses the one before with EINVAL:
 *   SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG (6.1),
 *   COOP_TASKRUN | TASKRUN_FLAG (5.19), none.
 * On all of them: Linux 5.17, for completions that may be skipped and files assigned late in a
 * link.
 */

#include <liburing.h>

#include "lib/fault.h"

struct ring_op {
        /*
         * Called on the loop's stack with the completion's result; it may reuse or free the op if
         * !(cqe_flags & IORING_CQE_F_MORE).
         */
        void (*complete)(struct ring_op *op, int res, uint32_t cqe_flags);

        bool kept; /* not ended by ring_cancel_all(): its owner ends it */

        /* The ring's: its list of all that is in flight, oldest first. */
        struct ring_op *previous, *next;
};

struct ring_counters {
        uint64_t submissions; /* entries handed to the kernel */
        uint64_t completions; /* completions seen */
        uint64_t enters;      /* io_uring_enter(2) calls */
        uint64_t wakeups;     /* turns that found at least one completion */
        uint64_t overflows;   /* turns that found the kernel's overflow list in use */
};

/* A bit of user_data that is 0 in an op's address: the op is not in flight for this completion. */
#define RING_SILENT UINT64_C(1)

/* A completion taken from the queue and not yet handed to its op. */
struct ring_completion {
        struct ring_op *op; /* NULL: nobody waits for it */
        bool silent;        /* armed by ring_arm_silent() */
        int res;
        uint32_t flags;
};

struct ring {
        struct io_uring uring;
        struct ring_counters counters;
        uint64_t n_in_flight; /* ops without their terminal completion */
        struct ring_op *oldest, *newest;
        const char *setup; /* the rung: "single-issuer+defer-taskrun", … */
        bool initialized;

        /* Completions set aside to make room, first in first out; see ring_reserve(). */
        struct ring_completion *aside;
        size_t aside_first, aside_end, aside_size;

        int broken;                /* negative errno: the kernel takes no more entries */
        struct io_uring_sqe scrap; /* what ring_sqe() gives out then; never submitted */
};

/*
 * Returns 0, or a negative errno and @fault, whose advice is about what forbids it (the sysctl
 * io_uring_disabled, seccomp, memlock, an old kernel). @entries: submission slots; the completion
 * queue gets four times as many.
 */
int ring_init(struct ring *ring, unsigned entries, struct fault *fault);
void ring_deinit(struct ring *ring);

/*
 * A submission entry, cleared; submits what is queued when the queue is full. It never fails: if
 * the kernel takes nothing any more, the entry leads nowhere and the next ring_turn() returns why.
 * Prepare it with io_uring_prep_*() at once; user_data is set after that by ring_arm().
 */
struct io_uring_sqe *ring_sqe(struct ring *ring);

/* Makes room for @n entries that are linked (IOSQE_IO_LINK), so that no submit splits them. */
void ring_reserve(struct ring *ring, unsigned n);

/*
 * Ties the prepared entry to @op, which must not be in flight already. With @op NULL nobody hears
 * of its completion (use CQE_SKIP_SUCCESS too).
 */
void ring_arm(struct ring *ring, struct io_uring_sqe *sqe, struct ring_op *op);

/*
 * Ties the prepared entry to @op, which hears of it only if it fails, or does less than was asked
 * and says so (a short send with MSG_WAITALL). For an operation that ends while it is submitted and
 * never waits (MSG_DONTWAIT): it is not counted as in flight, and @op has to live until the next
 * ring_turn() has returned. A success costs no completion and wakes nobody.
 */
void ring_arm_silent(struct ring *ring, struct io_uring_sqe *sqe, struct ring_op *op);

/*
 * The user_data by which another ring's entry (IORING_OP_MSG_RING) makes @op hear of it. It may do
 * so any number of times; @op is not in flight for it, and has to live until no message can come.
 */
static inline uint64_t ring_message_data(struct ring_op *op)
{
        return (uint64_t)(uintptr_t)op | RING_SILENT;
}

/*
 * One turn: submits what is queued, waits for at least one completion if @wait, and runs the
 * complete() of all completions that are there. Returns how many it ran, or a negative errno (fatal
 * to the ring). It may return 0 after waiting: interrupted, or woken by completions nobody waits
 * for. Never blocks when nothing is in flight.
 */
int ring_turn(struct ring *ring, bool wait);

/* Asks the kernel to cancel @op; its completion still comes (usually -ECANCELED). */
void ring_cancel(struct ring *ring, struct ring_op *op);

/*
 * Asks the kernel to cancel each op in flight that is not kept. It cannot find an op yet that is
 * linked to another and has not started: ask again when completions have come.
 */
void ring_cancel_all(struct ring *ring);
