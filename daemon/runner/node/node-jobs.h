#pragma once

/*
 * The jobs whose chunks are in hand: the terms of each are asked for once, and from then on whether
 * it still exists.
 */

#include "daemon/runner/node/streams.h"
#include "daemon/runner/task.h"

struct node_jobs;

struct node_job {
        struct node_job *next;
        struct node_jobs *jobs;
        const struct stream *stream;
        char *name;
        struct task_terms terms;
        bool asked;      /* of Redis, whose answer is to come */
        bool known;      /* its terms are */
        bool gone;       /* nobody wants its chunks any more */
        unsigned n_refs; /* chunks in hand, and answers to come */
};

struct node_jobs {
        struct streams *streams;
        void (*dropped)(struct node_jobs *jobs, struct node_job *job); /* it is gone, from now on */
        struct node_job *first;
        uint64_t check_ns;       /* when to see again whether they are still there */
        uint64_t n_undescribed;  /* chunks of jobs that we do not know, since that was last said; */
        uint64_t undescribed_ns; /* and when it may be said again */
};

/* The job of that name, with one reference more. NULL when out of memory. */
struct node_job *node_job_get(struct node_jobs *jobs, const struct stream *stream, const char *name,
                              size_t n);
void node_job_unref(struct node_job *job);

/* Asks Redis for its terms, unless they are known or asked for. */
void node_job_ask(struct node_job *job);

/* Asks whether they still exist, if it is time. */
void node_jobs_check(struct node_jobs *jobs);
