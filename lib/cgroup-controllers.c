/*
 * Controllers: which a group has, passing them on to its children, and, where one is missing, where
 * it is instead. A controller is either on the v2 hierarchy or on one of v1 (cgroups(7)); on v2 a
 * group has those that its parent's cgroup.subtree_control names.
 */

#include "lib/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>

#define NOTE     "user.pppctl.controllers"
#define NOTE_MAX 128

static const struct {
        enum cgroup_controller bit;
        const char *name, *enable, *v1_name;
} controllers[] = {
        { CGROUP_CPU, "cpu", "+cpu", "cpu" },     { CGROUP_CPUSET, "cpuset", "+cpuset", "cpuset" },
        { CGROUP_IO, "io", "+io", "blkio" },      { CGROUP_MEMORY, "memory", "+memory", "memory" },
        { CGROUP_PIDS, "pids", "+pids", "pids" },
};

static size_t find_row(enum cgroup_controller controller)
{
        size_t i = 0;

        while (controllers[i].bit != controller) {
                ++i;
                assert(i < ARRAY_SIZE(controllers));
        }
        return i;
}

const char *cgroup_controller_name(enum cgroup_controller controller)
{
        return controllers[find_row(controller)].name;
}

/* The names of controllers with spaces between; those that are not in the table are left out. */
static unsigned parse_controllers(char *text)
{
        unsigned set = 0;
        char *word;

        while ((word = strsep(&text, " \n")))
                for (size_t i = 0; i < ARRAY_SIZE(controllers); ++i)
                        if (streq(word, controllers[i].name))
                                set |= controllers[i].bit;
        return set;
}

/* Both cgroup.controllers and cgroup.subtree_control are one line of names. */
static int read_controllers(int fd, const char *file, unsigned *ret)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file_at(fd, file, &text, NULL);
        if (r < 0)
                return r;
        *ret = parse_controllers(text);
        return 0;
}

void cgroup_note_controllers(int fd, unsigned set)
{
        char text[NOTE_MAX] = "";
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(controllers); ++i)
                if (set & controllers[i].bit)
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ",
                                              controllers[i].name);
        (void)fsetxattr(fd, NOTE, text, n, 0);
}

unsigned cgroup_noted_controllers(int fd)
{
        char text[NOTE_MAX];
        ssize_t n = fgetxattr(fd, NOTE, text, sizeof(text) - 1);

        if (n < 0)
                return ~0U;
        text[n] = 0;
        return parse_controllers(text);
}

int cgroup_read_available(int fd, unsigned *ret)
{
        return read_controllers(fd, "cgroup.controllers", ret);
}

int cgroup_read_enabled(int fd, unsigned *ret)
{
        return read_controllers(fd, "cgroup.subtree_control", ret);
}

/* One write each, since a write of several is all or nothing: cpu may be refused and memory not. */
int cgroup_enable_some(int fd, unsigned wanted, unsigned *ret_enabled)
{
        unsigned available, enabled;
        int r, k, error = 0;

        r = cgroup_read_available(fd, &available);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(controllers); ++i) {
                if (!(available & wanted & controllers[i].bit))
                        continue;
                k = cgroup_write(fd, "cgroup.subtree_control", controllers[i].enable);
                if (k < 0 && error == 0)
                        error = k;
        }
        r = cgroup_read_enabled(fd, &enabled);
        if (r < 0)
                return r;
        *ret_enabled = enabled;
        return error;
}

int cgroup_enable_controllers(int fd, unsigned *ret_enabled)
{
        return cgroup_enable_some(fd, ~0U, ret_enabled);
}

/* Whether the comma-separated @list has @name. */
static bool has_word(const char *list, const char *name)
{
        size_t n = strlen(name);

        for (; *list; list += strcspn(list, ","), list += *list == ',')
                if (strncmp(list, name, n) == 0 && (list[n] == ',' || list[n] == 0))
                        return true;
        return false;
}

/* "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory" */
static bool is_v1_mount(char *line, const char *name, const char **ret_point)
{
        char *dash = strstr(line, " - cgroup "), *point = line, *end, *options;

        if (!dash)
                return false;
        options = strrchr(dash + strlen(" - cgroup "), ' ');
        if (!options || !has_word(options + 1, name))
                return false;
        for (unsigned i = 0; i < 4; ++i) {
                point = strchr(point, ' ');
                if (!point || point >= dash)
                        return false;
                ++point;
        }
        end = strchr(point, ' ');
        *end = 0;
        *ret_point = point;
        return true;
}

static int find_v1_mount(const char *mountinfo, const char *name, char **ret_point)
{
        _cleanup_free_ char *text = strdup(mountinfo);
        char *rest = text, *line;
        const char *point;

        if (!text)
                return -ENOMEM;
        while ((line = strsep(&rest, "\n")))
                if (is_v1_mount(line, name, &point)) {
                        *ret_point = strdup(point);
                        return *ret_point ? 0 : -ENOMEM;
                }
        return -ENOENT;
}

