#pragma once

/* Facts of the machine that do not change while the supervisor runs. */

struct host {
        char *kernel;    /* the kernel's release, from uname(2); owned */
        unsigned n_cpus; /* the number of CPUs that this process may use */
};

/* -ENOMEM, or the error of uname(2). */
int host_init(struct host *host);
void host_deinit(struct host *host);
