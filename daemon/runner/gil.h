#pragma once

/*
 * One lock for all threads, as CPython's global interpreter lock: a thread that waits for it longer
 * than 5 ms asks for it, and the holder gives it up at its next checkpoint and lets another thread
 * have it before it takes it again. Model: "new GIL", Python/ceval_gil.c's description.
 */

#include <pthread.h>

#include "lib/util.h"

#define GIL_INTERVAL_NS (5 * NSEC_PER_MSEC)

struct gil {
        pthread_mutex_t mutex;
        pthread_cond_t released; /* the lock is free */
        pthread_cond_t switched; /* another thread has taken it */
        bool locked;
        bool drop_request; /* read without the mutex */
        uint64_t n_taken;  /* tells a switch from a spurious wake-up */
};

int gil_init(struct gil *gil);
void gil_deinit(struct gil *gil);
void gil_acquire(struct gil *gil);
void gil_release(struct gil *gil);

/* Whether the holder should gil_yield(). */
static inline bool gil_wanted(const struct gil *gil)
{
        return __atomic_load_n(&gil->drop_request, __ATOMIC_RELAXED);
}

/* Hands the lock to a thread that waits for it, and takes it back after. */
void gil_yield(struct gil *gil);
