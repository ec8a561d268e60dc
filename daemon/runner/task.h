#pragma once

/*
 * A task in progress: one input of the job, the io back end its worker waits with, and the failure
 * that a call has noted. It is on the worker's (or fiber's) stack for the time of one record.
 *
 * The ppp_*() calls of <pppctl/workload.h> are thin: they check for cancellation and call
 * task->worker->io.
 */

#include <poll.h>

#include <pppctl/workload.h>
#include "lib/util.h"

struct runner;
struct worker;
struct task_source;

/* How an input is run: by which workload, for how long, and how often. */
struct task_terms {
        const struct ppp_workload *workload;
        uint64_t timeout_ns; /* of each try, 0: none */
        uint32_t retries;
        uint64_t grace_ns; /* how long a try that has timed out may take to end */
};

/*
 * The calls of a task that wait. The blocking back end blocks the thread (io/blocking.c), the async
 * one suspends the fiber (io/async.c). All return 0 or a negative errno after task_fail(); deadline
 * is task->deadline_ns.
 */
struct io_ops {
        int (*fetch)(struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata);
        int (*read_file)(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata);
        int (*sleep)(struct ppp_task *task, uint64_t nanoseconds);

        /* Calls the function where the level computes. NULL: in place. */
        int (*compute)(struct ppp_task *task, ppp_function *function, void *argument, size_t size);

        /* Runs the job's command with this input (exec/exec.h). */
        int (*run_command)(struct ppp_task *task, const char *input, size_t n_input);

        /*
         * For what runs commands (exec/). As poll(2), of up to IO_POLL_MAX descriptors, until a
         * time of CLOCK_MONOTONIC. Returns 1 when one is ready, 0 when the time has come, or a
         * negative errno, which is not noted on the task: with @hears, -ECANCELED when the task is
         * cancelled. Without, it is cancelled already, and the call may block the loop.
         */
        int (*poll)(struct ppp_task *task, struct pollfd *fds, unsigned n, uint64_t until_ns,
                    bool hears);

        /* pwrite(2) to a file. A negative errno is not noted. */
        ssize_t (*write)(struct ppp_task *task, int fd, const void *data, size_t n,
                         uint64_t offset);

        /* Waits until the source may have tasks to claim, or will never have any again. */
        void (*wait_for_tasks)(struct worker *worker, struct task_source *source);
};

#define IO_POLL_MAX 4

struct ppp_task {
        struct worker *worker;
        uint64_t index;
        uint16_t slot;           /* what its record will be stamped with */
        uint64_t start_ns;       /* CLOCK_MONOTONIC */
        uint64_t deadline_ns;    /* CLOCK_MONOTONIC, 0: none */
        const uint32_t *dropped; /* not 0: nobody wants it any more; NULL: that cannot happen */
        enum ppp_reason reason;  /* of the last failure */
        int32_t detail;
        bool again; /* another try is worth it, whatever the reason and however many there were */
        unsigned n_memory_raised; /* how often it was given more memory (exec/) */
        uint64_t retry_after_ns;  /* the server asks for so long a wait; 0: it does not say */
        bool unlocked;            /* between ppp_unlock() and ppp_relock() */
};

static inline bool task_dropped(const uint32_t *dropped)
{
        return dropped && __atomic_load_n(dropped, __ATOMIC_ACQUIRE);
}

/*
 * Whether nobody wants the task's result any more: its runner is to end, or the task was dropped,
 * as a node does when its job is gone. Then it ends as PPP_REASON_CANCELLED, without a record.
 */
bool task_cancelled(const struct ppp_task *task);

/*
 * Same as ppp_fail(): notes reason and detail, in place of those of an earlier failure, and returns
 * a negative errno that fits them (never 0).
 */
int task_fail(struct ppp_task *task, enum ppp_reason reason, int32_t detail);

/* Runs the job's command with this input, as the calls of <pppctl/workload.h> do their work. */
int task_run_command(struct ppp_task *task, const char *input, size_t n_input);

/* Nanoseconds left until the deadline: UINT64_MAX without one, 0 when it has passed. */
static inline uint64_t task_time_left(const struct ppp_task *task, uint64_t now)
{
        if (task->deadline_ns == 0)
                return UINT64_MAX;
        return now >= task->deadline_ns ? 0 : task->deadline_ns - now;
}
