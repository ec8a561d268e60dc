#pragma once

/*
 * The one lock that all tasks of a job share (ppp_lock_acquire()), also those in several processes:
 * it is in memory that they share. If a process dies while it holds the lock, its parent releases
 * it. A robust mutex would not do: worker processes are born by clone3(2), after which the C
 * library neither registers the list of such mutexes nor knows the thread's id (lib/cgroup-fork.c).
 */

#include <stdint.h>
#include <sys/types.h>

struct job_lock {
        uint32_t owner; /* futex: a thread's id, and JOB_LOCK_WAITERS; 0: it is free */
};

#define JOB_LOCK_WAITERS (UINT32_C(1) << 31) /* somebody may wait for it */

void job_lock_acquire(struct job_lock *lock);
void job_lock_release(struct job_lock *lock);

/* The process, which had one thread, is dead. */
void job_lock_bury(struct job_lock *lock, pid_t pid);
