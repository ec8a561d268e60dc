#pragma once

/*
 * The workload contract: what is done to one input, written once, run unchanged at every level.
 *
 * A workload is one plain function. Whatever waits goes through the calls below, and the level
 * decides what waiting means: serial, threads and processes block the worker's thread; async
 * submits to an io_uring and suspends the fiber the task runs on until the completion arrives.
 *
 * Rules for a workload's function:
 *  - It keeps its state on its stack or in memory it allocates. At the threads level it runs in
 *    many threads at once; at async many invocations interleave on one thread, at the calls below
 *    only.
 *  - At async its stack is small (PPP_STACK_SIZE with a guard page below): put large buffers on the
 *    heap.
 *  - It returns 0 and sets *ret_value, or returns the negative value a call gave it. A call that
 *    fails has already noted reason and detail on the task; ppp_fail() notes them for errors the
 *    workload finds itself.
 *  - A long computation calls ppp_checkpoint() at least every few milliseconds, so that
 *    cancellation, --task-timeout and --gil mean something. Past its time limit one that does not
 *    is killed with its worker at processes, and in a process of an executor, two seconds later; at
 *    serial, threads and else at async nothing can end it, and it has timed out when it returns.
 *
 * All durations are nanoseconds. Functions return 0 or a negative errno unless said otherwise.
 */

#include <stddef.h>
#include <stdint.h>

#include <pppctl/results.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PPP_WORKLOAD_ABI 1
#define PPP_STACK_SIZE   (64 * 1024)

struct ppp_task;

/* A piece of a stream. @data is valid only during the call of the sink. */
struct ppp_chunk {
        const void *data;
        size_t size;
        const char *charset; /* declared for this stream, NULL when none was */
};

/*
 * Receives a stream piece by piece, in order, before the call that was given it returns. At async
 * it may run on the loop's stack or on the task's small one: it may compute, it must not call the
 * waiting calls below. Returns 0 to go on; a negative errno stops the stream, and the call that was
 * given the sink returns it.
 */
typedef int ppp_sink(void *userdata, const struct ppp_chunk *chunk);

/*
 * ppp_fetch() - get @url (http, https) and hand its decoded body to @sink.
 * Follows at most 10 redirects, verifies certificates, asks for and undoes gzip, reuses
 * connections, takes HTTP/2 where the server offers it (libcurl). A status of 400 or more is a
 * failure (PPP_REASON_HTTP_STATUS) and its body is not handed on.
 */
int ppp_fetch(struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata);

/* ppp_read_file() - read the file at @path up to its end and hand it to @sink. */
int ppp_read_file(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata);

/*
 * ppp_demo_url() - where pages of the demo server begin ("http://…"), NULL where none runs for this
 * job.
 */
const char *ppp_demo_url(const struct ppp_task *task);

/* ppp_sleep() - wait. Zero returns at once. */
int ppp_sleep(struct ppp_task *task, uint64_t nanoseconds);

/*
 * ppp_checkpoint() - the place where a long computation may be stopped. Under --gil it hands the
 * lock over when its 5 ms are up and somebody waits. It does not yield at async: a task that
 * computes keeps the loop, that is what the level teaches. Cheap enough for every 50 us of work.
 * Returns 0, -ECANCELED or -ETIME (both noted on the task: return it).
 */
int ppp_checkpoint(struct ppp_task *task);

/*
 * ppp_compute() - call @function with @task and @argument, where the level computes: in a pool of
 * threads or processes beside the loop at async with --executor, in place everywhere else.
 * @function may use ppp_checkpoint(), ppp_fail() and the job's lock, and must not call what waits.
 * @size is the number of bytes at @argument, all that @function reads and writes: they are copied
 * to a process and back, so there must be no pointers among them. Returns what @function returned,
 * or -ECANCELED or -ETIME, or another negative errno where the process died (all noted on the task:
 * return it).
 */
typedef int ppp_function(struct ppp_task *task, void *argument);
int ppp_compute(struct ppp_task *task, ppp_function *function, void *argument, size_t size);

/*
 * ppp_computes_apart() - not 0 if ppp_compute() goes to a pool. For a workload that would have to
 * copy what it hands over, and can do without in place.
 */
int ppp_computes_apart(const struct ppp_task *task);

/*
 * ppp_lock_acquire(), ppp_lock_release() - the job's one lock. All tasks of the job on this machine
 * share it, whatever their workers are. Who waits for it blocks the worker's thread, at async the
 * loop. Do not nest, and do not call what waits while holding it. Acquiring returns 0, -ECANCELED
 * or -ETIME (both noted on the task: return it).
 */
int ppp_lock_acquire(struct ppp_task *task);
void ppp_lock_release(struct ppp_task *task);

/*
 * ppp_unlock(), ppp_relock() - under --gil, let other threads run while this one computes on data
 * of its own, as numpy does around its loops. No-ops without --gil. Do not nest.
 */
void ppp_unlock(struct ppp_task *task);
void ppp_relock(struct ppp_task *task);

/* ppp_fail() - note why the task fails. Returns a negative errno: return ppp_fail(...); */
int ppp_fail(struct ppp_task *task, enum ppp_reason reason, int32_t detail);

/*
 * One workload.
 * @run gets the input NUL-terminated, without its newline; @n_input is its length in bytes.
 */
struct ppp_workload {
        uint32_t abi;     /* PPP_WORKLOAD_ABI */
        const char *name; /* [a-z][a-z0-9-]* */
        const char *unit; /* of its values, for people ("words"), NULL for none */
        int (*run)(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value);
};

#ifdef __cplusplus
}
#endif
