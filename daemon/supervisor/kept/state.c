#include "daemon/supervisor/kept/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "daemon/supervisor/base/failure.h"
#include "daemon/supervisor/base/log.h"
#include "lib/process-lock.h"

/* Makes the directory for us alone, and its parents with the usual mode. */
static int make_directories(const char *path)
{
        _cleanup_free_ char *copy = strdup(path);

        if (!copy)
                return -ENOMEM;
        for (char *at = copy; (at = strchr(at + 1, '/'));) {
                *at = 0;
                if (mkdir(copy, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *at = '/';
        }
        return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_directory(int at_fd, const char *path)
{
        int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

/* Another user who owned the directory could replace our files. */
static int check_owner(int fd, const char *path, struct fault *fault)
{
        struct stat st;

        if ((fd < 0 ? stat(path, &st) : fstat(fd, &st)) < 0)
                return fault_errno(fault, -errno, NULL, "look at the state directory %s", path);
        if (st.st_uid == geteuid())
                return 0;
        (void)fault_say(fault, -EPERM,
                        "give it to that user (chown), or give another directory with --state DIR",
                        "it belongs to user %u, and the daemon runs as user %u", st.st_uid,
                        geteuid());
        return fault_attempt(fault, "use the state directory %s", path);
}

/*
 * Inputs and results concern their owner alone, and so do the files that tell about them. So nobody
 * else may read ours, even if somebody, or an earlier version, has made them with wider
 * permissions. New files get the right permissions from the umask, see state_init().
 */
static int make_private(int at_fd, const char *name, const char *path)
{
        struct stat st;

        if (fstatat(at_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISLNK(st.st_mode) || st.st_uid != geteuid() || !(st.st_mode & 077))
                return 0;
        if (fchmodat(at_fd, name, st.st_mode & 0700, 0) < 0)
                return -errno;
        supervisor_log(LOG_NOTICE, "other users had access to %s/%s (mode %04o), and now have none",
                       path, name, st.st_mode & 07777);
        return 0;
}

static int make_all_private(int fd, const char *path)
{
        static const char *const names[] = { ".",           "jobs",  "jobs.db", "jobs.db-wal",
                                             "jobs.db-shm", "redis", "lock",    "instance" };
        int r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(names) && r >= 0; ++i)
                r = make_private(fd, names[i], path);
        return r;
}

static int locked(const char *path, pid_t holder, struct fault *fault)
{
        char process[32] = "";

        if (holder > 0)
                snprintf(process, sizeof(process), ", process %d", holder);
        (void)fault_say(fault, -EWOULDBLOCK,
                        "stop that one, or give another directory with --state DIR",
                        "another pppd-supervisor uses it%s", process);
        return fault_attempt(fault, "use the state directory %s", path);
}

static int lock(struct state *state, const char *path, struct fault *fault)
{
        pid_t holder;
        int r;

        state->lock_fd = openat(state->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (state->lock_fd < 0)
                return fault_errno(fault, -errno, failure_advice(-errno), "make %s/lock", path);
        r = process_lock(state->lock_fd, &holder);
        if (r == -EBUSY)
                return locked(path, holder, fault);
        if (r < 0)
                return fault_errno(fault, r, "give another directory with --state DIR",
                                   "lock %s/lock", path);
        return 0;
}

static bool is_instance(const char *text)
{
        return strspn(text, "0123456789abcdef") == INSTANCE_DIGITS &&
               (text[INSTANCE_DIGITS] == '\n' || text[INSTANCE_DIGITS] == 0);
}

static int make_instance(struct state *state)
{
        _cleanup_close_ int fd = -EBADF;
        uint32_t random;

        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                return -errno;
        snprintf(state->instance, sizeof(state->instance), "%08x", random);
        fd = openat(state->fd, "instance", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                    0600);
        return fd < 0 ? -errno : write_all(fd, state->instance, INSTANCE_DIGITS);
}

static int read_instance(struct state *state)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file_at(state->fd, "instance", &text, NULL);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r < 0 || !is_instance(text))
                return make_instance(state);
        memcpy(state->instance, text, INSTANCE_DIGITS);
        return 0;
}

static int make_jobs(struct state *state)
{
        if (mkdirat(state->fd, "jobs", 0700) < 0 && errno != EEXIST)
                return -errno;
        state->jobs_fd = open_directory(state->fd, "jobs");
        return state->jobs_fd < 0 ? state->jobs_fd : 0;
}

int state_init(struct state *state, const char *path, struct fault *fault)
{
        int r;

        *state = (struct state)STATE_NULL;
        /* This holds for the files that SQLite, Redis and runners make, too. */
        (void)umask(077);
        r = make_directories(path);
        if (r >= 0)
                r = state->fd = open_directory(AT_FDCWD, path);
        if (r == -EACCES && access(path, F_OK) >= 0 && check_owner(-EBADF, path, fault) < 0)
                return r;
        if (r < 0) {
                (void)fault_errno(fault, r, NULL, "make the state directory %s", path);
                return fault_advise(fault, "%s, or give another with --state DIR",
                                    failure_advice(r));
        }
        r = check_owner(state->fd, path, fault);
        if (r >= 0)
                r = lock(state, path, fault);
        if (r < 0)
                return r;
        r = make_all_private(state->fd, path);
        if (r >= 0)
                r = read_instance(state);
        if (r >= 0)
                r = make_jobs(state);
        if (r < 0)
                return fault_errno(fault, r, failure_advice(r), "write in the state directory %s",
                                   path);
        return 0;
}

void state_deinit(struct state *state)
{
        state->jobs_fd = close_fd(state->jobs_fd);
        state->lock_fd = close_fd(state->lock_fd);
        state->fd = close_fd(state->fd);
}
