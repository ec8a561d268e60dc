#include "lib/block-device.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* linux/kdev_t.h: a device's number has 12 bits for the one, and 20 for the other. */
#define MAJOR_MAX ((1U << 12) - 1)
#define MINOR_MAX ((1U << 20) - 1)

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

static bool is_empty(const char *path)
{
        DIR *directory = opendir(path);
        bool empty = true;
        struct dirent *entry;

        if (!directory)
                return true;
        while (empty && (entry = readdir(directory)))
                empty = entry->d_name[0] == '.';
        closedir(directory);
        return empty;
}

bool block_device_is_stacked(unsigned major, unsigned minor)
{
        char path[96];

        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/slaves", major, minor);
        return has_file(major, minor, "loop/backing_file") || !is_empty(path);
}

/* "8:0 rbytes=1 wbytes=2 …\n8:16 …"; a line that does not begin so is kept. */
void io_stat_keep_disks(char *text, bool (*stacked)(unsigned major, unsigned minor))
{
        char *to = text;

        for (char *line = text; *line;) {
                size_t n = strcspn(line, "\n");
                unsigned major, minor;

                n += line[n] == '\n';
                if (sscanf(line, "%u:%u", &major, &minor) != 2 || !stacked(major, minor)) {
                        memmove(to, line, n);
                        to += n;
                }
                line += n;
        }
        *to = 0;
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

int block_device_parse(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
        size_t n = strspn(text, "0123456789");
        uint64_t device_major = 0, device_minor = 0;
        int r, q;

        if (text[n] != ':')
                return -EINVAL;
        r = parse_u64(text, n, MAJOR_MAX, &device_major);
        q = parse_u64(text + n + 1, strlen(text + n + 1), MINOR_MAX, &device_minor);
        if (r == -EINVAL || q == -EINVAL)
                return -EINVAL;
        if (r < 0 || q < 0)
                return -ERANGE;
        *ret_major = (unsigned)device_major;
        *ret_minor = (unsigned)device_minor;
        return 0;
}

int block_device_find(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
        unsigned device_major, device_minor;
        struct stat st;
        int r;

        r = block_device_parse(text, ret_major, ret_minor);
        if (r != -EINVAL)
                return r;
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
