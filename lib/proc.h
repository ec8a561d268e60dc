#pragma once

#include "lib/fault.h"
/*
 * Whether /proc is mounted and shows the PID namespace of this process: there is no other way to
 * learn when a process began or which cgroup it is in. 0; otherwise a negative errno and @fault.
 */
int proc_check(struct fault *fault);

/*
 * Bytes that processes may still take before this machine has to kill one: MemAvailable and
 * SwapFree of @text, which is that of /proc/meminfo (proc(5)). -EBADMSG: it does not say.
 */
int meminfo_available(const char *text, uint64_t *ret);

/* The same number for this machine, now; a negative errno where it is not known. */
int memory_available(uint64_t *ret);
