#include <stdio.h>

#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/api/methods.h"
#include "daemon/supervisor/helpers/engine.h"

#define REST_MAX 4096 /* bytes of a reply beside those of the nodes, at most */

static void failed_with(struct peer *peer, const char *why, const char *hint)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        (void)fault_why(&fault, -EIO, why, hint, "ask the Redis for its nodes");
        methods_fail(peer, &fault);
}
static void failed(struct peer *peer, const char *why)
{
        failed_with(peer, why, "check [machines] in pppctl.conf, and that this Redis is running");
}

static void failed_too_many(struct peer *peer, size_t n)
{
        char why[96];

        snprintf(why, sizeof(why), "there are %zu, more than fit into one reply", n);
        failed_with(peer, why,
                    "ask Redis yourself: the sorted set PREFIX:nodes has their names "
                    "(redis-cli ZRANGE pppctl:nodes 0 -1)");
}

static void on_answer(struct nodes_waiter *waiter, json_t *nodes, const char *why)
{
        struct peer *peer = container_of(waiter, struct peer, call.nodes);
        _cleanup_free_ char *address = engine_address(peer->owner->jobs->env.engine);

        if (nodes && json_dumpb(nodes, NULL, 0, JSON_COMPACT) > VARLINK_MESSAGE_MAX - REST_MAX)
                failed_too_many(peer, json_array_size(nodes));
        else if (nodes)
                peer_reply(peer, json_pack("{s:O, s:s*}", "nodes", nodes, "redis", address), false,
                           NULL, 0);
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
