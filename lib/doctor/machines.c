#include "lib/doctor/check.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#include "lib/openssl-load.h"
#include "lib/redis-program.h"

void check_redis_client(const struct patient *patient, struct finding *finding)
{
        finding_set(finding, CHECK_YES, NULL, "hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR,
                    HIREDIS_PATCH);
}

/* The first byte says whether the rest is a version or an error text. */
static void load_openssl(int fd)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (openssl_load(&fault) < 0)
                (void)dprintf(fd, "-%s", fault.why);
        else
                (void)dprintf(fd, "+%s", sym_OpenSSL_version(OPENSSL_VERSION));
}

/* Not in this process, which would keep the library loaded. */
void check_redis_tls(const struct patient *patient, struct finding *finding)
{
        char text[512];
        int signal;
        ssize_t n;

        n = check_in_child(load_openssl, text, sizeof(text) - 1, &signal);
        text[MAX(n, (ssize_t)0)] = 0;
        if (n > 1 && text[0] == '+')
                finding_set(finding, CHECK_YES, NULL, "%s", text + 1);
        else
                finding_set(finding, CHECK_PARTLY, OPENSSL_REMEDY,
                            "rediss:// addresses cannot be used: %s",
                            n > 1 ? text + 1 : OPENSSL_LIBRARY " cannot be loaded");
}

void check_redis_program(const struct patient *patient, struct finding *finding)
{
        _cleanup_free_ char *path = NULL;

        if (redis_program_find(&path) >= 0)
                finding_set(finding, CHECK_YES, NULL, "%s", path);
        else
                finding_set(
                        finding, CHECK_PARTLY,
                        "install it (Debian: redis-server, Fedora: valkey), or configure a Redis",
                        "no " REDIS_PROGRAM_NAMES " is in $PATH to start a private one");
}

static const char configure[] =
        "name one in pppctl.conf ([machines] redis = …), or install redis-server for a private one";

void check_redis(const struct patient *patient, struct finding *finding)
{
        const struct doctor *doctor = patient->doctor;
        _cleanup_free_ char *path = NULL;

        if (!doctor->is_daemon)
                finding_set(finding, CHECK_PARTLY,
                            "ask a daemon: start it, then pppctl doctor again",
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
                finding_set(finding, CHECK_NO, configure,
                            "none is configured, and there is no program for a private one");
}
