#include "daemon/supervisor/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/results.h"

static void format_number(uint64_t number, char ret[static 24])
{
        snprintf(ret, 24, "%llu", (unsigned long long)number);
}

static int open_new(int dir_fd, const char *name, int flags, int *ret)
{
        int fd = openat(dir_fd, name, flags | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        *ret = fd;
        return 0;
}

static int make_empty(int jobs_fd, uint64_t number, int *ret_fd)
{
        char name[24];
        int fd, r;

        format_number(number, name);
        if (mkdirat(jobs_fd, name, 0700) < 0) {
                if (errno != EEXIST)
                        return -errno;
                r = directory_remove(jobs_fd, number);
                if (r < 0)
                        return r;
                if (mkdirat(jobs_fd, name, 0700) < 0)
                        return -errno;
        }
        fd = openat(jobs_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static int fill(struct directory *directory, struct incoming *inputs, uint64_t epoch_ns,
                const char **ret_attempted)
{
        int r;

        *ret_attempted = "move the job's inputs into its directory";
        r = incoming_take(inputs, directory->fd, "inputs");
        if (r < 0)
                return r;
        *ret_attempted = "lay out the job's results file";
        r = open_new(directory->fd, "results", O_RDWR, &directory->results_fd);
        return r < 0 ? r : results_create(directory->results_fd, inputs->n_tasks, epoch_ns);
}

int directory_make(int jobs_fd, uint64_t number, struct incoming *inputs, uint64_t epoch_ns,
                   struct directory *ret, const char **ret_attempted)
{
        struct directory directory = DIRECTORY_NULL;
        int r;

        *ret_attempted = "make the job's directory";
        r = make_empty(jobs_fd, number, &directory.fd);
        if (r >= 0)
                r = fill(&directory, inputs, epoch_ns, ret_attempted);
        if (r < 0) {
                directory_deinit(&directory);
                (void)directory_remove(jobs_fd, number);
                return r;
        }
        *ret = directory;
        return 0;
}

int directory_open(int jobs_fd, uint64_t number, struct directory *ret)
{
        struct directory directory = DIRECTORY_NULL;
        char name[24];
        int r;

        format_number(number, name);
        directory.fd = openat(jobs_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (directory.fd < 0)
                return -errno;
        directory.results_fd = openat(directory.fd, "results", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (directory.results_fd < 0) {
                r = -errno;
                directory_deinit(&directory);
                return r;
        }
        *ret = directory;
        return 0;
}

void directory_deinit(struct directory *directory)
{
        directory->results_fd = close_fd(directory->results_fd);
        directory->fd = close_fd(directory->fd);
}

/* Whatever is in it: somebody may have put a file there by hand. */
static int remove_files(int fd_consumed)
{
        DIR *stream = fdopendir(fd_consumed);
        struct dirent *entry;
        int r = 0;

        if (!stream) {
                r = -errno;
                close_fd(fd_consumed);
                return r;
        }
        while (r >= 0 && (errno = 0, entry = readdir(stream)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, "..") &&
                    unlinkat(dirfd(stream), entry->d_name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        if (r >= 0 && errno != 0)
                r = -errno;
        closedir(stream);
        return r;
}

int directory_remove(int jobs_fd, uint64_t number)
{
        char name[24];
        int fd, r;

        format_number(number, name);
        fd = openat(jobs_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        r = remove_files(fd);
        if (r < 0)
                return r;
        if (unlinkat(jobs_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

int directory_open_file(int jobs_fd, uint64_t number, const char *name, int *ret_fd)
{
        char path[64];
        int fd;

        assert(strlen(name) < 32);
        snprintf(path, sizeof(path), "%llu/%s", (unsigned long long)number, name);
        fd = openat(jobs_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int directory_open_output(const struct directory *directory, int *ret_fd)
{
        return open_new(directory->fd, "output", O_WRONLY | O_APPEND, ret_fd);
}

int directory_open_measures(const struct directory *directory, int *ret_fd)
{
        return open_new(directory->fd, "measures", O_RDWR, ret_fd);
}

/* Ends at the end of the last line that holds something, starts after the newline before it. */
static char *last_line(char *text, size_t n)
{
        char *start;

        while (n > 0 && (unsigned char)text[n - 1] <= ' ')
                --n;
        text[n] = 0;
        start = memrchr(text, '\n', n);
        return start ? start + 1 : text;
}

/* Whatever a runner may have written ends in JSON and on terminals. */
static void make_printable(char *line)
{
        json_t *json = json_string(line);
        bool is_utf8 = json != NULL;

        json_decref(json);
        for (char *c = line; *c; ++c)
                if ((unsigned char)*c < ' ' || *c == 127)
                        *c = ' ';
                else if (!is_utf8 && (unsigned char)*c > 127)
                        *c = '?';
}

char *directory_last_line(const struct directory *directory)
{
        _cleanup_close_ int fd = openat(directory->fd, "output", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        char text[4096 + 1], *line;
        struct stat st;
        ssize_t n;

        if (fd < 0 || fstat(fd, &st) < 0)
                return NULL;
        n = pread(fd, text, sizeof(text) - 1, st.st_size > 4096 ? st.st_size - 4096 : 0);
        if (n <= 0 || memchr(text, 0, (size_t)n))
                return NULL;
        line = last_line(text, (size_t)n);
        make_printable(line);
        return *line ? strdup(line) : NULL;
}
