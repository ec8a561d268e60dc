#pragma once

/*
 * The one lock that all tasks of a job share (ppp_lock_acquire()), also those in several processes:
 * it is in memory that they share. If a process dies while it holds the lock, the next one gets it.
 */

#include <pthread.h>

struct job_lock {
        pthread_mutex_t mutex;
};

/* Returns 0 or a negative errno. There is nothing to free. */
int job_lock_init(struct job_lock *lock);

void job_lock_acquire(struct job_lock *lock);
void job_lock_release(struct job_lock *lock);
