/*
 * Where cgroup2 is mounted, and where in it this process is.
 *
 * A machine may have several cgroup2 mounts: bind mounts, containers (whose mount shows a subtree
 * only, the "root" field of mountinfo), or, on a hybrid machine, /sys/fs/cgroup/unified beside the
 * v1 mounts and under a tmpfs. We need one that shows our own group; one that may be written is
 * better. See proc(5), cgroup_namespaces(7).
 */

#include "lib/cgroup.h"

#include <fcntl.h>
#include <stdio.h>

enum {
        MOUNT_ID,
        MOUNT_PARENT,
        MOUNT_DEVICE,
        MOUNT_ROOT,
        MOUNT_POINT,
        MOUNT_OPTIONS,
        _MOUNT_FIELDS,
};

static bool is_octal(const char *digits)
{
        return strspn(digits, "01234567") >= 3;
}

/*
 * The kernel writes space, tab, newline, backslash and # as \ooo (seq_path, mangle_path). In place.
 */
static void unescape(char *text)
{
        char *to = text;

        for (const char *from = text; *from; ++to) {
                if (from[0] == '\\' && is_octal(from + 1)) {
                        *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
                        from += 4;
                } else {
                        *to = *from++;
                }
        }
        *to = 0;
}

/*
 * "36 35 98:0 /root /point rw,noatime master:1 - cgroup2 cgroup2 rw": the optional fields before
 * the dash are of any number. Cuts @line into its fields; false if this is no cgroup2.
 */
static bool parse_mount(char *line, char *fields[static _MOUNT_FIELDS])
{
        char *dash = strstr(line, " - ");

        if (!dash || strncmp(dash, " - cgroup2 ", strlen(" - cgroup2 ")) != 0)
                return false;
        *dash = 0;
        for (int i = 0; i < _MOUNT_FIELDS; ++i) {
                fields[i] = strsep(&line, " ");
                if (!fields[i])
                        return false;
        }
        unescape(fields[MOUNT_ROOT]);
        unescape(fields[MOUNT_POINT]);
        return true;
}

/* The part of @own below @root, "/" for the root itself; NULL if @own is not below it. */
static const char *path_below(const char *root, const char *own)
{
        size_t n = strlen(root);

        if (streq(root, "/"))
                return own;
        if (strncmp(own, root, n) != 0)
                return NULL;
        if (own[n] == 0)
                return "/";
        return own[n] == '/' ? own + n : NULL;
}

static bool is_read_only(const char *options)
{
        return strncmp(options, "ro", 2) == 0 && (options[2] == 0 || options[2] == ',');
}

/*
 * The line "0::/path"; a name in it can't contain a newline, since the kernel's cgroup_mkdir()
 * refuses that.
 */
static int parse_own(const char *proc_cgroup, char **ret)
{
        char *own;

        while (proc_cgroup && *proc_cgroup) {
                if (strncmp(proc_cgroup, "0::/", 4) == 0) {
                        own = strndup(proc_cgroup + 3, strcspn(proc_cgroup + 3, "\n"));
                        if (!own)
                                return -ENOMEM;
                        *ret = own;
                        return 0;
                }
                proc_cgroup = strchr(proc_cgroup, '\n');
                if (proc_cgroup)
                        ++proc_cgroup;
        }
        return -ENOENT;
}

/* Chooses among the lines of @mountinfo, which it splits in place; the results point into its
 * arguments. */
static int pick_mount(char *mountinfo, const char *own, const char **ret_point,
                      const char **ret_below)
{
        const char *point = NULL, *point_below = NULL, *below;
        char *fields[_MOUNT_FIELDS], *line;
        bool writable = false;

        while ((line = strsep(&mountinfo, "\n"))) {
                if (!parse_mount(line, fields))
                        continue;
                below = path_below(fields[MOUNT_ROOT], own);
                if (!below || writable || (point && is_read_only(fields[MOUNT_OPTIONS])))
                        continue;
                writable = !is_read_only(fields[MOUNT_OPTIONS]);
                point = fields[MOUNT_POINT];
                point_below = below;
        }
        if (!point)
                return -ENOENT;
        *ret_point = point;
        *ret_below = point_below;
        return 0;
}

int cgroup_locate_in(const char *mountinfo, const char *proc_cgroup, char **ret_mount,
                     char **ret_own)
{
        _cleanup_free_ char *own = NULL, *text = NULL, *mount = NULL;
        const char *point, *below;
        int r;

        r = parse_own(proc_cgroup, &own);
        if (r < 0)
                return r;
        text = strdup(mountinfo);
        if (!text)
                return -ENOMEM;
        r = pick_mount(text, own, &point, &below);
        if (r < 0)
                return r;
        mount = strdup(point);
        if (!mount)
                return -ENOMEM;
        memmove(own, below, strlen(below) + 1);
        *ret_mount = steal_ptr(mount);
        *ret_own = steal_ptr(own);
        return 0;
}

int cgroup_locate(char **ret_mount, char **ret_own)
{
        _cleanup_free_ char *mountinfo = NULL, *proc_cgroup = NULL;
        int r;

        r = read_file_at(AT_FDCWD, "/proc/self/mountinfo", &mountinfo, NULL);
        if (r < 0)
                return r;
        r = read_file_at(AT_FDCWD, "/proc/self/cgroup", &proc_cgroup, NULL);
        if (r < 0)
                return r;
        return cgroup_locate_in(mountinfo, proc_cgroup, ret_mount, ret_own);
}
