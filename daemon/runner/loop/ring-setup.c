/*
 * Making a ring: the ladder of set-up flags, the abilities that every rung needs, and advice for
 * people where the machine forbids io_uring. ring.c has the ring at work.
 */

#include "daemon/runner/loop/ring.h"

#include <fcntl.h>

#include "daemon/runner/loop/fiber-sanitizer.h"

/*
 * Both of the upper rungs leave completion work until we enter the kernel anyway, instead of
 * interrupting the thread for it; TASKRUN_FLAG shows when there is some. SUBMIT_ALL: an entry the
 * kernel finds wrong fails alone, not with all queued behind it.
 */
static const struct {
        const char *name;
        unsigned flags;
} rungs[] = {
        { "single-issuer+defer-taskrun", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                                 IORING_SETUP_TASKRUN_FLAG |
                                                 IORING_SETUP_SUBMIT_ALL },
        { "coop-taskrun",
          IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL },
        { "plain", 0 },
};

/* The value of kernel.io_uring_disabled (6.6), 0 where there is none. */
static int io_uring_disabled(void)
{
        _cleanup_free_ char *text = NULL;

        if (read_file_at(AT_FDCWD, "/proc/sys/kernel/io_uring_disabled", &text, NULL) < 0)
                return 0;
        return atoi(text);
}

static const char *advice_on_eperm(void)
{
        switch (io_uring_disabled()) {
        case 2:
                return "io_uring is switched off on this machine (kernel.io_uring_disabled is 2); "
                       "`sysctl kernel.io_uring_disabled=0` allows it";
        case 1:
                return "io_uring is allowed to privileged processes only (kernel.io_uring_disabled "
                       "is 1); set kernel.io_uring_group to a group of the daemon's user, or "
                       "`sysctl kernel.io_uring_disabled=0`";
        default:
                return "a seccomp filter or security module forbids io_uring, as the default "
                       "profiles of containers do; allow io_uring_setup, io_uring_enter and "
                       "io_uring_register in it";
        }
}

static const char *advice_on(int error)
{
        switch (error) {
        case -EPERM:
        case -EACCES:
                return advice_on_eperm();
        case -ENOSYS:
                return "this kernel has no io_uring, or a sandbox or seccomp filter hides it; run "
                       "on Linux 5.17 or newer and allow io_uring_setup, io_uring_enter and "
                       "io_uring_register";
        case -ENOMEM:
                return "there is no memory for its queues, or too little may be locked: raise the "
                       "job's memory limit, or LimitMEMLOCK= of the service (ulimit -l)";
        case -EMFILE:
        case -ENFILE:
                return "too many files are open: raise LimitNOFILE= of the service (ulimit -n)";
        case -EINVAL:
        case -EOPNOTSUPP:
                return "this kernel's io_uring is too old: it needs Linux 5.17 or newer";
        default:
                return NULL;
        }
}

static int setup(struct io_uring *uring, unsigned entries, const char **ret_name)
{
        int r = -EINVAL;

        for (size_t i = 0; i < ARRAY_SIZE(rungs) && r == -EINVAL; ++i) {
                struct io_uring_params params = {
                        .flags = rungs[i].flags | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
                        .cq_entries = 4 * entries,
                };

                r = io_uring_queue_init_params(entries, uring, &params);
                if (r == 0)
                        *ret_name = rungs[i].name;
        }
        return r;
}

/* One round trip: a filter may allow the set-up and stop us at the first entry. */
static int probe(struct io_uring *uring)
{
        unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_CQE_SKIP | IORING_FEAT_LINKED_FILE;
        struct io_uring_cqe *cqe;
        int r;

        if ((uring->features & needed) != needed)
                return -EOPNOTSUPP;
        io_uring_prep_nop(io_uring_get_sqe(uring));
        do
                r = io_uring_submit_and_wait(uring, 1);
        while (r == -EINTR);
        if (r < 0)
                return r;
        r = io_uring_wait_cqe(uring, &cqe);
        if (r < 0)
                return r;
        r = cqe->res;
        io_uring_cqe_seen(uring, cqe);
        return r;
}

/*
 * liburing maps and unmaps by system calls of its own, which ThreadSanitizer does not see: without
 * these, a ring that is mapped where another thread's was looks to it like a race.
 */
#ifdef FIBER_TSAN
static char mappings;

static void tell_mapped(void)
{
        __tsan_acquire(&mappings);
}

static void tell_unmapped(void)
{
        __tsan_release(&mappings);
}
#else
static void tell_mapped(void)
{
}
static void tell_unmapped(void)
{
}
#endif

int ring_init(struct ring *ring, unsigned entries, struct fault *fault)
{
        int r;

        assert(entries > 0);
        *ring = (struct ring){ 0 };
        r = setup(&ring->uring, entries, &ring->setup);
        if (r == 0) {
                ring->initialized = true;
                tell_mapped();
                /*
                 * Saves a reference on the ring's file in each enter; everything works without it.
                 */
                (void)io_uring_register_ring_fd(&ring->uring);
                r = probe(&ring->uring);
        }
        if (r >= 0)
                return 0;
        ring_deinit(ring);
        return fault_errno(fault, r, advice_on(r), "set up io_uring");
}

void ring_deinit(struct ring *ring)
{
        if (!ring->initialized)
                return;
        tell_unmapped();
        io_uring_queue_exit(&ring->uring);
        free(ring->aside);
        *ring = (struct ring){ 0 };
}
