#include "daemon/supervisor/kept/trash.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/supervisor/base/log.h"

#define PREFIX    ".going-"
#define NAME_SIZE 32

/* Up to this many bytes on disk are freed without a child; that takes about 0.25 ms. */
#define AT_ONCE (UINT64_C(1) << 20)

/* The child's report. */
struct swept {
        unsigned n_stuck;     /* entries that cannot be removed */
        int error;            /* why the first of them cannot be removed: negative errno */
        char name[NAME_SIZE]; /* of the first entry that cannot be removed */
};

static bool is_going(const char *name)
{
        return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}

/* Calls @look for each entry of the directory @name until it returns a negative errno. */
static int for_each(int dir_fd, const char *name,
                    int (*look)(void *userdata, int fd, const char *name), void *userdata)
{
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
        struct dirent *entry;
        DIR *stream;

        if (fd < 0)
                return -errno;
        stream = fdopendir(fd);
        if (!stream) {
                r = -errno;
                close_fd(fd);
                return r;
        }
        while (r >= 0 && (errno = 0, entry = readdir(stream)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        r = look(userdata, fd, entry->d_name);
        if (r >= 0)
                r = -errno;
        closedir(stream);
        return r;
}

static int remove_file(void *userdata, int fd, const char *name)
{
        return unlinkat(fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Removes all files of a directory, not only ours: somebody may have put one there by hand. */
static int remove_entry(int dir_fd, const char *name)
{
        int r = remove_file(NULL, dir_fd, name);

        if (r != -EISDIR)
                return r;
        r = for_each(dir_fd, name, remove_file, NULL);
        if (r < 0)
                return r;
        return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int add_size(void *userdata, int fd, const char *name)
{
        uint64_t *size = userdata;
        struct stat st;

        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0)
                *size += (uint64_t)st.st_blocks * 512;
        return 0;
}

static bool is_large(int dir_fd, const char *name)
{
        uint64_t size = 0;

        (void)add_size(&size, dir_fd, name);
        (void)for_each(dir_fd, name, add_size, &size);
        return size > AT_ONCE;
}

static int sweep_entry(void *userdata, int fd, const char *name)
{
        struct swept *swept = userdata;
        int r = is_going(name) ? remove_entry(fd, name) : 0;

        if (r < 0 && swept->n_stuck++ == 0) {
                swept->error = r;
                (void)snprintf(swept->name, sizeof(swept->name), "%.*s", NAME_SIZE - 1, name);
        }
        return 0;
}

static int child_sweep(void *userdata, int out_fd)
{
        struct trash *trash = userdata;
        struct swept swept = { .n_stuck = 0 };
        int r = for_each(trash->dir_fd, ".", sweep_entry, &swept);

        return r < 0 ? r : write_all(out_fd, &swept, sizeof(swept));
}

static void start(struct trash *trash);

static void on_swept(void *userdata, int r, int out_fd)
{
        struct trash *trash = userdata;
        struct swept swept;

        trash->errand = NULL;
        if (r >= 0 && pread(out_fd, &swept, sizeof(swept), 0) != sizeof(swept))
                r = -EIO;
        if (r < 0) {
                supervisor_log(LOG_WARNING,
                               "cannot remove the files of old jobs: %s; this is tried again when "
                               "the next job is removed",
                               strerror(-r));
        } else if (swept.n_stuck > trash->n_told) {
                supervisor_log(LOG_WARNING,
                               "cannot remove jobs/%s in the state directory, which an old job has "
                               "left: %s; remove it by hand",
                               swept.name, strerror(-swept.error));
                trash->n_told = swept.n_stuck;
        }
        if (trash->again)
                start(trash);
}

/* If no child can be started, the entries are removed here, and clients wait meanwhile. */
static void start(struct trash *trash)
{
        const struct errand_work work = {
                .run = child_sweep,
                .done = on_swept,
                .userdata = trash,
                .fds = { trash->dir_fd },
                .n_fds = 1,
        };
        struct swept swept = { .n_stuck = 0 };

        trash->again = trash->errand != NULL;
        if (!trash->errand && errand_start(trash->event, &work, &trash->errand) < 0)
                (void)for_each(trash->dir_fd, ".", sweep_entry, &swept);
}

static int rename_entry(struct trash *trash, const char *name)
{
        char going[NAME_SIZE];

        (void)snprintf(going, sizeof(going), PREFIX "%" PRIx64, trash->next++);
        return renameat(trash->dir_fd, name, trash->dir_fd, going) < 0 ? -errno : 0;
}

/* An entry that cannot be renamed is removed under its own name. */
int trash_put(struct trash *trash, const char *name)
{
        int r;

        if (is_large(trash->dir_fd, name) && rename_entry(trash, name) >= 0) {
                start(trash);
                return 0;
        }
        r = remove_entry(trash->dir_fd, name);
        return r == -ENOENT ? 0 : r;
}

struct leftovers {
        struct trash *trash;
        bool (*is_left)(const char *name);
        bool any;
};

static int take_leftover(void *userdata, int fd, const char *name)
{
        struct leftovers *leftovers = userdata;
        bool is_left = leftovers->is_left(name);
        int r = is_left ? rename_entry(leftovers->trash, name) : 0;

        leftovers->any |= is_left || is_going(name);
        if (r < 0)
                supervisor_log(LOG_WARNING,
                               "cannot rename jobs/%s in the state directory, which nobody needs "
                               "any more: %s",
                               name, strerror(-r));
        return 0;
}

/* Names count up from the time of this call, so no earlier supervisor has given the same ones. */
int trash_init(struct trash *trash, sd_event *event, int dir_fd, bool (*is_left)(const char *name))
{
        struct leftovers leftovers = { .trash = trash, .is_left = is_left };
        int r;

        *trash = (struct trash){ .event = event, .dir_fd = dir_fd, .next = now_realtime() };
        r = for_each(dir_fd, ".", take_leftover, &leftovers);
        if (r >= 0 && leftovers.any)
                start(trash);
        return r;
}

void trash_deinit(struct trash *trash)
{
        trash->errand = errand_cancel(trash->errand);
}
