#pragma once

/* The names of keys in Redis (docs/machines.md). Each is allocated; NULL when out of memory. */

#include "lib/machines.h"
#include "lib/spec.h"

#define MACHINES_GROUP       "nodes"            /* the consumer group of each stream of chunks */
#define MACHINES_KEY_SECONDS "86400"            /* after which keys that nobody refreshes are gone, */
#define MACHINES_KEY_MS      INT64_C(86400000)  /* the same */
#define MACHINES_JOB_SECONDS "3600"             /* and those of a job */

char *key_chunks(const struct machines *machines, enum workload_id workload);
char *key_job(const struct machines *machines, const char *job);
char *key_results(const struct machines *machines, const char *job);
char *key_nodes(const struct machines *machines);
char *key_node(const struct machines *machines, const char *name);
char *key_look(const struct machines *machines, enum workload_id workload);
