#pragma once

/* The names of keys in Redis (docs/machines.md). Each is allocated; NULL when out of memory. */

#include "lib/machines.h"
#include "lib/spec.h"

/*
 * Owners who have jobs are announced again and again on the stream of owners; one who was not
 * announced for a while has no job any more.
 */
#define MACHINES_ANNOUNCE_NS   (1 * NSEC_PER_SEC)
#define MACHINES_WANTED_NS     (10 * NSEC_PER_SEC)
#define MACHINES_OWNERS_LENGTH "1000" /* entries of that stream, about */

#define MACHINES_VERSION     "2"     /* of all that is in Redis: v of job:<id> */
#define MACHINES_GROUP       "nodes" /* the consumer group of each stream of chunks */
#define MACHINES_KEY_SECONDS "86400" /* after which keys that nobody refreshes are gone, */
#define MACHINES_KEY_MS      INT64_C(86400000) /* the same */
#define MACHINES_JOB_SECONDS "3600"            /* and those of a job */

/* The key of the chunks that belong to machines->owner. */
char *key_chunks(const struct machines *machines, enum workload_id workload);
char *key_job(const struct machines *machines, const char *job);
char *key_results(const struct machines *machines, const char *job);
char *key_nodes(const struct machines *machines);
char *key_node(const struct machines *machines, const char *name);
char *key_owners(const struct machines *machines);
char *key_look(const struct machines *machines, enum workload_id workload);
