/*
 * systemd runs pppd-after-stop when the supervisor has ended (ExecStopPost= of pppd.service), in
 * the subgroup .control of the unit's cgroup. No supervisor runs at that time.
 *
 * After a stop nothing may be left, so it kills all processes of the unit and waits until they are
 * gone. After a crash runners keep running, and the next supervisor takes them over; then it does
 * nothing, except with --make-room. That option is for systemd before 254, which starts the next
 * supervisor in the unit's own cgroup. A cgroup that has controllers enabled for its children may
 * hold no process (cgroups(7), "no internal processes"), so they are disabled, bottom up. Until the
 * next supervisor sets the limits of running jobs again, they do not hold. From 254 on,
 * DelegateSubgroup= makes this unnecessary.
 *
 * If systemd does not restart the supervisor any more, nobody looks after jobs that still run, and
 * stopping a failed unit runs none of its programs. pppd-leftover.service is there for that case.
 * It runs this program twice:
 *
 *     --await UNIT     is its main process, and waits until the cgroup of UNIT is empty
 *     --end UNIT       is its ExecStopPost=: if the main process was ended by SIGTERM, and no
 *                      supervisor runs in UNIT, it kills what is left there, as after a stop
 */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "lib/cgroup.h"

#define EXIT_USAGE    2
#define CONTROL_GROUP ".control"
#define LEAF_GROUP    "supervisor"
#define WAIT_NS       (10 * NSEC_PER_SEC)
#define FOREVER       UINT64_MAX

typedef int group_func(int fd, const char *name);

static int complain(int error, const char *attempted, const char *name)
{
        fprintf(stderr, "<3>pppd-after-stop: cannot %s the cgroup %s: %s\n", attempted, name,
                strerror(-error));
        return error;
}

static void closedirp(DIR **dir)
{
        if (*dir)
                closedir(*dir);
}

static bool is_group(const struct dirent *entry)
{
        return entry->d_type == DT_DIR && !streq(entry->d_name, ".") &&
               !streq(entry->d_name, "..") && !streq(entry->d_name, CONTROL_GROUP);
}

/* Calls @func for each group directly below @fd, also after an error; returns the first error. */
static int for_each_group(int fd, group_func *func)
{
        _cleanup_close_ int dir_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *dir = dir_fd < 0 ? NULL : fdopendir(dir_fd);
        struct dirent *entry;
        int error = 0, r;

        if (!dir)
                return -errno;
        steal_fd(&dir_fd);
        for (errno = 0; (entry = readdir(dir)); errno = 0) {
                _cleanup_close_ int group_fd = -EBADF;

                if (!is_group(entry))
                        continue;
                group_fd =
                        openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                r = group_fd >= 0 ? func(group_fd, entry->d_name) : errno == ENOENT ? 0 : -errno;
                if (r < 0 && error == 0)
                        error = r;
        }
        return errno != 0 && error == 0 ? -errno : error;
}

static int kill_group(int fd, const char *name)
{
        int r = cgroup_kill(fd);

        return r < 0 && r != -ENODEV ? complain(r, "kill", name) : 0;
}

static int msec_until(uint64_t deadline, uint64_t now)
{
        return deadline == FOREVER ? -1 : (int)((deadline - now) / NSEC_PER_MSEC + 1);
}

/* -ETIME when the group is still populated at @deadline. */
static int wait_for_events(int events_fd, uint64_t deadline)
{
        struct pollfd events = { .fd = events_fd, .events = POLLPRI };
        bool populated;
        uint64_t now;
        int r;

        for (;;) {
                r = cgroup_events_read(events_fd, &populated, NULL);
                if (r < 0 || !populated)
                        return r;
                now = now_monotonic();
                if (now >= deadline)
                        return -ETIME;
                if (poll(&events, 1, msec_until(deadline, now)) < 0 && errno != EINTR)
                        return -errno;
        }
}

static int await_until(int fd, const char *name, uint64_t deadline)
{
        _cleanup_close_ int events_fd = -EBADF;
        int r;

        r = cgroup_events_open(fd, &events_fd);
        if (r >= 0)
                r = wait_for_events(events_fd, deadline);
        return r < 0 && r != -ENOENT && r != -ENODEV ? complain(r, "wait for the end of", name) : 0;
}

/* Called for each group after all of them were killed. */
static int await_group(int fd, const char *name)
{
        return await_until(fd, name, now_monotonic() + WAIT_NS);
}

static int kill_all(int fd)
{
        int error = for_each_group(fd, kill_group), r = for_each_group(fd, await_group);

        return error < 0 ? error : r;
}

