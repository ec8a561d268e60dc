#pragma once

#include <stdint.h>

/* Runs the job the supervisor handed over, of number @job; @start_ns is the process's first
 * instruction. */
int runner_main(uint64_t start_ns, const char *job);

/* Serves as a node of other machines' jobs, or lists the nodes; see lib/runner-abi.h. */
int node_main(void);
int nodes_main(void);
