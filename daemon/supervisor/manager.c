#include "daemon/supervisor/manager.h"

#include <stdio.h>
#include <sys/resource.h>

#include "daemon/supervisor/api/methods.h"
#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/child/spawn.h"
#include "daemon/supervisor/jobs/resume.h"

#define DRAIN_USEC           UINT64_C(10000000)
#define PEERS_MAX            1024
#define PEERS_MAX_PER_USER   64
#define DESCRIPTORS_RESERVED 64
#define DESCRIPTORS_PER_JOB  10

/* Logs the error of a callee, with its explanation if there is one. */
static int tell_about(enum message message, int error, const struct fault *fault)
{
        const struct log_about about = { .message = message };
        _cleanup_free_ char *text = fault->error ? fault_sentence(fault) : NULL;

        supervisor_log_about(&about, LOG_ERR, "%s", text ?: strerror(-error));
        return error;
}

static int tell(int error, const struct fault *fault)
{
        return tell_about(MESSAGE_NONE, error, fault);
}

static int load_config(const struct options *options, struct config *ret, struct fault *fault)
{
        char *files[CONFIG_FILES_MAX] = { NULL };
        struct config config;
        size_t n = 0;
        int r;
        config_defaults(&config);
        if (options->config) {
                r = config_load(&config, options->config, true, fault);
        } else {
                r = supervisor_config_files(files, &n);
                for (size_t i = 0; i < n && r >= 0; ++i)
                        r = config_load(&config, files[i], false, fault);
        }
        for (size_t i = 0; i < CONFIG_FILES_MAX; ++i)
                free(files[i]);
        if (r >= 0)
                r = machines_config_check(&config.machines, fault);
        if (r < 0) {
                config_deinit(&config);
                return r;
        }
        *ret = config;
        return 0;
}

static int tell_about_config(int error, const struct fault *fault)
{
        (void)tell_about(MESSAGE_CONFIG, error, fault);
        return error == -ENOMEM ? error : MANAGER_E_CONFIG;
}

int manager_check_config(const struct options *options)
{
        struct config config;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        supervisor_log_brief();
        r = load_config(options, &config, &fault);
        if (r < 0)
                return tell_about_config(r, &fault);
        config_deinit(&config);
        return 0;
}

/* Bounds the number of connections, so that jobs always have the descriptors that they need. */
static void bound_peers(struct manager *manager)
{
        struct rlimit limit;
        uint64_t jobs = DESCRIPTORS_RESERVED +
                        manager->config.max_running * (1 + FROZEN_PER_SLOT) * DESCRIPTORS_PER_JOB;

        manager->peers_max = PEERS_MAX;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        jobs += MIN(2 * manager->config.max_queued, (uint64_t)limit.rlim_cur / 2);
        if (limit.rlim_cur < PEERS_MAX + jobs)
                manager->peers_max = limit.rlim_cur > jobs + 8 ? limit.rlim_cur - jobs : 8;
}

static void on_accepted(struct listener *listener, int fd, const struct ucred *credentials)
{
        struct manager *manager = container_of(listener, struct manager, listener);
        uid_t uid = credentials->uid;
        struct peer *peer;
        int r;

        r = quota_charge(&manager->quota, QUOTA_PEERS, uid, manager->peers_max,
                         uid_is_trusted(uid) ? UINT64_MAX : PEERS_MAX_PER_USER);
        if (r != 0) {
                listener_turn_away(fd,
                                   r < 0               ? "the daemon is out of memory"
                                   : r == QUOTA_E_USER ? "you have too many connections open"
                                                       : "too many connections are open",
                                   "close some, or try again later");
                return;
        }
        r = peer_new_consume(&manager->peer_owner, fd, uid, &peer);
        if (r < 0) {
                supervisor_log(LOG_WARNING, "cannot accept a connection: %s", strerror(-r));
                quota_release(&manager->quota, QUOTA_PEERS, uid);
                return;
        }
        list_append(&manager->peers, &peer->link);
}