static int disable_controllers(int fd)
{
        _cleanup_close_ int control_fd = openat(fd, "cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
        _cleanup_free_ char *text = NULL;
        char *word, *rest, request[32];
        int n, r;

        if (control_fd < 0)
                return -errno;
        r = read_file_at(fd, "cgroup.subtree_control", &text, NULL);
        if (r < 0)
                return r;
        rest = text;
        while ((word = strsep(&rest, " \n"))) {
                if (*word == 0)
                        continue;
                n = snprintf(request, sizeof(request), "-%s", word);
                if (n < 0 || (size_t)n >= sizeof(request))
                        return -ENAMETOOLONG;
                r = write_all(control_fd, request, (size_t)n);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A controller can't be disabled while a group below has it enabled for its own children. */
static int make_room(int fd, const char *name)
{
        int r = for_each_group(fd, make_room);

        if (r >= 0)
                r = disable_controllers(fd);
        return r < 0 && r != -ENODEV ? complain(r, "disable controllers in", name) : 0;
}

/*
 * Whether the supervisor was stopped, and did not crash, by $SERVICE_RESULT (systemd.exec(5)).
 * After a "timeout" it was told to stop but did not.
 */
static bool was_stopped(const char *result)
{
        return streq(result, "success") || streq(result, "timeout");
}

static int clean_up(int fd, const char *name, bool stopped, bool room)
{
        int error = stopped ? kill_all(fd) : 0, r;

        if (room) {
                r = make_room(fd, name);
                error = error < 0 ? error : r;
        }
        return error;
}

/*
 * Finds the unit's cgroup, which is the parent of ours. Returns 0 if ours is not called .control:
 * then no cgroup was delegated to the unit.
 */
static int locate_unit(char **ret_path)
{
        _cleanup_free_ char *mount = NULL, *own = NULL;
        char *slash;
        int r;

        r = cgroup_locate(&mount, &own);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        slash = strrchr(own, '/');
        if (!slash || !streq(slash + 1, CONTROL_GROUP))
                return 0;
        *slash = 0;
        return asprintf(ret_path, "%s%s", mount, own) < 0 ? -ENOMEM : 1;
}

static int run(const char *result, bool room)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = locate_unit(&path);
        if (r < 0)
                return complain(r, "find", "of the unit");
        if (r == 0)
                return 0;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return complain(-errno, "open", path);
        return clean_up(fd, path, was_stopped(result), room);
}

/*
 * Opens the cgroup of another unit in our slice. Returns 0 if that has none, and so no processes.
 */
static int open_neighbour(const char *unit, char **ret_path, int *ret_fd)
{
        _cleanup_free_ char *mount = NULL, *own = NULL, *path = NULL;
        int fd, r;

        r = cgroup_locate(&mount, &own);
        if (r < 0)
                return r == -ENOENT ? 0 : complain(r, "find", "of the unit");
        if (asprintf(&path, "%s%.*s/%s", mount, (int)(strrchr(own, '/') - own), own, unit) < 0)
                return complain(-ENOMEM, "open", unit);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : complain(-errno, "open", path);
        *ret_path = steal_ptr(path);
        *ret_fd = fd;
        return 1;
}

static int await(const char *unit)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r = open_neighbour(unit, &path, &fd);

        return r <= 0 ? r : await_until(fd, path, FOREVER);
}

static bool has_process(int fd, const char *procs)
{
        _cleanup_free_ char *text = NULL;

        return read_file_at(fd, procs, &text, NULL) >= 0 && *text;
}

/* A supervisor is in its own group, or still in the unit's group, where systemd has started it. */
static bool has_supervisor(int fd)
{
        return has_process(fd, "cgroup.procs") || has_process(fd, LEAF_GROUP "/cgroup.procs");
}

/* For a restart systemd sends RestartKillSignal=; then the next supervisor takes the jobs over. */
static int end(const char *unit)
{
        const char *status = getenv("EXIT_STATUS");
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!status || !streq(status, "TERM"))
                return 0;
        r = open_neighbour(unit, &path, &fd);
        return r <= 0 || has_supervisor(fd) ? r : kill_all(fd);
}

static int usage(void)
{
        fputs("pppd-after-stop: only for ExecStopPost= of pppd.service, with or without "
              "--make-room, and for pppd-leftover.service. See pppd.service(8)\n",
              stderr);
        return EXIT_USAGE;
}

int main(int argc, char **argv)
{
        const char *result = getenv("SERVICE_RESULT");
        bool room = argc == 2 && streq(argv[1], "--make-room");
        int r;

        if (hold_standard_fds() < 0)
                return EXIT_FAILURE;
        if (argc == 3 && streq(argv[1], "--await"))
                r = await(argv[2]);
        else if (result && argc == 3 && streq(argv[1], "--end"))
                r = end(argv[2]);
        else if (result && (argc == 1 || room))
                r = run(result, room);
        else
                return usage();
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
