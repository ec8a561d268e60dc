#pragma once

/* The machine that the supervisor runs on: what does not change meanwhile. */

struct host {
        char *kernel;    /* its release, as uname(2) has it; owned */
        unsigned n_cpus; /* that this process may use */
};

/* -ENOMEM, or what uname(2) says. */
int host_init(struct host *host);
void host_deinit(struct host *host);
