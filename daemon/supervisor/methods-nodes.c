#include "daemon/supervisor/engine.h"
#include "daemon/supervisor/interface.h"
#include "daemon/supervisor/methods.h"

static void failed(struct peer *peer, const char *why)
{
        peer_error(peer, INTERFACE_JOBS ".Failed",
                   json_pack("{s:s, s:s, s:s}", "attempted", "ask the Redis for its nodes", "why", why,
                             "hint", "see [machines] in pppctl.conf, and whether that Redis runs"));
}

static void on_answer(struct nodes_waiter *waiter, json_t *nodes, const char *why)
{
        struct peer *peer = container_of(waiter, struct peer, call.nodes);
        _cleanup_free_ char *address = engine_address(peer->owner->jobs->env.engine);

        if (nodes)
                peer_reply(peer, json_pack("{s:O, s:s*}", "nodes", nodes, "redis", address), false, NULL,
                           0);
        else
                failed(peer, why);
}

void method_nodes(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        struct engine *engine = peer->owner->jobs->env.engine;
        _cleanup_free_ char *address = engine_address(engine);
        static const char *const names[] = { NULL };
        int r;

        if (!methods_check_names(peer, parameters, names))
                return;
        if (!address) {
                peer_reply(peer, json_pack("{s:[]}", "nodes"), false, NULL, 0);
                return;
        }
        peer->call.kind = CALL_NODES;
        peer->call.nodes.answer = on_answer;
        r = nodes_query_ask(&engine->query, &peer->call.nodes);
        if (r < 0)
                failed(peer, strerrordesc_np(-r));
}
