#include "daemon/runner/gil.h"

int gil_init(struct gil *gil)
{
        pthread_condattr_t attr;
        int r;

        *gil = (struct gil){ .mutex = PTHREAD_MUTEX_INITIALIZER };
        r = pthread_condattr_init(&attr);
        if (r > 0)
                return -r;
        r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (r == 0)
                r = pthread_cond_init(&gil->released, &attr);
        if (r == 0)
                r = pthread_cond_init(&gil->switched, &attr);
        pthread_condattr_destroy(&attr);
        return -r;
}

void gil_deinit(struct gil *gil)
{
        assert(!gil->locked);
        pthread_cond_destroy(&gil->switched);
        pthread_cond_destroy(&gil->released);
        pthread_mutex_destroy(&gil->mutex);
}

static struct timespec interval_from_now(void)
{
        uint64_t t = now_monotonic() + GIL_INTERVAL_NS;

        return (struct timespec){ (time_t)(t / NSEC_PER_SEC), (long)(t % NSEC_PER_SEC) };
}

static void acquire_locked(struct gil *gil)
{
        while (gil->locked) {
                struct timespec until = interval_from_now();
                uint64_t seen = gil->n_taken;
                int r = pthread_cond_timedwait(&gil->released, &gil->mutex, &until);

                /* Ask only if the same thread kept it for the whole interval. */
                if (r == ETIMEDOUT && gil->locked && gil->n_taken == seen)
                        __atomic_store_n(&gil->drop_request, true, __ATOMIC_RELAXED);
        }
        gil->locked = true;
        ++gil->n_taken;
        __atomic_store_n(&gil->drop_request, false, __ATOMIC_RELAXED);
        pthread_cond_broadcast(&gil->switched);
}

static void release_locked(struct gil *gil)
{
        assert(gil->locked);
        gil->locked = false;
        pthread_cond_signal(&gil->released);
}

void gil_acquire(struct gil *gil)
{
        pthread_mutex_lock(&gil->mutex);
        acquire_locked(gil);
        pthread_mutex_unlock(&gil->mutex);
}

void gil_release(struct gil *gil)
{
        pthread_mutex_lock(&gil->mutex);
        release_locked(gil);
        pthread_mutex_unlock(&gil->mutex);
}

void gil_yield(struct gil *gil)
{
        uint64_t seen;

        pthread_mutex_lock(&gil->mutex);
        seen = gil->n_taken;
        release_locked(gil);
        /* The thread that asked still waits: it takes the lock, or resets the request if it was
         * served. */
        while (gil->n_taken == seen && gil_wanted(gil))
                pthread_cond_wait(&gil->switched, &gil->mutex);
        acquire_locked(gil);
        pthread_mutex_unlock(&gil->mutex);
}
