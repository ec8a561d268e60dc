#include "daemon/supervisor/helpers/node.h"

#include <fcntl.h>
#include <stdio.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/helpers/engine.h"
#include "daemon/supervisor/limits/limit-check.h"
#include "daemon/supervisor/limits/limit-restore.h"
#include "daemon/supervisor/limits/limit-set.h"
#include "lib/json-text.h"
#include "lib/machines.h"
#include "lib/runner-abi.h"

#define IDLE_USEC UINT64_C(30000000)

static const struct spec *options_of(const struct node *node)
{
        return &node->engine->env.config->node;
}

static json_t *list_workloads(unsigned set)
{
        json_t *list = json_array();

        for (enum workload_id i = 0; list && i < _WORKLOAD_N; ++i)
                if (set & 1U << i &&
                    json_array_append_new(list, json_string(workload_name(i))) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

/*
 * The memory that a node may have is shared out, so that what one owner's chunks use up is not
 * another's: a part for each owner that is served at once, and one for the node's own process.
 */
static void share_out(const struct node *node, struct limits *ret)
{
        static const enum limit shared[] = { LIMIT_MEMORY_MAX, LIMIT_MEMORY_HIGH };
        const struct limits *limits = &options_of(node)->limits;
        uint64_t parts = 1 + (uint64_t)node->engine->env.config->owners;

        *ret = (struct limits)LIMITS_NULL;
        for (size_t i = 0; i < ARRAY_SIZE(shared); ++i) {
                if (!limits_enforces(limits, shared[i]))
                        continue;
                ret->given |= LIMIT_BIT(shared[i]);
                ret->values[shared[i]] =
                        MAX(limits->values[shared[i]] / parts, limit_infos[shared[i]].min);
        }
}

static json_t *describe(const struct node *node, const char *demo_url)
{
        const struct engine *engine = node->engine;
        const struct spec *options = options_of(node);
        json_t *machines = engine_describe(engine, node->name != NULL, node->name);
        struct limits owner_limits;
        json_t *json = json_pack("{s:o, s:o, s:s, s:I, s:I, s:I}", "machines", machines,
                                 "workloads", list_workloads(engine->env.config->workloads),
                                 "level", level_name(options->level), "workers",
                                 (json_int_t)options->workers, "loops", (json_int_t)options->loops,
                                 "owners", (json_int_t)engine->env.config->owners);

        share_out(node, &owner_limits);
        if (json &&
            ((options->worker_limits.given &&
              json_object_set_new(json, "worker_limits", limits_to_json(&options->worker_limits)) <
                      0) ||
             (owner_limits.given &&
              json_object_set_new(json, "owner_limits", limits_to_json(&owner_limits)) < 0))) {
                json_decref(json);
                return NULL;
        }
        return json_pack("{s:o, s:s*}", "node", json, "demo_url", demo_url);
}

static int make_spec(const struct node *node, const char *demo_url, int *ret_fd)
{
        _cleanup_free_ char *text = NULL;
        json_t *json = describe(node, demo_url);
        int r;

        text = json ? json_text(json, JSON_COMPACT) : NULL;
        json_decref(json);
        if (!text)
                return -ENOMEM;
        r = memfd_sealed("pppd-spec", text, strlen(text), ret_fd);
        explicit_bzero(text, strlen(text));
        return r;
}

static int set_limits(const struct node *node, struct fault *fault)
{
        const struct engine_env *env = &node->engine->env;
        const struct child_group *group = &node->helper.child.group;
        int r;

        r = limit_check(options_of(node), env->groups, env->host, fault);
        if (r >= 0 && child_group_exists(group))
                r = limit_set(options_of(node), env->groups, group, fault);
        return r >= 0 ? 0 : limit_attempt(fault);
}

/* The pages that "demo:" inputs name; other inputs do without. */
static void acquire_demo(struct node *node, char url[static DEMO_URL_MAX])
{
        const struct engine_env *env = &node->engine->env;
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        url[0] = 0;
        if (!(env->config->workloads & workloads_that_take_urls()))
                return;
        if (demo_server_acquire(env->demo, url, &fault) < 0) {
                supervisor_log(LOG_WARNING, "%s goes without a demo server: cannot %s: %s",
                               node->helper.kind->what, fault.attempted, fault.why);
        } else if (node->holds_demo) {
                demo_server_release(env->demo);
        } else {
                node->holds_demo = true;
        }
}

static int acquire_redis(struct node *node, struct fault *fault)
{
        int r;

        if (!node->name || node->holds_redis)
                return 0;
        r = helper_acquire(&node->engine->redis.helper, fault);
        node->holds_redis = r >= 0;
        return r;
}

static void down(struct helper *helper)
{
        struct node *node = container_of(helper, struct node, helper);
        struct engine *engine = node->engine;

        if (node->holds_demo)
                demo_server_release(engine->env.demo);
        if (node->holds_redis)
                helper_release(&engine->redis.helper);
        node->holds_demo = node->holds_redis = false;
        if (!node->name && engine->stopped)
                engine->stopped(engine);
}

static int spawn_node(struct node *node, int group_fd, int spec_fd, const char **ret_attempted)
{
        _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        int own_fd = node->helper.child.group.fd;
        char *argv[] = { (char *)"pppd-runner", (char *)RUNNER_ARG_NODE, NULL };
        struct spawn spawn = {
                .path = node->engine->env.runner,
                .argv = argv,
                .envp = node->engine->env.environment,
                .cgroup_fd = group_fd,
                .fds = {
                        [STDIN_FILENO] = null_fd,
                        [STDOUT_FILENO] = STDERR_FILENO,
                        [STDERR_FILENO] = STDERR_FILENO,
                        [RUNNER_FD_SPEC] = spec_fd,
                        [RUNNER_FD_INPUTS] = null_fd,
                        [RUNNER_FD_RESULTS] = null_fd,
                        [RUNNER_FD_MEASURES] = null_fd,
                        [RUNNER_FD_CGROUP] = own_fd >= 0 ? own_fd : null_fd,
                },
                .n_fds = RUNNER_FD_CGROUP + 1,
                .die_with_parent = group_fd < 0,
        };

        *ret_attempted = "open /dev/null for";
        return null_fd < 0 ? -errno : child_start(&node->helper.child, &spawn, ret_attempted);
}

/* A node gives back what it can't end within that time, and must be let. */
static void set_grace(struct node *node)
{
        node->helper.child.grace_usec =
                (machines_leave_ns(node->engine->env.config->heartbeat_ns) + 2 * NSEC_PER_SEC) /
                NSEC_PER_USEC;
}

static int start(struct helper *helper, int group_fd, struct fault *fault)
{
        struct node *node = container_of(helper, struct node, helper);
        _cleanup_close_ int spec_fd = -EBADF;
        const char *attempted = "describe its work to";
        char url[DEMO_URL_MAX];
        int r;

        r = set_limits(node, fault);
        if (r >= 0)
                r = acquire_redis(node, fault);
        if (r < 0)
                return r;
        acquire_demo(node, url);
        set_grace(node);
        r = make_spec(node, *url ? url : NULL, &spec_fd);
        if (r >= 0)
                r = spawn_node(node, group_fd, spec_fd, &attempted);
        return r >= 0 ? 0
                      : fault_errno(fault, r, failure_advice(r), "%s %s (%s)", attempted,
                                    helper->kind->what, node->engine->env.runner);
}

static const struct helper_kind served_kind = {
        .what = "the node that serves other machines",
        .leaf = "runner",
        .idle_usec = IDLE_USEC,
        .may_refuse = true,
        .start = start,
        .down = down,
};

static const struct helper_kind local_kind = {
        .what = "a node of the private Redis",
        .leaf = "runner",
        .idle_usec = IDLE_USEC,
        .start = start,
        .down = down,
};

/* The groups of owners' runners within its own: to limit_restore() each is like a job's. */
static int restore_owners(const struct node *node, struct fault *fault)
{
        const struct engine_env *env = &node->engine->env;
        struct spec spec = *options_of(node);
        int r = 0;

        share_out(node, &spec.limits);
        for (unsigned i = 0; i < NODE_OWNERS_MAX && r >= 0; ++i) {
                struct child_group group = CHILD_GROUP_NULL;
                struct controller_changes changes;

                snprintf(group.name, sizeof(group.name), "owner-%u", i);
                group.fd = openat(node->helper.child.group.fd, group.name,
                                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (group.fd < 0)
                        continue;
                r = limit_restore(&spec, env->groups, &group, &changes, fault);
                close_fd(group.fd);
        }
        return r;
}

/* One that is taken over: it knows its Redis and its demo server, which have to be kept running. */
static void take_over(struct node *node)
{
        const struct engine_env *env = &node->engine->env;
        const struct child_group *group = &node->helper.child.group;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        char url[DEMO_URL_MAX];
        struct controller_changes changes;

        if (limit_restore(options_of(node), env->groups, group, &changes, &fault) < 0 ||
            restore_owners(node, &fault) < 0)
                supervisor_log(LOG_ERR, "%s continues without all of its limits: %s: %s; %s",
                               node->helper.kind->what, fault.field, fault.why, fault.advice);
        acquire_demo(node, url);
        if (acquire_redis(node, &fault) < 0)
                supervisor_log(LOG_ERR, "cannot %s: %s; %s", fault.attempted, fault.why,
                               fault.advice);
}

int node_init(struct node *node, struct engine *engine, const char *group, const char *name)
{
        int r;

        *node = (struct node)NODE_NULL;
        node->engine = engine;
        node->name = name;
        helper_init(&node->helper, name ? &local_kind : &served_kind, engine->env.event,
                    engine->env.groups, group);
        set_grace(node);
        r = helper_find(&node->helper);
        if (r > 0)
                take_over(node);
        return r;
}

void node_deinit(struct node *node)
{
        if (!node->engine)
                return;
        /* What it holds goes with us too. */
        helper_deinit(&node->helper);
        *node = (struct node)NODE_NULL;
}
