#pragma once

/*
 * What the level machines needs of this machine. Either a Redis is configured: then jobs are told
 * of it, and where "serve = yes" a node of ours serves it. Or none is: then the first such job
 * starts a private one with two nodes (demo, compare, tests), which leave when no job has needed
 * them for a while.
 *
 * The supervisor never speaks to a Redis, since it must not wait for one: that is what runners do.
 */

#include <jansson.h>

#include "daemon/supervisor/base/config.h"
#include "daemon/supervisor/helpers/node.h"
#include "daemon/supervisor/helpers/nodes-query.h"
#include "daemon/supervisor/helpers/redis-server.h"

#define ENGINE_LOCAL_NODES 2

/* What it is given; all borrowed. */
struct engine_env {
        sd_event *event;
        struct groups *groups;
        struct demo_server *demo;
        const struct host *host;
        const char *state;                    /* the state directory */
        const char *runner;                   /* the program */
        char **environment;                   /* the runner's */
        const struct machines_config *config; /* may change; then engine_apply() */
};

/* What the private Redis and its nodes had used when a job began. */
struct engine_usage {
        uint64_t user_usec, system_usec;
        uint64_t started_ns[1 + ENGINE_LOCAL_NODES]; /* one that is started anew counts anew */
        uint64_t n_acquired;
        bool alone; /* no other job used them */
        bool known;
};

struct engine {
        struct engine_env env;
        struct redis_server redis;
        struct node served;
        struct node local[ENGINE_LOCAL_NODES];
        unsigned n_private;  /* jobs that use the private Redis */
        uint64_t n_acquired; /* that ever did */
        bool serves;         /* @served has a user: us */
        char *applied;       /* what it was started with, to see what changes; NULL: unknown */
        char *applied_local; /* the same of the private nodes */
        struct nodes_query query;
        void (*stopped)(struct engine *engine); /* the node that served is down */
};

#define ENGINE_NULL                                                          \
        {                                                                    \
                .redis = REDIS_SERVER_NULL, .served = NODE_NULL,             \
                .local = { NODE_NULL, NODE_NULL }, .query = NODES_QUERY_NULL \
        }

/* Takes over what a former supervisor left, and serves if it is to. */
int engine_init(struct engine *engine, const struct engine_env *env,
                void (*stopped)(struct engine *engine));
void engine_deinit(struct engine *engine);
/* Before that: what runs is left for the next supervisor; see helper_leave(). */
void engine_leave(struct engine *engine);

/*
 * The configuration has changed: serves, serves no more, or serves anew; so do private nodes that
 * run.
 */
void engine_apply(struct engine *engine);

/* The supervisor stops: the node gives back what it has. */
void engine_drain(struct engine *engine);
void engine_kill(struct engine *engine);
bool engine_is_drained(const struct engine *engine);

/* Whether a job may run at the level machines. False: @fault tells. */
bool engine_is_available(const struct engine *engine, struct fault *fault);

/*
 * For a job: sees that there is a Redis with nodes. 1 when it is the private one, to be given back
 * by engine_release(); 0 when it is the configured one.
 */
int engine_acquire(struct engine *engine, struct fault *fault);
/* For a job that a former supervisor started. */
int engine_acquire_again(struct engine *engine, struct fault *fault);
void engine_release(struct engine *engine);

/*
 * CPU time of the private Redis and its nodes: when a job has just acquired them, and what it was
 * for that job when it ends. False: it can't be told from that of others; *ret_why is static.
 */
void engine_usage_begin(const struct engine *engine, struct engine_usage *ret);
bool engine_usage_end(const struct engine *engine, const struct engine_usage *began,
                      uint64_t *ret_user_usec, uint64_t *ret_system_usec, const char **ret_why);

/*
 * The object "machines" of a runner's or node's spec; @name: of the node, NULL: as configured.
 * Holds the password. NULL when out of memory.
 */
json_t *engine_describe(const struct engine *engine, bool private, const char *name);

/* Where the Redis is, for people, without the password; NULL: there is none now. Owned by the
 * caller. */
char *engine_address(const struct engine *engine);

/* Whether the private one is up, or would be used. */
bool engine_has_private(const struct engine *engine);