static void on_peer_gone(struct peer_owner *owner, struct peer *peer)
{
        struct manager *manager = container_of(owner, struct manager, peer_owner);

        quota_release(&manager->quota, QUOTA_PEERS, peer->uid);
        peer_free(peer);
        listener_wake(&manager->listener);
}

static void finish_drain(struct manager *manager)
{
        int r = sd_event_exit(manager->event, 0);

        if (r < 0)
                supervisor_log(LOG_ERR, "cannot leave the event loop: %s", strerror(-r));
}

static void look_whether_drained(struct manager *manager)
{
        if (manager->draining && manager->jobs.n_running == 0 &&
            engine_is_drained(&manager->engine))
                finish_drain(manager);
}

static void on_jobs_changed(struct jobs *jobs)
{
        struct manager *manager = container_of(jobs, struct manager, jobs);

        service_set_status(&manager->service, jobs->n_running, jobs->n_queued);
        checkpoint_look(&manager->checkpoint);
        look_whether_drained(manager);
}

static void on_node_stopped(struct engine *engine)
{
        look_whether_drained(container_of(engine, struct manager, engine));
}

static void kill_all(struct manager *manager)
{
        jobs_kill_all(&manager->jobs);
        engine_kill(&manager->engine);
}

static int on_drain_too_long(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *manager = userdata;

        if (manager->jobs.n_running > 0)
                supervisor_log(LOG_WARNING,
                               "killing %u job%s that did not end in time; the remaining tasks "
                               "are done after the next start",
                               manager->jobs.n_running, plural(manager->jobs.n_running));
        kill_all(manager);
        return 0;
}

/* Handles SIGTERM: interrupts all jobs. A second SIGTERM kills their runners at once. */
static void on_stop(struct service *service)
{
        struct manager *manager = container_of(service, struct manager, service);
        int r;

        if (manager->draining) {
                kill_all(manager);
                return;
        }
        manager->draining = true;
        service_set_stopping(service);
        listener_deinit(&manager->listener);
        r = sd_event_add_time_relative(manager->event, &manager->drain_source, CLOCK_MONOTONIC,
                                       DRAIN_USEC, 1000, on_drain_too_long, manager);
        engine_drain(&manager->engine);
        jobs_drain(&manager->jobs);
        if (r < 0)
                kill_all(manager);
}

/* Handles SIGHUP: reads the configuration again. If it is wrong, the old one stays in force. */
static void on_reload(struct service *service)
{
        struct manager *manager = container_of(service, struct manager, service);
        struct config config;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        service_set_reloading(service);
        r = load_config(manager->options, &config, &fault);
        if (r < 0) {
                (void)tell_about(MESSAGE_CONFIG, r, &fault);
                supervisor_log(LOG_ERR, "the old configuration stays in force");
        } else {
                config_deinit(&manager->config);
                manager->config = config;
                bound_peers(manager);
                supervisor_log(LOG_INFO, "the configuration was read again");
                jobs_log_bounds(&manager->jobs);
                if (!manager->draining) {
                        engine_apply(&manager->engine);
                        jobs_kick(&manager->jobs);
                }
        }
        service_set_ready(service);
}

static bool on_check(struct service *service)
{
        return jobs_check(&container_of(service, struct manager, service)->jobs);
}

/*
 * The database may be new, because the old one was moved away. Directories that are in jobs/ stay,
 * and no new job gets the number of one of them.
 */
static int skip_numbers(struct manager *manager)
{
        const struct log_about about = { .message = MESSAGE_STATE };
        uint64_t highest;
        int r;

        r = directory_scan(manager->state.jobs_fd, &highest);
        if (r < 0) {
                supervisor_log_about(
                        &about, LOG_ERR,
                        "cannot list the directory jobs of the state directory %s: %s; %s",
                        manager->options->state, strerror(-r), failure_advice(r));
                return r;
        }
        r = store_skip_numbers(manager->store, highest);
        if (r < 0)
                supervisor_log_about(&about, LOG_ERR,
                                     "cannot store which numbers of jobs are taken: %s; %s",
                                     store_error(manager->store), failure_advice(r));
        return r;
}

