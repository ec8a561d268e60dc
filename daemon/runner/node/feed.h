#pragma once

/*
 * The feed is memory that a node's two processes share. The one that talks to Redis, called the
 * node here, puts chunks in; the level's workers in the other take tasks out and leave records. To
 * a worker, a node is a job whose inputs keep coming: the feed is a source of tasks (source.h)
 * whose claims wait.
 *
 * All of it lies in one shared mapping that both processes, and the level's worker processes, have
 * at the same address. A chunk is claimed piece by piece, by compare-and-swap on (generation,
 * next), so that a late claim of a chunk that was replaced in its place fails. The worker that
 * records the last task of a chunk puts it on the stack of those that are done, and wakes the node
 * if it sleeps.
 *
 * The node allocates the memory of chunks (powers of two from a reserved range); large pieces go
 * back to the kernel when a chunk ends.
 */

#include "daemon/runner/runner.h"

#define FEED_CHUNKS    4096 /* in hand at most; a power of two */
#define FEED_LOOPS     SPEC_LOOPS_MAX
#define FEED_CLASSES   24
#define FEED_CLASS_MIN 9 /* the smallest piece of memory is 512 bytes */
#define FEED_NONE      UINT32_MAX
#define FEED_CLOSED    UINT32_MAX /* in the lower half of a claim */

struct feed_chunk {
        /* Generation << 32 | the next task nobody has claimed; FEED_CLOSED: there is nothing to
         * claim. */
        uint64_t claim;
        uint32_t n;
        uint32_t n_left;      /* without record, and not given up */
        uint32_t done_next;   /* on the stack */
        uint32_t dropped;     /* its job is gone: nobody wants its records */
        uint32_t withdrawing; /* what is taken back may still count as left */
        uint32_t in_use;
        const uint32_t *offsets; /* where each input starts */
        const char *text;
        struct task_set tasks; /* times of records are absolute; start_ns is set when one begins */
        uint64_t taken_ns;
        unsigned class; /* of its memory */
} __attribute__((aligned(128)));

struct feed {
        struct task_source source;

        /* Chunks to claim from, first in first out: generation << 32 | number. */
        uint64_t head __attribute__((aligned(128)));
        uint64_t tail __attribute__((aligned(128)));
        uint64_t queue[FEED_CHUNKS];
        uint32_t wake; /* futex of workers that wait for a chunk */
        uint32_t n_waiting;
        uint32_t loop_waits[FEED_LOOPS]; /* loops that want to be woken by their eventfd */
        int loop_fds[FEED_LOOPS];
        unsigned n_loops;

        uint32_t done __attribute__((aligned(128))); /* stack of chunks that ended; FEED_NONE */
        uint32_t node_sleeps;
        int ended_fd; /* eventfd */
        struct feed_chunk chunks[FEED_CHUNKS];

        /* The node's own. */
        uint32_t free_chunks[FEED_CHUNKS];
        unsigned n_free;
        char *arena;
        size_t arena_size, arena_used;
        void *free_memory[FEED_CLASSES];
        struct ppp_results_header header; /* counters of all tasks ever, for worker_flush() */
};

/* Maps it; to be called before any process is forked that is to have it. Loops get @n_loops
 * eventfds. */
int feed_new(unsigned n_loops, struct feed **ret);
void feed_free(struct feed *feed);

/* The node's side. */

/*
 * Puts in a chunk of @n inputs, lines in @text (checked, @size bytes, copied). Returns its number,
 * or -ENOBUFS when there is no room for it now.
 */
int feed_push(struct feed *feed, const char *text, size_t size, uint32_t n,
              const struct task_terms *terms);

/* The next chunk that ended, or FEED_NONE. Its records are valid until feed_release(). */
uint32_t feed_next_done(struct feed *feed);
void feed_release(struct feed *feed, uint32_t number);

/*
 * Takes back the tasks of a chunk that no worker has claimed; these stay without record. Returns
 * whether the chunk has ended by that; otherwise feed_next_done() will return it later.
 */
bool feed_withdraw(struct feed *feed, uint32_t number);

/*
 * Says that nobody wants the records of a chunk any more, and withdraws it. Returns the same as
 * feed_withdraw(). Workers that compute see it at their next checkpoint; those that wait hear of it
 * by feed_tell_dropped(), which is for all chunks of a job at once.
 */
bool feed_drop(struct feed *feed, uint32_t number);
void feed_tell_dropped(struct feed *feed);

/* Workers end when they have nothing in hand. */
void feed_close(struct feed *feed);

/*
 * To be called before the node sleeps: true if it may, since the worker that ends a chunk will
 * write to ended_fd.
 */
bool feed_may_sleep(struct feed *feed);
void feed_awake(struct feed *feed);

/*
 * To be called after the level's process has died: repairs operations that it left half done.
 * Chunks in hand stay as they are.
 */
void feed_restart(struct feed *feed);

static inline uint32_t feed_unclaimed(const struct feed *feed, uint32_t number)
{
        const struct feed_chunk *chunk = &feed->chunks[number];

        return chunk->n - MIN((uint32_t)__atomic_load_n(&chunk->claim, __ATOMIC_RELAXED), chunk->n);
}

/* The workers' side. */

/* Gives up @n tasks of the chunk; they stay without record. */
void feed_give_up(struct feed *feed, struct feed_chunk *chunk, uint32_t n);

/* The source of the runner of a node. */
static inline struct feed *feed_of(const struct runner *runner)
{
        return container_of(runner->source, struct feed, source);
}

/*
 * The chunk that the worker's piece belongs to, or NULL if it has ended and another chunk has its
 * place. As long as the worker has a task of it, in progress or to be run, it does not end.
 */
static inline struct feed_chunk *feed_chunk_of(const struct worker *worker)
{
        struct feed_chunk *chunk =
                &feed_of(worker->runner)->chunks[(uint32_t)worker->piece_of % FEED_CHUNKS];
        uint64_t claim = __atomic_load_n(&chunk->claim, __ATOMIC_ACQUIRE);

        return claim >> 32 == worker->piece_of >> 32 ? chunk : NULL;
}

/*
 * For a level whose workers can die one by one: finds the tasks that were lost with a worker, for
 * example between a claim and its note of it, so that they count as left although no worker has
 * them; and gives them up. Call feed_look_begin() first, then feed_look_hold() for the tasks of
 * each worker, seen at a moment when the worker was not between two notes, then feed_look_end().
 * Other workers may claim and end tasks meanwhile: then only a part of the lost tasks is found, and
 * the rest by a later look.
 */
struct feed_look {
        uint64_t claims[FEED_CHUNKS]; /* FEED_CLOSED: nothing to be looked for */
        uint32_t held[FEED_CHUNKS];
};

void feed_look_begin(const struct feed *feed, struct feed_look *look);
void feed_look_hold(struct feed_look *look, uint64_t piece_of, uint64_t n);

/*
 * Returns whether chunks that were pushed until @since_ns have not ended yet: then another look is
 * needed.
 */
bool feed_look_end(struct feed *feed, const struct feed_look *look, uint64_t since_ns);

static inline bool feed_empty(const struct feed *feed)
{
        return __atomic_load_n(&feed->head, __ATOMIC_SEQ_CST) ==
               __atomic_load_n(&feed->tail, __ATOMIC_SEQ_CST);
}
