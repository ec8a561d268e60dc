/* Finding the hierarchy in what the kernel writes: hybrid machines, containers, odd paths. */

#include "lib/cgroup.h"
#include "tests/unit/test.h"

#define UNIFIED \
        "31 24 0:27 / /sys/fs/cgroup rw,nosuid,noexec,relatime shared:9 - cgroup2 cgroup2 rw\n"
#define MOUNT(root, point, options) "1 2 0:3 " root " " point " " options " - cgroup2 none rw\n"
#define HYBRID                                                                 \
        "30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n"    \
        "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n" \
        "32 30 0:28 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
#define HYBRID_CGROUP "5:memory:/v1\n1:name=systemd:/v1\n0::/user.slice/a\n"

static void expect_found(const char *mountinfo, const char *proc_cgroup, const char *mount,
                         const char *own)
{
        _cleanup_free_ char *got_mount = NULL, *got_own = NULL;

        test_int(cgroup_locate_in(mountinfo, proc_cgroup, &got_mount, &got_own), ==, 0);
        test_str(got_mount, mount);
        test_str(got_own, own);
}

static void expect_none(const char *mountinfo, const char *proc_cgroup)
{
        char *mount = NULL, *own = NULL;

        test_int(cgroup_locate_in(mountinfo, proc_cgroup, &mount, &own), ==, -ENOENT);
        test_true(!mount && !own);
}

static void test_unified(void)
{
        expect_found(UNIFIED, "0::/\n", "/sys/fs/cgroup", "/");
        expect_found(UNIFIED, "0::/system.slice/pppd.service\n", "/sys/fs/cgroup",
                     "/system.slice/pppd.service");
        expect_found(UNIFIED, "0::/no newline", "/sys/fs/cgroup", "/no newline");
}

static void test_hybrid(void)
{
        expect_found(HYBRID, HYBRID_CGROUP, "/sys/fs/cgroup/unified", "/user.slice/a");
}

static void test_none(void)
{
        expect_none("", "0::/\n");
        expect_none(UNIFIED, "");
        expect_none(UNIFIED, "1:name=systemd:/0::/\n");
        expect_none("32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "0::/a\n");
        /* a name that only looks like the type, lines cut short */
        expect_none("1 2 0:3 / /x rw - tmpfs cgroup2 rw\n", "0::/a\n");
        expect_none("1 2 0:3 / - cgroup2 cgroup2 rw\n", "0::/a\n");
        expect_none(" - cgroup2 \n - cgroup2\n-\n\n", "0::/a\n");
}

static void test_escapes(void)
{
        expect_found(MOUNT("/", "/a\\040b\\134c\\011\\012\\043\\377", "rw"), "0::/x\n",
                     "/a b\\c\t\n#\377", "/x");
        expect_found(MOUNT("/", "/a\\04\\0", "rw"), "0::/x\n", "/a\\04\\0", "/x");
        expect_found(MOUNT("/r\\040t", "/m", "rw"), "0::/r t/x\n", "/m", "/x");
}

static void test_container(void)
{
        /* The mount shows a part: what is ours is told relative to it. */
        expect_found(MOUNT("/docker/c1", "/m", "rw"), "0::/docker/c1/x\n", "/m", "/x");
        expect_found(MOUNT("/docker/c1", "/m", "rw"), "0::/docker/c1\n", "/m", "/");
        expect_none(MOUNT("/docker/c1", "/m", "rw"), "0::/docker/c12\n");
        expect_none(MOUNT("/docker/c1", "/m", "rw"), "0::/\n");
}

static void test_choice(void)
{
        /* The one that contains us; the writable one; the first. */
        static const char good[] = "/sys/fs/cgroup";

        expect_found(MOUNT("/other", "/a", "rw") UNIFIED, "0::/x\n", good, "/x");
        expect_found(MOUNT("/", "/a", "ro,nosuid") UNIFIED, "0::/x\n", good, "/x");
        expect_found(UNIFIED MOUNT("/", "/a", "ro"), "0::/x\n", good, "/x");
        expect_found(UNIFIED MOUNT("/", "/a", "rw"), "0::/x\n", good, "/x");
        expect_found(MOUNT("/", "/a", "ro") MOUNT("/", "/b", "ro"), "0::/x\n", "/a", "/x");
}

TEST_MAIN("cgroup-locate", { "unified", test_unified }, { "hybrid", test_hybrid },
          { "none", test_none }, { "escapes", test_escapes }, { "container", test_container },
          { "choice", test_choice })
