/*
 * A cgroup v2 group, by its directory descriptor: make, populate, limit, freeze, watch, measure.
 * All of it consists of small writes and reads of the files in cgroups(7) and the kernel's
 * admin-guide/cgroup-v2.rst. cgroup-locate.c finds the hierarchy, cgroup-controllers.c deals with
 * controllers, cgroup-remove.c removes groups, cgroup-fork.c starts children, cgroup-kill.c kills.
 */

#include "lib/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

int cgroup_write(int fd, const char *file, const char *text)
{
        _cleanup_close_ int file_fd = openat(fd, file, O_WRONLY | O_CLOEXEC);

        if (file_fd < 0)
                return -errno;
        return write_all(file_fd, text, strlen(text));
}

static bool has_flag_xattr(int fd, const char *name)
{
        char value[2];

        return fgetxattr(fd, name, value, sizeof(value)) == 1 && value[0] == '1';
}

/*
 * systemd's docs/CGROUP_DELEGATION.md; reading the trusted one takes CAP_SYS_ADMIN, hence the other
 * (251).
 */
bool cgroup_is_delegated(int fd)
{
        return has_flag_xattr(fd, "user.delegate") || has_flag_xattr(fd, "trusted.delegate");
}

void cgroup_mark_made(int fd)
{
        (void)fsetxattr(fd, "user.pppctl.made", "1", 1, 0);
}

bool cgroup_is_marked_made(int fd)
{
        return has_flag_xattr(fd, "user.pppctl.made");
}

int cgroup_make(int parent_fd, const char *name, int *ret_fd)
{
        int fd;

        if (mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int cgroup_attach(int fd, pid_t pid)
{
        char text[24];

        snprintf(text, sizeof(text), "%d", pid);
        return cgroup_write(fd, "cgroup.procs", text);
}

int cgroup_freeze(int fd, bool freeze)
{
        return cgroup_write(fd, "cgroup.freeze", freeze ? "1" : "0");
}

int cgroup_events_open(int fd, int *ret_events_fd)
{
        int events_fd = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);

        if (events_fd < 0)
                return -errno;
        *ret_events_fd = events_fd;
        return 0;
}

static int parse_number(const char *text, uint64_t *ret)
{
        size_t n = strcspn(text, " \n");

        if (n == 3 && strncmp(text, "max", n) == 0) {
                *ret = UINT64_MAX;
                return 0;
        }
        return parse_u64(text, n, UINT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

/* The text after "@key " at the start of a line, or NULL. */
static const char *find_line(const char *text, const char *key)
{
        size_t n = strlen(key);

        while (text && *text) {
                if (strncmp(text, key, n) == 0 && text[n] == ' ')
                        return text + n + 1;
                text = strchr(text, '\n');
                if (text)
                        ++text;
        }
        return NULL;
}

int cgroup_find_keyed(const char *text, const char *key, uint64_t *ret)
{
        const char *value = find_line(text, key);

        return value ? parse_number(value, ret) : -ENOENT;
}

/*
 * kernfs notes at a read which event it showed (of->event), and poll compares with that; so the
 * read has to be of this descriptor, and from the start. "frozen" came with 5.2, "populated" was
 * always there.
 */
int cgroup_events_read(int events_fd, bool *ret_populated, bool *ret_frozen)
{
        uint64_t populated = 0, frozen = 0;
        char text[4096]; /* a kernfs file as short as this one is read in one piece */
        ssize_t n;
        int r;

        do
                n = pread(events_fd, text, sizeof(text) - 1, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != ENODEV)
                return -errno;
        if (n >= 0) {
                text[n] = 0;
                r = cgroup_find_keyed(text, "populated", &populated);
                if (r < 0)
                        return r;
                r = cgroup_find_keyed(text, "frozen", &frozen);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        if (ret_populated)
                *ret_populated = populated;
        if (ret_frozen)
                *ret_frozen = frozen;
        return 0;
}

int cgroup_read_u64(int fd, const char *file, uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file_at(fd, file, &text, NULL);
        return r < 0 ? r : parse_number(text, ret);
}

int cgroup_read_keyed(int fd, const char *file, const char *key, uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file_at(fd, file, &text, NULL);
        return r < 0 ? r : cgroup_find_keyed(text, key, ret);
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; Documentation/accounting/psi.rst, 4.20. */
int cgroup_read_pressure(int fd, const char *file, const char *kind, uint64_t *ret_usec)
{
        _cleanup_free_ char *text = NULL;
        const char *line, *total;
        int r;

        r = read_file_at(fd, file, &text, NULL);
        if (r < 0)
                return r;
        line = find_line(text, kind);
        if (!line)
                return -ENOENT;
        total = strstr(line, "total=");
        if (!total || total > strchrnul(line, '\n'))
                return -EBADMSG;
        return parse_number(total + strlen("total="), ret_usec);
}
