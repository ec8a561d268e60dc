/* The advice about a socket that one may not connect to. */

#include "cli/access.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/unit/test.h"

/* A file does: it is the permissions that count. */
static void advises(mode_t mode, gid_t gid, const char *expected, const char *never)
{
        char path[] = "/tmp/pppctl-test-access-XXXXXX";
        _cleanup_free_ char *advice = NULL;
        int fd = mkstemp(path);

        test_int(fd, >=, 0);
        /* Somebody else's, where that can be. */
        test_int(fchown(fd, getuid() == 0 ? 65534 : (uid_t)-1, gid), ==, 0);
        test_int(fchmod(fd, mode), ==, 0);
        close_fd(fd);
        advice = access_advice(path);
        (void)unlink(path);
        test_contains(advice, expected);
        test_contains(advice, "a pppd of your own");
        test_true(!strstr(advice, never));
}

static void test_nobody_else_may(void)
{
        advises(0600, (gid_t)-1, "alone, and no group may use it", "adduser");
        advises(0644, (gid_t)-1, "alone, and no group may use it", "adduser");
}

/* Only root may give a file to any group; others have one of their own. */
static void test_a_group_may(void)
{
        _cleanup_free_ char *expected = NULL, *own = NULL;
        const struct passwd *user;
        const struct group *group = getuid() == 0 ? getgrnam("daemon") : getgrgid(getgid());

        if (!group || group->gr_gid == 0)
                return;
        user = getpwuid(geteuid());
        own = user ? strdup(user->pw_name) : NULL;
        user = getpwuid(getuid() == 0 ? 65534 : getuid());
        if (!own || !user)
                return;
        test_int(asprintf(&expected,
                          "is for %s and the members of the group %s: sudo adduser %s %s, ",
                          user->pw_name, group->gr_name, own, group->gr_name),
                 >, 0);
        advises(0660, group->gr_gid, expected, "no group");
        advises(0640, group->gr_gid, "alone, and no group may use it", "adduser");
}

/* Nobody becomes a member of root's group for this. */
static void test_group_of_root(void)
{
        if (getuid() == 0)
                advises(0660, 0, "alone, and no group may use it", "adduser");
}

static void test_gone(void)
{
        _cleanup_free_ char *advice = access_advice("/tmp/no/such/socket");

        test_contains(advice, "ask whoever started it");
}

TEST_MAIN("access", { "nobody else may", test_nobody_else_may },
          { "a group may", test_a_group_may }, { "the group is root's", test_group_of_root },
          { "it is gone", test_gone })
