#include "lib/block-device.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* sysfs: /sys/dev/block/8:1 is a link to …/sda/sda1; a partition has the file "partition". */
static bool has_file(unsigned major, unsigned minor, const char *name)
{
        char path[96];

        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major, minor, name);
        return faccessat(AT_FDCWD, path, F_OK, 0) == 0;
}

int block_device_is_disk(unsigned major, unsigned minor)
{
        return has_file(major, minor, "dev") && !has_file(major, minor, "partition");
}

static int find_whole(unsigned *major, unsigned *minor)
{
        _cleanup_free_ char *text = NULL;
        char path[96];
        int r;

        if (!has_file(*major, *minor, "dev"))
                return -ENODEV;
        if (!has_file(*major, *minor, "partition"))
                return 0;
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", *major, *minor);
        r = read_file_at(AT_FDCWD, path, &text, NULL);
        if (r < 0)
                return r;
        return sscanf(text, "%u:%u", major, minor) == 2 ? 0 : -ENODEV;
}

int block_device_find(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
        unsigned device_major, device_minor;
        struct stat st;
        char end;
        int r;

        if (text[0] >= '0' && text[0] <= '9' &&
            sscanf(text, "%u:%u%c", &device_major, &device_minor, &end) == 2) {
                *ret_major = device_major;
                *ret_minor = device_minor;
                return 0;
        }
        if (stat(text, &st) < 0)
                return -errno;
        device_major = major(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev);
        device_minor = minor(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev);
        r = find_whole(&device_major, &device_minor);
        if (r < 0)
                return r;
        *ret_major = device_major;
        *ret_minor = device_minor;
        return 0;
}
