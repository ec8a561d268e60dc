#include "daemon/supervisor/base/host.h"

#include <sched.h>
#include <sys/utsname.h>

#include "lib/util.h"

int host_init(struct host *host)
{
        struct utsname name;
        cpu_set_t set;

        *host = (struct host){ NULL, 1 };
        if (uname(&name) < 0)
                return -errno;
        /* More than 1024 CPUs do not fit into the set; then all that are online are counted. */
        if (sched_getaffinity(0, sizeof(set), &set) >= 0)
                host->n_cpus = (unsigned)CPU_COUNT(&set);
        else
                host->n_cpus = (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
        host->kernel = strdup(name.release);
        return host->kernel ? 0 : -ENOMEM;
}

void host_deinit(struct host *host)
{
        free(host->kernel);
        host->kernel = NULL;
}