static int is_admitted(void *userdata, uint64_t number)
{
        struct manager *manager = userdata;
        _cleanup_(job_record_deinit) struct job_record record = JOB_RECORD_NULL;
        int r;

        r = store_get(manager->store, number, &record);
        /* If the row is damaged, the job's results are kept all the same. */
        return r >= 0 || r == -EUCLEAN ? 1 : r == -ENOENT ? 0 : r;
}

static int publish_admitted(struct manager *manager)
{
        const struct log_about about = { .message = MESSAGE_STATE };
        int r;

        r = directory_publish_admitted(manager->state.jobs_fd, is_admitted, manager);
        if (r < 0)
                supervisor_log_about(&about, LOG_ERR,
                                     "cannot rename the directories of newly admitted jobs, in the "
                                     "directory jobs of the state directory %s: %s; %s",
                                     manager->options->state, strerror(-r), failure_advice(r));
        return r;
}

static int init_kept(struct manager *manager)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        config_defaults(&manager->config);
        r = load_config(manager->options, &manager->config, &fault);
        if (r < 0)
                return tell_about_config(r, &fault);
        bound_peers(manager);
        r = state_init(&manager->state, manager->options->state, &fault);
        if (r < 0)
                return tell_about(MESSAGE_STATE, r, &fault);
        if (asprintf(&manager->store_path, "%s/jobs.db", manager->options->state) < 0) {
                manager->store_path = NULL;
                return supervisor_log_oom();
        }
        r = store_open(manager->store_path, &manager->store, &fault);
        if (r < 0)
                return tell_about(MESSAGE_STATE, r, &fault);
        manager->checkpoint =
                (struct checkpoint){ manager->event, manager->store, manager->store_path, NULL };
        r = publish_admitted(manager);
        return r < 0 ? r : skip_numbers(manager);
}

/* A client that asks for such a limit gets an error; this tells the machine's administrator. */
static void log_missing_controllers(const struct groups *groups)
{
        const struct log_about about = { .message = MESSAGE_NO_CONTROLLERS };
        char names[64] = "";
        const char *why = NULL, *hint = NULL;

        for (unsigned i = 0; i < GROUPS_CONTROLLERS; ++i) {
                const char *missing = groups_why_without(groups, 1U << i, &hint);

                if (!missing)
                        continue;
                why = why ?: missing;
                strcat(strcat(names, *names ? ", " : ""), cgroup_controller_name(1U << i));
        }
        if (why)
                supervisor_log_about(&about, LOG_NOTICE,
                                     "limits that need these controllers are refused: %s (%s; "
                                     "pppctl doctor has details)",
                                     names, why);
}

static int init_groups(struct manager *manager)
{
        const struct log_about about = { .message = MESSAGE_NO_CONTROLLERS };
        int r;

        r = groups_init(&manager->groups, manager->options->cgroup, manager->state.instance);
        if (r < 0) {
                supervisor_log(LOG_ERR, "cannot use the cgroup given with --cgroup: %s",
                               manager->groups.why ? manager->groups.why : strerror(-r));
                return r;
        }
        if (groups_exist(&manager->groups))
                log_missing_controllers(&manager->groups);
        else
                supervisor_log_about(
                        &about, LOG_WARNING,
                        "jobs run without cgroups of their own, without limits and with fewer "
                        "metrics: %s; start the daemon as a systemd service with Delegate=yes, or "
                        "give a cgroup it may write to with --cgroup PATH",
                        manager->groups.why);
        return 0;
}

static bool is_in_base(void *userdata, uint64_t number)
{
        struct manager *manager = userdata;

        return jobs_find_running(&manager->jobs, number) != NULL;
}

static int init_engine(struct manager *manager)
{
        const struct engine_env env = {
                .event = manager->event,
                .groups = &manager->groups,
                .demo = &manager->demo,
                .host = &manager->host,
                .state = manager->options->state,
                .runner = manager->options->runner,
                .environment = manager->environment,
                .config = &manager->config.machines,
        };

        return engine_init(&manager->engine, &env, on_node_stopped);
}

static bool is_left(const char *name)
{
        return incoming_is_left(name) || directory_is_left(name);
}

