#pragma once

/*
 * The part of cgroup v2 that pppd uses: find the hierarchy and our own place in it, make and remove
 * groups below, kill and watch them, read their counters. Groups are directory descriptors; a name
 * is used only to make or remove. Sources: cgroups(7), the kernel's admin-guide/cgroup-v2.rst.
 */

#include "lib/util.h"

/*
 * Finds where cgroup2 is mounted (/proc/self/mountinfo; /sys/fs/cgroup, or /sys/fs/cgroup/unified
 * on a hybrid machine) and this process's own group (/proc/self/cgroup, "0::"). Both allocated;
 * *ret_own starts with a slash and is below *ret_mount, so that the two together are the group's
 * directory. -ENOENT when there is no cgroup2 mount, or none that shows this process's group (in
 * some containers).
 */
int cgroup_locate(char **ret_mount, char **ret_own);

/* The same from the text of both files; for tests. */
int cgroup_locate_in(const char *mountinfo, const char *proc_cgroup, char **ret_mount,
                     char **ret_own);

/* Whether systemd delegated the group to us: xattr trusted.delegate or user.delegate is "1". */
bool cgroup_is_delegated(int fd);

/*
 * Marks a group as made by one of our programs, by an extended attribute (5.7), so that a later one
 * may remove it. If the mark cannot be set, only that is lost.
 */
void cgroup_mark_made(int fd);
bool cgroup_is_marked_made(int fd);

/* Makes (or opens, if it exists) the group @name below @parent_fd; O_DIRECTORY descriptor. */
int cgroup_make(int parent_fd, const char *name, int *ret_fd);

/* Writes one of the group's files. */
int cgroup_write(int fd, const char *file, const char *text);

/* Moves a process. cgroup.procs, one write. */
int cgroup_attach(int fd, pid_t pid);

/*
 * Enables for the children of @fd each controller that it has. Returns 0 when all are enabled, else
 * the first error: -EBUSY while the group itself holds processes. *ret_enabled: bit set of those
 * that are enabled now; set also after such an error, since some may be.
 */
enum cgroup_controller {
        CGROUP_CPU = 1 << 0,
        CGROUP_CPUSET = 1 << 1,
        CGROUP_IO = 1 << 2,
        CGROUP_MEMORY = 1 << 3,
        CGROUP_PIDS = 1 << 4,
};
int cgroup_enable_controllers(int fd, unsigned *ret_enabled);

/* The same for those in the bit set @wanted only. Threaded groups take cpu, cpuset and pids. */
int cgroup_enable_some(int fd, unsigned wanted, unsigned *ret_enabled);

/* As bit sets: what the group @fd itself has (cgroup.controllers), and what it passes on to its
 * children. */
int cgroup_read_available(int fd, unsigned *ret);
int cgroup_read_enabled(int fd, unsigned *ret);

/*
 * Notes with the group, in an extended attribute (5.7), which controllers it passed on from the
 * beginning: a bit set, all bits set where there is no note, as of a group that an older version
 * made.
 */
void cgroup_note_controllers(int fd, unsigned set);
unsigned cgroup_noted_controllers(int fd);

/* "memory" */
const char *cgroup_controller_name(enum cgroup_controller controller);

/*
 * The place of a controller, seen from the group whose directory is @group below the mount @mount.
 */
enum cgroup_place {
        CGROUP_PLACE_HERE,     /* the group has it */
        CGROUP_PLACE_WITHHELD, /* it is on v2, and a group above does not pass it on */
        CGROUP_PLACE_V1,
        CGROUP_PLACE_DISABLED, /* by cgroup_disable= */
        CGROUP_PLACE_ABSENT,   /* not in this kernel */
};
struct cgroup_whereabouts {
        enum cgroup_place place;
        char *path; /* owned: the group that withholds it, or the v1 mount; may be NULL */
};
int cgroup_find_controller(enum cgroup_controller controller, const char *mount, const char *group,
                           struct cgroup_whereabouts *ret);

/* The part that looks into /proc/self/mountinfo and /proc/cgroups; for tests. */
int cgroup_find_controller_in(enum cgroup_controller controller, const char *mountinfo,
                              const char *proc_cgroups, struct cgroup_whereabouts *ret);

/*
 * A sentence that says why it is not here, owned by the caller, NULL when out of memory; and what
 * to do.
 */
char *cgroup_explain(enum cgroup_controller controller, const struct cgroup_whereabouts *where);
const char *cgroup_advise(const struct cgroup_whereabouts *where);

/*
 * SIGKILL to all below, by cgroup.kill (5.14) or else by cgroup_kill_each(). Asynchronous: wait for
 * populated 0.
 */
int cgroup_kill(int fd);

/*
 * The same, process by process; public for tests. -EAGAIN if new processes still came after many
 * attempts. A group that is gone has none.
 */
int cgroup_kill_each(int fd);

/* cgroup.freeze (5.2). Asynchronous too: "frozen 1" in cgroup.events. */
int cgroup_freeze(int fd, bool freeze);

/*
 * An open cgroup.events: poll it for POLLPRI, then read it with cgroup_events_read(), which also
 * arms it again. Either of the outputs may be NULL. A group that is gone reads as not populated.
 */
int cgroup_events_open(int fd, int *ret_events_fd);
int cgroup_events_read(int events_fd, bool *ret_populated, bool *ret_frozen);

/*
 * Removes the group @name and all groups below it, leaves first. -EBUSY while populated. 0 if gone.
 */
int cgroup_remove(int parent_fd, const char *name);

/*
 * Counters. Each reads one file of the group; -ENOENT where the file or the key is not there (the
 * controller is not enabled, the kernel is older), -EOPNOTSUPP for pressure where the kernel was
 * started with psi=0, -ENODEV for a group that is gone; so that the caller can say so instead of 0.
 * -EBADMSG: no number. "max" reads as UINT64_MAX.
 */
int cgroup_read_u64(int fd, const char *file, uint64_t *ret);
/* "user_usec" of cpu.stat, "oom_kill" of memory.events, … */
int cgroup_read_keyed(int fd, const char *file, const char *key, uint64_t *ret);
/* The same in @text, for several keys of one reading. */
int cgroup_find_keyed(const char *text, const char *key, uint64_t *ret);
/* total= of the line @kind ("some", "full") of a *.pressure file, in microseconds */
int cgroup_read_pressure(int fd, const char *file, const char *kind, uint64_t *ret_usec);

/*
 * A child born inside the group (clone3 with CLONE_INTO_CGROUP, 5.7, and CLONE_PIDFD). Like fork():
 * returns in both; 0 in the child; but pthread_atfork() handlers do not run. @cgroup_fd -EBADF: in
 * the caller's own group. The child of a threaded parent may only call async-signal-safe functions.
 * Where a filter forbids clone3 (systemd's RestrictNamespaces=, older container runtimes) the child
 * moves itself into the group before this returns. Negative errno: -EBUSY for a
 * group that has controllers enabled for its children, -EACCES and -EPERM where cgroup.procs of the
 * group or of the common ancestor may not be written, -ENOENT or -ENODEV when the group is gone.
 */
pid_t cgroup_fork(int cgroup_fd, int *ret_pidfd);

/*
 * The same for a parent that must not wait for the child, whose group may be frozen or throttled.
 * In the child *@ret_procs_fd is -EBADF, or else it is not in the group yet: it moves there by
 * writing "0" to that.
 */
pid_t cgroup_fork_unmoved(int cgroup_fd, int *ret_pidfd, int *ret_procs_fd);

/* Whether a filter forbids clone3, so that children move into their groups instead of being born
 * there. */
bool cgroup_clone3_is_forbidden(void);
