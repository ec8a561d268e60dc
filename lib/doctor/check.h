#pragma once

/* The part that all checks share: their findings, and the cgroup in which they try things. */

#include "lib/cgroup.h"
#include "lib/doctor/doctor.h"

struct patient {
        const struct doctor *doctor;
        char *mount; /* of cgroup2; NULL: none */
        char *base;  /* the group jobs' would be made in; NULL: none */
        int base_fd;
        int try_fd;    /* a group of the doctor's own in it; -EBADF: it can't be made */
        int try_error; /* then why */
};

struct finding {
        enum check_status status;
        char *detail; /* owned; NULL: out of memory */
        char *remedy; /* owned; NULL: nothing to be done, or out of memory */
};

typedef void check_look(const struct patient *patient, struct finding *finding);

void finding_deinit(struct finding *finding);

/* Sets all members. @remedy is ignored when all is well. */
void finding_set(struct finding *finding, enum check_status status, const char *remedy,
                 const char *detail, ...) _printf_(4, 5);

/*
 * Runs @work in a child, which writes its findings to a descriptor; reads at most @size bytes of
 * them. Returns their number, or a negative errno: -ECHILD when a signal ended the child,
 * *ret_signal then.
 */
ssize_t check_in_child(void (*work)(int fd), void *ret, size_t size, int *ret_signal);

check_look check_kernel, check_proc, check_pidfd, check_psi; /* kernel.c */
check_look check_cgroup_mount, check_jobs_group, check_cgroup_kill, check_cgroup_freeze,
        check_clone, check_threaded; /* cgroup.c */
check_look check_cpu, check_cpuset, check_memory, check_pids, check_io, check_memory_peak,
        check_pids_peak, check_io_max, check_swap_max;                          /* controllers.c */
check_look check_uring, check_uring_setup, check_uring_msg, check_uring_waitid; /* uring.c */
check_look check_curl;                                                          /* curl.c */
check_look check_redis_client, check_redis_tls, check_redis_program, check_redis; /* machines.c */
check_look check_descriptors, check_nice, check_queue, check_state;               /* process.c */
