#pragma once

/*
 * A source of tasks: the inputs of a job, of which all are there from the beginning (cursor.h), or
 * the chunks that a node is fed with as long as it serves (node/feed.h). Workers and levels take
 * tasks from it and never ask which of the two it is.
 *
 * A worker claims a piece, some tasks of one set in a row, and runs one after the other. A source
 * has all of the calls below but those that say what NULL means.
 */

#include <pppctl/results.h>

#include "daemon/runner/task.h"

struct taken;
struct task_source;

/* Tasks that are run on the same terms: those of a job, or of one chunk. */
struct task_set {
        struct task_terms terms;
        struct ppp_record *records; /* by index */
        const char *text_end;       /* of the inputs, each of which is a line */
        const uint32_t *dropped; /* not 0: nobody wants them any more. NULL: that cannot happen */
};

/*
 * Tells how many tasks worker @i has in hand, including the one in progress, and of which piece.
 * False: that cannot be told at this moment.
 */
typedef bool task_source_see(void *userdata, unsigned i, uint64_t *ret_piece_of, uint64_t *ret_n);

struct task_source_ops {
        /*
         * Claims a piece for a worker that has none, by worker_hold(). False: there is none now. If
         * the worker has a wake descriptor, it is written when there may be one.
         */
        bool (*claim)(struct task_source *source, struct worker *worker);

        /*
         * Blocks the thread until there may be a piece, or there will be none. NULL: claims never
         * wait.
         */
        void (*wait)(struct task_source *source);

        /* Whether nothing is left for the worker: nothing that it has, and nothing to be claimed
         * later. */
        bool (*closed)(const struct task_source *source, const struct worker *worker);

        /* The beginning of the input of task worker->next. */
        const char *(*input)(struct task_source *source, const struct worker *worker);

        /* The task begins at *clock, which may be corrected. NULL: there is nothing to note. */
        void (*begin)(struct task_source *source, const struct taken *taken, uint64_t *clock);

        /* A task of @set has its record, or will not get one. NULL: there is nothing to note. */
        void (*finish)(struct task_source *source, struct task_set *set);

        /*
         * Tasks that the worker has claimed and not begun go back, if other workers can claim them
         * then.
         */
        void (*give_back)(struct task_source *source, struct worker *worker);

        /*
         * Called on behalf of a worker that died at worker->current: the task gets @record unless
         * it has one. Returns whether it got it.
         */
        bool (*died)(struct task_source *source, const struct worker *worker,
                     const struct ppp_record *record);

        /*
         * After deaths: tasks that have no record and that no worker has are offered again. While
         * workers run, find_lost() does that; it may overlook some, and returns whether chunks that
         * existed at @since_ns are still to be looked through. When none runs, offer_lost() does
         * it, and returns whether there was such a task.
         */
        bool (*find_lost)(struct task_source *source, unsigned n_workers, task_source_see *see,
                          void *userdata, uint64_t since_ns);
        bool (*offer_lost)(struct task_source *source);

        /* The eventfd by which loop @number hears of new pieces and of dropped tasks. -EBADF:
         * neither comes. */
        int (*wake_fd)(const struct task_source *source, unsigned number);
};

struct task_source {
        const struct task_source_ops *ops;
        uint32_t leaving; /* workers end, and give back what they have not begun */
        uint32_t n_drops; /* how often tasks were dropped */
        int drop_fd;      /* eventfd, written each time and never read: interrupt.h; or -EBADF */
        uint64_t look_ns; /* a task may be late so soon; UINT64_MAX: none has a time limit */
};

static inline bool task_source_leaves(const struct task_source *source)
{
        return __atomic_load_n(&source->leaving, __ATOMIC_ACQUIRE);
}

static inline uint32_t task_source_n_drops(const struct task_source *source)
{
        return __atomic_load_n(&source->n_drops, __ATOMIC_SEQ_CST);
}
