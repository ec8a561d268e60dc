#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/api/methods.h"
#include "daemon/supervisor/helpers/engine.h"
#include "lib/doctor/doctor.h"

static void failed(struct peer *peer, int r)
{
        peer_error(peer, INTERFACE_JOBS ".Failed",
                   json_pack("{s:s, s:s, s:s}", "attempted",
                             "check the machine in a separate process", "why", strerrordesc_np(-r),
                             "hint", "without a daemon, pppctl doctor checks the machine itself"));
}

static void on_checks(struct doctor_waiter *waiter, json_t *checks, int r)
{
        struct peer *peer = container_of(waiter, struct peer, call.doctor);

        if (checks)
                peer_reply(peer,
                           json_pack("{s:O, s:I}", "checks", checks, "uid", (json_int_t)geteuid()),
                           false, NULL, 0);
        else
                failed(peer, r);
}

static void answer(struct peer *peer, const char *redis, json_t *nodes, const char *redis_why)
{
        const struct jobs *jobs = peer->owner->jobs;
        const struct job_env *env = &jobs->env;
        const struct doctor doctor = {
                .base = env->groups->path,
                .why_none = groups_exist(env->groups) ? NULL : env->groups->why,
                .is_daemon = true,
                .state = env->state,
                .max_queued = jobs->config->max_queued,
                .queue_limit = jobs_queue_limit(jobs, JOBS_E_FULL),
                .redis = redis,
                .redis_why = redis_why,
                .n_nodes = (unsigned)json_array_size(nodes),
        };
        int r;

        peer->call.kind = CALL_DOCTOR;
        peer->call.doctor.answer = on_checks;
        r = doctor_query_ask(peer->owner->doctor, &doctor, &peer->call.doctor);
        if (r < 0)
                failed(peer, r);
}

static void on_nodes(struct nodes_waiter *waiter, json_t *nodes, const char *why)
{
        struct peer *peer = container_of(waiter, struct peer, call.nodes);
        _cleanup_free_ char *redis = engine_address(peer->owner->jobs->env.engine);

        answer(peer, redis, nodes, nodes ? NULL : why);
}

/* If a Redis is configured, it is asked for its nodes, which shows whether it can be used. */
void method_doctor(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        static const char *const names[] = { NULL };
        struct engine *engine = peer->owner->jobs->env.engine;
        _cleanup_free_ char *redis = NULL;
        int r;

        if (!methods_check_names(peer, parameters, names))
                return;
        if (!machines_has_redis(engine->env.config)) {
                answer(peer, NULL, NULL, NULL);
                return;
        }
        peer->call.kind = CALL_NODES;
        peer->call.nodes.answer = on_nodes;
        r = nodes_query_ask(&engine->query, &peer->call.nodes);
        if (r >= 0)
                return;
        redis = engine_address(engine);
        answer(peer, redis, NULL, strerrordesc_np(-r));
}
