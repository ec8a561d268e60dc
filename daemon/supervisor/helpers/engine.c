#include "daemon/supervisor/helpers/engine.h"

#include <stdio.h>

#include "daemon/supervisor/base/log.h"
#include "lib/json-text.h"

static const struct {
        const char *group, *name;
} local_nodes[ENGINE_LOCAL_NODES] = { { "node-1", "local-1" }, { "node-2", "local-2" } };

bool engine_has_private(const struct engine *engine)
{
        for (size_t i = 0; i < ENGINE_LOCAL_NODES; ++i)
                if (engine->local[i].helper.state != HELPER_DOWN ||
                    engine->local[i].helper.n_users > 0)
                        return true;
        return !machines_has_redis(engine->env.config);
}

json_t *engine_describe(const struct engine *engine, bool private, const char *name)
{
        json_t *json = machines_config_to_json(engine->env.config);
        _cleanup_free_ char *url = NULL;

        if (!json || !private)
                return json;
        /* Of the configuration, only what is not about its Redis counts for the private one. */
        (void)json_object_del(json, "username");
        (void)json_object_del(json, "password");
        (void)json_object_del(json, "ca_file");
        (void)json_object_del(json, "prefix");
        (void)json_object_del(json, "heartbeat_ns");
        if (asprintf(&url, "unix:%s", engine->redis.socket) < 0)
                url = NULL;
        if (!url || json_object_set_new(json, "redis", json_string(url)) < 0 ||
            (name && json_object_set_new(json, "name", json_string(name)) < 0)) {
                json_decref(json);
                return NULL;
        }
        return json;
}

char *engine_address(const struct engine *engine)
{
        char *text;

        if (machines_has_redis(engine->env.config))
                return redis_url_to_text(&engine->env.config->url);
        if (!helper_is_up(&engine->redis.helper))
                return NULL;
        return asprintf(&text, "unix:%s", engine->redis.socket) < 0 ? NULL : text;
}

bool engine_is_available(const struct engine *engine, struct fault *fault)
{
        return machines_has_redis(engine->env.config) ||
               redis_server_is_available(&engine->redis, fault);
}

static int acquire_private(struct engine *engine, struct fault *fault)
{
        int r;

        for (size_t i = 0; i < ENGINE_LOCAL_NODES; ++i) {
                r = helper_acquire(&engine->local[i].helper, fault);
                if (r >= 0)
                        continue;
                while (i > 0)
                        helper_release(&engine->local[--i].helper);
                return r;
        }
        ++engine->n_private;
        ++engine->n_acquired;
        return 1;
}

int engine_acquire(struct engine *engine, struct fault *fault)
{
        if (machines_has_redis(engine->env.config))
                return 0;
        if (!redis_server_is_available(&engine->redis, fault))
                return fault_attempt(fault, "start a private Redis");
        return acquire_private(engine, fault);
}

int engine_acquire_again(struct engine *engine, struct fault *fault)
{
        return engine_has_private(engine) ? acquire_private(engine, fault) : 0;
}

void engine_release(struct engine *engine)
{
        assert(engine->n_private > 0);
        --engine->n_private;
        for (size_t i = 0; i < ENGINE_LOCAL_NODES; ++i)
                helper_release(&engine->local[i].helper);
}

static const struct helper *private_helper(const struct engine *engine, size_t i)
{
        return i == 0 ? &engine->redis.helper : &engine->local[i - 1].helper;
}

static bool read_usage(const struct engine *engine, struct engine_usage *usage)
{
        for (size_t i = 0; i < ARRAY_SIZE(usage->started_ns); ++i) {
                const struct helper *helper = private_helper(engine, i);
                uint64_t user, system;

                if (!child_group_exists(&helper->child.group) ||
                    cgroup_read_keyed(helper->child.group.fd, "cpu.stat", "user_usec", &user) < 0 ||
                    cgroup_read_keyed(helper->child.group.fd, "cpu.stat", "system_usec", &system) <
                            0)
                        return false;
                usage->user_usec += user;
                usage->system_usec += system;
                usage->started_ns[i] = helper->started_ns;
        }
        return true;
}

void engine_usage_begin(const struct engine *engine, struct engine_usage *ret)
{
        *ret = (struct engine_usage){ .alone = engine->n_private == 1,
                                      .n_acquired = engine->n_acquired };
        ret->known = read_usage(engine, ret);
}

bool engine_usage_end(const struct engine *engine, const struct engine_usage *began,
                      uint64_t *ret_user_usec, uint64_t *ret_system_usec, const char **ret_why)
{
        struct engine_usage now = { 0 };

        if (!began->alone || engine->n_acquired != began->n_acquired)
                *ret_why = "other jobs used the nodes at the same time";
        else if (!began->known || !read_usage(engine, &now) ||
                 memcmp(now.started_ns, began->started_ns, sizeof(now.started_ns)) != 0)
                *ret_why = "a node or the private Redis was started anew, or has no cgroup to "
                           "count in";
        else
                *ret_why = NULL;
        *ret_user_usec = now.user_usec - began->user_usec;
        *ret_system_usec = now.system_usec - began->system_usec;
        return !*ret_why;
}

