#pragma once

/*
 * A node: pppd-runner --node, which takes chunks of jobs from a Redis and runs them here. A helper
 * whose cgroup is laid out, limited and named as a job's: "node" for the one that serves other
 * machines, "node-1" and "node-2" for those that go with the private Redis.
 */

#include "daemon/supervisor/helpers/demo.h"
#include "daemon/supervisor/helpers/helper.h"

struct engine;

struct node {
        struct helper helper;
        struct engine *engine;
        const char *name; /* of one that goes with the private Redis; NULL: as configured */
        bool holds_demo, holds_redis; /* what it uses itself, while it runs or is about to */
};

#define NODE_NULL                     \
        {                             \
                .helper = HELPER_NULL \
        }

/* Finds one that a former supervisor left; 1 when there is one. */
int node_init(struct node *node, struct engine *engine, const char *group, const char *name);
void node_deinit(struct node *node);
