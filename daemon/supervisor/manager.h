#pragma once

/*
 * The manager is the supervisor as a whole: one object that holds all the others, and connects
 * them.
 *
 *     manager
 *       state, config, store     data that survives a restart
 *       trash                    files that are being removed
 *       groups, demo, engine,    cgroups and processes
 *       jobs
 *       listener, peers          clients
 *       service                  signals, messages to systemd, the watchdog
 */

#include "daemon/supervisor/api/listener.h"
#include "daemon/supervisor/api/peer.h"
#include "daemon/supervisor/base/config.h"
#include "daemon/supervisor/base/options.h"
#include "daemon/supervisor/base/service.h"
#include "daemon/supervisor/child/groups.h"
#include "daemon/supervisor/helpers/demo.h"
#include "daemon/supervisor/helpers/engine.h"
#include "daemon/supervisor/jobs/jobs.h"
#include "daemon/supervisor/kept/checkpoint.h"
#include "daemon/supervisor/kept/state.h"
#include "daemon/supervisor/kept/store.h"
#include "daemon/supervisor/kept/trash.h"

struct manager {
        const struct options *options;
        sd_event *event;
        struct state state;
        struct trash trash;
        struct config config;
        struct store *store;
        char *store_path;
        struct checkpoint checkpoint;
        struct quota quota;
        struct groups groups;
        struct host host;
        char **environment; /* of all children; owned */
        struct demo_server demo;
        struct engine engine;
        struct jobs jobs;
        struct listener listener;
        struct turns turns;
        struct doctor_query doctor;
        struct peer_owner peer_owner;
        struct list peers;
        uint64_t peers_max;
        struct service service;
        sd_event_source *drain_source;
        bool draining; /* the daemon stops as soon as no job runs any more */
};

enum {
        _MANAGER_E_SUCCESS,
        MANAGER_E_CONFIG, /* the configuration is wrong, so another start would fail, too */
};

/* Only checks the configuration. Errors have been logged when it returns. */
int manager_check_config(const struct options *options);

/*
 * Takes over the jobs of an earlier supervisor, and begins to listen. Errors have been logged when
 * it returns; manager_deinit() must be called then, too.
 */
int manager_init(struct manager *manager, sd_event *event, const struct options *options);
void manager_deinit(struct manager *manager);