static int init_jobs(struct manager *manager)
{
        struct job_env env = {
                .event = manager->event,
                .groups = &manager->groups,
                .demo = &manager->demo,
                .engine = &manager->engine,
                .host = &manager->host,
                .state = manager->options->state,
                .jobs_fd = manager->state.jobs_fd,
                .trash = &manager->trash,
                .runner = manager->options->runner,
        };
        const struct fault none = FAULT_NULL;
        int r;

        r = host_init(&manager->host);
        if (r >= 0)
                r = trash_init(&manager->trash, manager->event, manager->state.jobs_fd, is_left);
        if (r < 0)
                return tell(r, &none);
        env.environment = manager->environment = environment_for_child(NULL);
        if (!env.environment)
                return supervisor_log_oom();
        r = demo_server_init(&manager->demo, manager->event, &manager->groups,
                             manager->options->web, manager->state.fd);
        if (r >= 0)
                r = init_engine(manager);
        if (r >= 0)
                r = jobs_init(&manager->jobs, &env, manager->store, &manager->config,
                              &manager->quota, on_jobs_changed);
        if (r < 0)
                return tell(r, &none);
        jobs_log_bounds(&manager->jobs);
        r = resume_jobs(&manager->jobs);
        if (r < 0)
                return r;
        groups_sweep(&manager->groups, is_in_base, manager);
        return 0;
}

int manager_init(struct manager *manager, sd_event *event, const struct options *options)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        *manager = (struct manager){
                .options = options,
                .event = event,
                .state = STATE_NULL,
                .groups = GROUPS_NULL,
                .demo = DEMO_SERVER_NULL,
                .engine = ENGINE_NULL,
                .listener = LISTENER_NULL,
                .peer_owner = {
                        .event = event,
                        .jobs = &manager->jobs,
                        .turns = &manager->turns,
                        .doctor = &manager->doctor,
                        .message = methods_dispatch,
                        .stream = methods_stream,
                        .shorten = methods_shorten,
                        .gone = on_peer_gone,
                },
        };
        list_init(&manager->peers);
        list_init(&manager->peer_owner.admissions);
        quota_init(&manager->quota);
        doctor_query_init(&manager->doctor, event);
        r = turns_init(&manager->turns, event);
        if (r < 0)
                return tell(r, &fault);
        r = init_kept(manager);
        if (r != 0)
                return r;
        r = listener_init(&manager->listener, &manager->turns, event, options->socket, on_accepted,
                          &fault);
        if (r < 0)
                return tell(r, &fault);
        r = init_groups(manager);
        if (r >= 0)
                r = init_jobs(manager);
        if (r < 0)
                return r;
        r = service_init(&manager->service, event, on_stop, on_reload, on_check);
        if (r < 0)
                return tell(r, &fault);
        service_set_ready(&manager->service);
        on_jobs_changed(&manager->jobs);
        return 0;
}

void manager_deinit(struct manager *manager)
{
        struct peer *peer;

        listener_deinit(&manager->listener);
        sd_event_source_disable_unref(manager->drain_source);
        /* Nothing runs after a drain. Groups that are left could not be removed with their jobs. */
        if (manager->draining)
                groups_sweep(&manager->groups, is_in_base, manager);
        jobs_deinit(&manager->jobs);
        list_for_each(peer, &manager->peers, struct peer, link) {
                quota_release(&manager->quota, QUOTA_PEERS, peer->uid);
                peer_free(peer);
        }
        quota_deinit(&manager->quota);
        trash_deinit(&manager->trash);
        doctor_query_deinit(&manager->doctor);
        turns_deinit(&manager->turns);
        service_deinit(&manager->service);
        /* Jobs keep running without us, and still need their helpers. */
        if (!manager->draining) {
                engine_leave(&manager->engine);
                helper_leave(&manager->demo.helper);
        }
        engine_deinit(&manager->engine);
        demo_server_deinit(&manager->demo);
        groups_deinit(&manager->groups);
        free(manager->environment);
        host_deinit(&manager->host);
        config_deinit(&manager->config);
        checkpoint_deinit(&manager->checkpoint);
        store_close(manager->store);
        free(manager->store_path);
        state_deinit(&manager->state);
}
