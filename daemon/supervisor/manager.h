#pragma once

/*
 * The supervisor: one object that holds all the others, and what happens between them.
 *
 *     manager
 *       state, config, store     what is kept
 *       trash                    and what is not
 *       groups, demo, engine,    what runs
 *       jobs
 *       listener, peers          who asks
 *       service                  signals, systemd's notify and watchdog
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
        char **environment; /* of children */
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
        bool draining;
};

enum {
        _MANAGER_E_SUCCESS,
        MANAGER_E_CONFIG, /* the configuration is wrong, so that trying again is of no use */
};

/* Reads the configuration, and nothing else. Errors have been told. */
int manager_check_config(const struct options *options);

/* Takes over what a former supervisor left, and listens. Errors have been told when it fails. */
int manager_init(struct manager *manager, sd_event *event, const struct options *options);
void manager_deinit(struct manager *manager);
