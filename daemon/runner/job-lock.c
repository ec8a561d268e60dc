#include "daemon/runner/job-lock.h"

#include <assert.h>
#include <errno.h>

int job_lock_init(struct job_lock *lock)
{
        pthread_mutexattr_t attributes;
        int r;

        r = pthread_mutexattr_init(&attributes);
        if (r == 0)
                r = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        if (r == 0)
                r = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        if (r == 0)
                r = pthread_mutex_init(&lock->mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
        return -r;
}

void job_lock_acquire(struct job_lock *lock)
{
        int r = pthread_mutex_lock(&lock->mutex);

        /* The last owner died. The lock protects a counter, which is never half written. */
        if (r == EOWNERDEAD)
                r = pthread_mutex_consistent(&lock->mutex);
        assert(r == 0);
}

void job_lock_release(struct job_lock *lock)
{
        int r = pthread_mutex_unlock(&lock->mutex);

        assert(r == 0);
}
