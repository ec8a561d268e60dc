#pragma once

/*
 * Trays: the calls that a loop hands to its workers, and their answers, in memory that they share.
 * A worker may be a process that is killed between any two instructions, so nothing here is locked:
 * each step of a tray is one compare-and-swap of its state, and whoever comes next sees the tray
 * before or after it.
 *
 *   FREE -> QUEUED    the loop has put a call in and queued the tray
 *   QUEUED -> RUNNING    a worker has taken it
 *   RUNNING -> ANSWERED    the worker has returned from the call, or has died in it
 *   QUEUED -> DROPPED    nobody waits for the call any more: a worker passes the tray on
 *   RUNNING -> SEALED    nobody waits for the call any more: its worker is to be killed
 *   DROPPED, SEALED -> ANSWERED    the tray is the loop's again
 *   ANSWERED -> FREE    the loop has taken it back
 *
 * The queue is a ring of trays, in which only the loop adds. A worker takes a tray first and moves
 * the head of the queue then; if it is killed in between, the next worker finds a tray at the head
 * that is not queued there any more, and moves the head itself. The state of a queued tray has its
 * position in the queue, so that a worker that was slow cannot take it at an earlier one.
 */

#include <stddef.h>

#include <pppctl/workload.h>

#include "daemon/runner/task.h"

#define TRAY_SMALL 256 /* bytes of an argument that have room in the tray itself */

struct tray {
        ppp_function *function;
        void *argument;
        struct ppp_task task; /* a copy, with a worker of its own */
        int result;
        bool returned; /* the function has; else its worker has died */
        _Alignas(max_align_t) unsigned char small[TRAY_SMALL]; /* aligned as from malloc(3) */
} __attribute__((aligned(64)));

struct trays {
        unsigned n; /* a power of two */
        struct tray *trays;
        uint64_t *states; /* by tray */
        uint32_t *queue;  /* trays, by position modulo n */

        /* Where arguments are that are not small: n times @stride bytes; NULL where none is copied.
         */
        unsigned char *room;
        size_t stride;
        size_t size; /* of the mapping of all but the room */

        __attribute__((aligned(128))) uint32_t tail; /* the position of the next that is queued */
        uint32_t work; /* futex: counts what may have made work for an idle worker */
        bool stopping;

        __attribute__((aligned(128))) uint32_t head; /* the position of the next to be taken */
        int32_t n_idle;  /* workers that wait, or more: some may have been killed waiting */
        int32_t n_woken; /* of those, that were woken and have not run yet, or fewer */

        __attribute__((aligned(128))) uint32_t told; /* since the loop looked at the answers */
        int broken; /* negative errno: there are no workers, and there will be none */
};

/*
 * At least @n trays. With @copies, each has room for a copy of its argument: address space, which
 * costs memory as it is used. There is less of it where so much cannot be had.
 */
int trays_map(unsigned n, bool copies, struct trays **ret);
void trays_unmap(struct trays *trays);

/* Of the loop. Queues a tray that is free and was filled. */
void trays_queue(struct trays *trays, unsigned i);

/* Wakes up to @n idle workers that are not woken already. */
void trays_wake(struct trays *trays, int n);

/*
 * The loop does not want the answer any more. False: a worker has the call already; with @running,
 * only if it has answered.
 */
bool trays_withdraw(struct trays *trays, unsigned i, bool running);

/* Before the loop looks at answers; those that come from now on it will be told of. */
void trays_look(struct trays *trays);

/* Whether the tray was answered; then it is free. */
bool trays_take_back(struct trays *trays, unsigned i);

/* After that: what a large argument took is the system's again. */
void trays_empty(struct trays *trays, unsigned i, size_t size);

/*
 * Of a worker. The next tray, or -1 when the workers are to stop. @tell() is called where the loop
 * is to be told of an answer.
 */
int trays_take(struct trays *trays, unsigned worker, void (*tell)(void *userdata), void *userdata);

/*
 * False: the call was sealed, and the worker will be killed. Otherwise *@ret_tell says whether the
 * loop has to be told.
 */
bool trays_answer(struct trays *trays, unsigned i, unsigned worker, bool *ret_tell);

/* Makes all workers return -1 from trays_take(). */
void trays_stop(struct trays *trays);

/* Of those who watch over workers. Whether the worker is in a call that was sealed. */
bool trays_has_sealed(const struct trays *trays, unsigned worker);

/*
 * For a worker that has died: its call, if it had one, fails for this reason. The loop is to be
 * told in any case. Returns whether there was one that somebody waits for.
 */
bool trays_bury(struct trays *trays, unsigned worker, enum ppp_reason reason, int32_t detail);
