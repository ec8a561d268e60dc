#pragma once

#include <stdint.h>

/* Runs the job the supervisor handed over; @start_ns is the process's first instruction. */
int runner_main(uint64_t start_ns);
