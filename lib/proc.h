#pragma once

#include "lib/util.h"

#define PROC_REMEDY "mount it first: mount -t proc proc /proc"

/*
 * Whether /proc is mounted and shows the PID namespace of this process: there is no other way to learn
 * when a process began or which cgroup it is in. 0; otherwise a negative errno and *@ret_why, static.
 */
int proc_check(const char **ret_why);