/* "memory	4	19	1": name, hierarchy (0 is v2, or none), number of groups, enabled.
 */
static enum cgroup_place place_by_list(const char *proc_cgroups, const char *name)
{
        size_t n = strlen(name);
        int hierarchy, enabled;

        for (const char *line = proc_cgroups; line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, name, n) != 0 || line[n] != '\t' ||
                    sscanf(line + n, "%d %*d %d", &hierarchy, &enabled) != 2)
                        continue;
                if (!enabled)
                        return CGROUP_PLACE_DISABLED;
                return hierarchy == 0 ? CGROUP_PLACE_WITHHELD : CGROUP_PLACE_V1;
        }
        return CGROUP_PLACE_ABSENT;
}

int cgroup_find_controller_in(enum cgroup_controller controller, const char *mountinfo,
                              const char *proc_cgroups, struct cgroup_whereabouts *ret)
{
        const char *name = controllers[find_row(controller)].v1_name;
        char *point = NULL;
        int r;

        r = find_v1_mount(mountinfo, name, &point);
        if (r < 0 && r != -ENOENT)
                return r;
        *ret = (struct cgroup_whereabouts){
                r == 0 ? CGROUP_PLACE_V1 : place_by_list(proc_cgroups, name),
                point,
        };
        return 0;
}

static int find_elsewhere(enum cgroup_controller controller, struct cgroup_whereabouts *ret)
{
        _cleanup_free_ char *mountinfo = NULL, *list = NULL;
        int r;

        r = read_file_at(AT_FDCWD, "/proc/self/mountinfo", &mountinfo, NULL);
        if (r >= 0)
                r = read_file_at(AT_FDCWD, "/proc/cgroups", &list, NULL);
        return r < 0 ? r : cgroup_find_controller_in(controller, mountinfo, list, ret);
}

static bool group_has(const char *path, enum cgroup_controller controller)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        unsigned available;

        return fd >= 0 && cgroup_read_available(fd, &available) >= 0 && available & controller;
}

/*
 * The deepest of the groups from @mount to @group that has the controller: that one withholds it.
 */
static char *find_withholding(enum cgroup_controller controller, const char *mount,
                              const char *group)
{
        char *path = strdup(group), *slash;

        while (path && strlen(path) > strlen(mount) && !group_has(path, controller)) {
                slash = strrchr(path, '/');
                if (!slash || slash < path + strlen(mount))
                        break;
                *slash = 0;
        }
        return path;
}

int cgroup_find_controller(enum cgroup_controller controller, const char *mount, const char *group,
                           struct cgroup_whereabouts *ret)
{
        if (group_has(group, controller)) {
                *ret = (struct cgroup_whereabouts){ CGROUP_PLACE_HERE, NULL };
                return 0;
        }
        if (!group_has(mount, controller))
                return find_elsewhere(controller, ret);
        *ret = (struct cgroup_whereabouts){ CGROUP_PLACE_WITHHELD,
                                            find_withholding(controller, mount, group) };
        return ret->path ? 0 : -ENOMEM;
}

char *cgroup_explain(enum cgroup_controller controller, const struct cgroup_whereabouts *where)
{
        const char *name = cgroup_controller_name(controller), *path = where->path;
        char *text = NULL;
        int r = -1;

        switch (where->place) {
        case CGROUP_PLACE_HERE:
                r = asprintf(&text, "the %s controller is here, on cgroup v2", name);
                break;
        case CGROUP_PLACE_WITHHELD:
                r = asprintf(&text, "the %s controller is not delegated: %s%s does not pass it on",
                             name,
                             path ? "cgroup.subtree_control of "
                                  : "a cgroup outside of this container",
                             path ?: "");
                break;
        case CGROUP_PLACE_V1:
                r = asprintf(&text, "the %s controller sits on cgroup v1%s%s", name,
                             path ? ", at " : "", path ?: "");
                break;
        case CGROUP_PLACE_DISABLED:
                r = asprintf(&text, "the %s controller was switched off at boot (cgroup_disable=)",
                             name);
                break;
        case CGROUP_PLACE_ABSENT:
                r = asprintf(&text, "this kernel was built without the %s controller", name);
                break;
        }
        return r < 0 ? NULL : text;
}

const char *cgroup_advise(const struct cgroup_whereabouts *where)
{
        switch (where->place) {
        case CGROUP_PLACE_WITHHELD:
                return "start the daemon as a systemd service with Delegate=cpu cpuset io memory "
                       "pids (its own one has that); for a user's daemon, also put that in a "
                       "drop-in of user@.service";
        case CGROUP_PLACE_V1:
                return "boot with systemd.unified_cgroup_hierarchy=1, or unmount that hierarchy";
        case CGROUP_PLACE_DISABLED:
                return "take cgroup_disable= off the kernel's command line";
        case CGROUP_PLACE_ABSENT:
                return "boot a kernel of your distribution: all of them have it";
        case CGROUP_PLACE_HERE:
                break;
        }
        return "";
}
