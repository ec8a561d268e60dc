#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/api/methods.h"
#include "daemon/supervisor/api/openmetrics.h"
#include "daemon/supervisor/base/log.h"

/* Everybody who may connect may see the metrics: they cover all users' jobs and name none. */
void method_metrics(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        static const char *const names[] = { NULL };
        struct jobs *jobs = peer->owner->jobs;
        _cleanup_free_ char *text = NULL;
        const char *why;
        int r;

        if (!methods_check_names(peer, parameters, names))
                return;
        r = openmetrics_write(jobs, &text);
        if (r >= 0) {
                peer_reply(peer, json_pack("{s:s}", "openmetrics", text), false, NULL, 0);
                return;
        }
        why = r == -ENOMEM ? "out of memory" : store_error(jobs->store);
        supervisor_log(LOG_ERR, "cannot collect the metrics: %s", why);
        peer_error(peer, INTERFACE_JOBS ".Failed",
                   json_pack("{s:s, s:s, s:s}", "attempted", "collect the metrics", "why", why,
                             "hint", "the daemon's log tells more"));
}
