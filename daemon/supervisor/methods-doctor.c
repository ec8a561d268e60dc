#include "daemon/supervisor/methods.h"
#include "lib/doctor/doctor.h"

/* Takes a few milliseconds: what has to be tried is tried in short-lived children. */
void method_doctor(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        static const char *const names[] = { NULL };
        const struct job_env *env = &peer->owner->jobs->env;
        const struct doctor doctor = {
                .base = env->groups->path,
                .why_none = groups_exist(env->groups) ? NULL : env->groups->why,
                .is_daemon = true,
                .state = env->state,
        };

        if (!methods_check_names(peer, parameters, names))
                return;
        peer_reply(peer, json_pack("{s:o}", "checks", doctor_look(&doctor)), false, NULL, 0);
}
