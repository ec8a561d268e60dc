#pragma once

/*
 * How many tasks a chunk should have. About 100 ms of a worker's work, so that the cost of the
 * chunk itself (some 50 us) does not matter and little is lost with a node that dies; never much
 * more than chunks whose end was seen, since tasks differ; more only for so many workers that they
 * would wait for Redis, which is one thread; and towards the end a part of each worker's share of
 * the rest, down to a single task, if that takes longer than a chunk costs.
 */

#include "lib/util.h"

#ifndef SIZING_CHUNK_NS /* the simulation tries others (tests/scale/) */
#define SIZING_CHUNK_NS (100 * NSEC_PER_MSEC)
#endif
#define SIZING_LEAST_NS (200 * NSEC_PER_USEC) /* less is not worth a chunk */
#define SIZING_CHUNKS_PER_SECOND \
        8000 /* all in all: a third of what one Redis can (docs/scale.md) */

struct sizing {
        double task_ns;   /* of one worker's time, smoothed; 0: nothing is known yet */
        uint32_t largest; /* chunk whose end was seen */
};

static inline bool sizing_knows(const struct sizing *sizing)
{
        return sizing->task_ns > 0;
}

/* A chunk of @n tasks ended, which took @worker_ns of workers' time all in all. */
void sizing_note(struct sizing *sizing, uint32_t n, uint64_t worker_ns);

/* The next chunk's size: @left tasks to be sent, @workers who share them. At least 1. */
uint32_t sizing_next(const struct sizing *sizing, uint64_t left, uint64_t workers);