/* What a node is started with; @machines: its Redis too, with the password; taken. */
static char *describe_nodes(const struct engine *engine, json_t *machines)
{
        const struct machines_config *config = engine->env.config;
        char *text;
        json_t *json;

        json = json_pack("{s:o*, s:I, s:I, s:o}", "machines", machines, "workloads",
                         (json_int_t)config->workloads, "owners", (json_int_t)config->owners,
                         "node", spec_to_json(&config->node));
        text = json ? json_text(json, JSON_COMPACT) : NULL;
        json_decref(json);
        return text;
}

static char *describe_served(const struct engine *engine)
{
        json_t *machines = machines_config_to_json(engine->env.config);

        return machines ? describe_nodes(engine, machines) : NULL;
}

static void forget_applied(char **applied)
{
        if (*applied)
                explicit_bzero(*applied, strlen(*applied));
        free(*applied);
        *applied = NULL;
}

/* A limit that can't be had, say, is for the log: jobs of our own run all the same. */
static void serve(struct engine *engine)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (helper_acquire(&engine->served.helper, &fault) < 0)
                supervisor_log(LOG_ERR,
                               "this machine does not serve others: cannot %s: %s; %s; then reload "
                               "the daemon",
                               fault.attempted, fault.why, fault.advice);
        else
                engine->serves = true;
}

static void serve_no_more(struct engine *engine)
{
        if (engine->serves)
                helper_release(&engine->served.helper);
        engine->serves = false;
        helper_stop(&engine->served.helper);
}

/* Those that run are started anew; those that do not are with the next job. */
static void apply_to_private(struct engine *engine)
{
        char *wanted = describe_nodes(engine, NULL);
        bool changed = !engine->applied_local || !wanted || !streq(wanted, engine->applied_local);

        forget_applied(&engine->applied_local);
        engine->applied_local = wanted;
        for (size_t i = 0; i < ENGINE_LOCAL_NODES && changed; ++i)
                helper_stop(&engine->local[i].helper);
}

void engine_apply(struct engine *engine)
{
        _cleanup_free_ char *wanted = NULL;
        bool changed;

        apply_to_private(engine);
        if (!engine->env.config->serve) {
                serve_no_more(engine);
                forget_applied(&engine->applied);
                return;
        }
        wanted = describe_served(engine);
        changed = !engine->applied || !wanted || !streq(wanted, engine->applied);
        forget_applied(&engine->applied);
        engine->applied = steal_ptr(wanted);
        if (!engine->serves)
                serve(engine);
        else if (changed || !helper_is_up(&engine->served.helper))
                helper_stop(&engine->served.helper);
}

static int init_nodes(struct engine *engine)
{
        int r;

        r = redis_server_init(&engine->redis, engine->env.event, engine->env.groups,
                              engine->env.state);
        for (size_t i = 0; r >= 0 && i < ENGINE_LOCAL_NODES; ++i)
                r = node_init(&engine->local[i], engine, local_nodes[i].group, local_nodes[i].name);
        return r < 0 ? r : node_init(&engine->served, engine, "node", NULL);
}

int engine_init(struct engine *engine, const struct engine_env *env,
                void (*stopped)(struct engine *engine))
{
        int r;

        *engine = (struct engine)ENGINE_NULL;
        engine->env = *env;
        engine->stopped = stopped;
        nodes_query_init(&engine->query, engine);
        r = init_nodes(engine);
        if (r < 0)
                return r;
        engine->applied_local = describe_nodes(engine, NULL);
        if (!env->config->serve) {
                helper_stop(&engine->served.helper);
                return 0;
        }
        /* A node that was taken over continues as it is; what it was started with is not known. */
        if (r == 0)
                engine->applied = describe_served(engine);
        serve(engine);
        return 0;
}

void engine_leave(struct engine *engine)
{
        helper_leave(&engine->served.helper);
        for (size_t i = 0; i < ENGINE_LOCAL_NODES; ++i)
                helper_leave(&engine->local[i].helper);
        helper_leave(&engine->redis.helper);
}

void engine_deinit(struct engine *engine)
{
        if (!engine->env.event)
                return;
        engine->stopped = NULL;
        nodes_query_deinit(&engine->query);
        node_deinit(&engine->served);
        for (size_t i = 0; i < ENGINE_LOCAL_NODES; ++i)
                node_deinit(&engine->local[i]);
        redis_server_deinit(&engine->redis);
        forget_applied(&engine->applied);
        forget_applied(&engine->applied_local);
        *engine = (struct engine)ENGINE_NULL;
}

void engine_drain(struct engine *engine)
{
        serve_no_more(engine);
}

void engine_kill(struct engine *engine)
{
        child_kill(&engine->served.helper.child);
}

bool engine_is_drained(const struct engine *engine)
{
        return engine->served.helper.state == HELPER_DOWN;
}
