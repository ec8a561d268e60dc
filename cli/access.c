#include "cli/access.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/util.h"

#define OWN                                                                                     \
        "use a pppd of your own: systemctl --user start pppd, or build/pppd-supervisor from a " \
        "build tree"

/* The file whose mode keeps us out, and the permission that we lack, as the bit of the group's. */
struct gate {
        char *path; /* owned */
        bool is_socket;
        mode_t bit;
        struct stat st;
};

static void gate_deinit(struct gate *gate)
{
        free(gate->path);
}

/* The first directory on the way that may not be searched, else the socket itself. */
static int find_gate(const char *path, struct gate *gate)
{
        gate->path = strdup(path);
        if (!gate->path)
                return -ENOMEM;
        for (char *slash = strchr(gate->path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                if (faccessat(AT_FDCWD, gate->path, X_OK, AT_EACCESS) < 0 && errno == EACCES) {
                        gate->bit = S_IXGRP;
                        return stat(gate->path, &gate->st) < 0 ? -errno : 0;
                }
                *slash = '/';
        }
        /* connect(2) wants to write. */
        gate->bit = S_IWGRP;
        gate->is_socket = true;
        return stat(gate->path, &gate->st) < 0 ? -errno : 0;
}

/* Returns a copy, since the library has one buffer for all calls. */
static char *user_name(uid_t uid)
{
        const struct passwd *user = getpwuid(uid);
        char *text;

        if (user)
                return strdup(user->pw_name);
        return asprintf(&text, "user %u", uid) < 0 ? NULL : text;
}

/*
 * The group that has the permission. NULL when no group has it, or only root's, of which nobody is
 * made a member.
 */
static const char *group_that_may(const struct gate *gate)
{
        const struct group *group = gate->st.st_mode & gate->bit && gate->st.st_gid != 0
                                            ? getgrgid(gate->st.st_gid)
                                            : NULL;

        return group ? group->gr_name : NULL;
}

char *access_advice(const char *path)
{
        _cleanup_(gate_deinit) struct gate gate = { .path = NULL };
        _cleanup_free_ char *owner = NULL, *own = NULL;
        const char *group, *what;
        char *text;
        int r;

        r = find_gate(path, &gate);
        if (r == -ENOMEM)
                return NULL;
        if (r < 0)
                return strdup("ask whoever started it, or " OWN);
        owner = user_name(gate.st.st_uid);
        own = user_name(geteuid());
        if (!owner || !own)
                return NULL;
        what = gate.is_socket ? "socket" : "directory";
        group = group_that_may(&gate);
        if (group)
                r = asprintf(&text,
                             "its %s%s%s is for %s and the members of the group %s: sudo adduser "
                             "%s %s, which counts from the next login on, or " OWN,
                             what, gate.is_socket ? "" : " ", gate.is_socket ? "" : gate.path,
                             owner, group, own, group);
        else
                r = asprintf(
                        &text,
                        "its %s%s%s is for %s alone, and no group may use it: work as %s, or " OWN,
                        what, gate.is_socket ? "" : " ", gate.is_socket ? "" : gate.path, owner,
                        owner);
        return r < 0 ? NULL : text;
}
