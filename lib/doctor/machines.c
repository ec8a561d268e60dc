#include "lib/doctor/check.h"

#include <hiredis/hiredis.h>

#include "lib/redis-program.h"
#include "lib/redis-tls.h"

void check_redis_client(const struct patient *patient, struct finding *finding)
{
        finding_set(finding, CHECK_YES, NULL, "hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR,
                    HIREDIS_PATCH);
}

void check_redis_tls(const struct patient *patient, struct finding *finding)
{
        finding_set(finding, redis_tls_is_built() ? CHECK_YES : CHECK_PARTLY,
                    "build with hiredis 1.0 or newer (Debian 13, Fedora), or take a tunnel",
                    redis_tls_is_built() ? "rediss:// addresses" : "this hiredis has no TLS: rediss:// "
                                           "addresses are refused");
}

void check_redis_program(const struct patient *patient, struct finding *finding)
{
        _cleanup_free_ char *path = NULL;

        if (redis_program_find(&path) >= 0)
                finding_set(finding, CHECK_YES, NULL, "%s", path);
        else
                finding_set(finding, CHECK_PARTLY, "install it (Debian: redis-server, Fedora: valkey), or "
                            "configure a Redis", "no " REDIS_PROGRAM_NAMES " is in $PATH to start a "
                            "private one");
}

static const char configure[] = "name one in pppctl.conf ([machines] redis = …), or install redis-server "
                                "for a private one";

void check_redis(const struct patient *patient, struct finding *finding)
{
        const struct doctor *doctor = patient->doctor;
        _cleanup_free_ char *path = NULL;

        if (!doctor->is_daemon)
                finding_set(finding, CHECK_PARTLY, "ask a daemon: start it, then pppctl doctor again",
                            "it is the daemon's to tell");
        else if (doctor->redis && doctor->redis_why)
                finding_set(finding, CHECK_NO, "see whether it runs, and [machines] in pppctl.conf",
                            "%s: %s", doctor->redis, doctor->redis_why);
        else if (doctor->redis)
                finding_set(finding, doctor->n_nodes > 0 ? CHECK_YES : CHECK_PARTLY,
                            "make machines nodes: serve = yes in section [machines] of pppctl.conf",
                            "%s, %u %s", doctor->redis, doctor->n_nodes,
                            doctor->n_nodes == 1 ? "node" : "nodes");
        else if (redis_program_find(&path) >= 0)
                finding_set(finding, CHECK_YES, NULL, "none is configured: jobs get a private one");
        else
                finding_set(finding, CHECK_NO, configure, "none is configured, and there is no program "
                            "for a private one");
}
