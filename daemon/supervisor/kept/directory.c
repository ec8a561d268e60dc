#include "daemon/supervisor/kept/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/supervisor/base/failure.h"
#include "daemon/supervisor/base/log.h"
#include "lib/results.h"
#include "lib/tasks.h"

#define NAME_SIZE  32
#define NEW_SUFFIX ".new"

static void format_number(uint64_t number, char ret[static NAME_SIZE])
{
        snprintf(ret, NAME_SIZE, "%llu", (unsigned long long)number);
}

static void format_new(uint64_t number, char ret[static NAME_SIZE])
{
        snprintf(ret, NAME_SIZE, "%llu" NEW_SUFFIX, (unsigned long long)number);
}

static int open_new(int dir_fd, const char *name, int flags, int *ret)
{
        int fd = openat(dir_fd, name, flags | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        *ret = fd;
        return 0;
}

/* An entry that already has this name was left by a supervisor killed while it admitted a job. */
static int make_empty(struct trash *trash, const char *name, int *ret_fd)
{
        int jobs_fd = trash->dir_fd, fd, r;

        r = trash_put(trash, name);
        if (r < 0)
                return r;
        if (mkdirat(jobs_fd, name, 0700) < 0)
                return -errno;
        fd = openat(jobs_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static int make_tasks(const struct directory *directory, uint64_t n_tasks)
{
        _cleanup_close_ int tasks_fd = -EBADF, output_fd = -EBADF;
        int r;

        r = open_new(directory->fd, "tasks", O_RDWR, &tasks_fd);
        if (r >= 0)
                r = tasks_create(tasks_fd, n_tasks);
        if (r >= 0)
                r = open_new(directory->fd, "task-output", O_RDWR, &output_fd);
        return r < 0 ? r : task_output_create(output_fd);
}

static int fill(struct directory *directory, struct incoming *inputs, bool runs_commands,
                uint64_t epoch_ns, struct fault *fault)
{
        int r;

        r = incoming_take(inputs, directory->fd, "inputs");
        if (r < 0)
                return fault_errno(fault, r, failure_advice(r),
                                   "move the job's inputs into its directory");
        r = open_new(directory->fd, "results", O_RDWR, &directory->results_fd);
        if (r >= 0)
                r = results_create(directory->results_fd, inputs->n_tasks, epoch_ns);
        if (r >= 0 && runs_commands)
                r = make_tasks(directory, inputs->n_tasks);
        return r < 0 ? fault_errno(fault, r, failure_advice(r), "lay out the job's results file")
                     : 0;
}

int directory_make(struct trash *trash, uint64_t number, struct incoming *inputs,
                   bool runs_commands, uint64_t epoch_ns, struct directory *ret,
                   struct fault *fault)
{
        struct directory directory = DIRECTORY_NULL;
        char name[NAME_SIZE];
        int r;

        format_new(number, name);
        r = make_empty(trash, name, &directory.fd);
        if (r < 0)
                (void)fault_errno(fault, r, failure_advice(r), "make the job's directory");
        else
                r = fill(&directory, inputs, runs_commands, epoch_ns, fault);
        if (r < 0) {
                directory_deinit(&directory);
                (void)trash_put(trash, name);
                return r;
        }
        *ret = directory;
        return 0;
}

int directory_publish(int jobs_fd, uint64_t number)
{
        char name[NAME_SIZE], new[NAME_SIZE];

        format_new(number, new);
        format_number(number, name);
        return renameat(jobs_fd, new, jobs_fd, name) < 0 ? -errno : 0;
}

static int open_file(const struct directory *directory, const char *name, int *ret_fd)
{
        int fd = openat(directory->fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int directory_open_tasks(const struct directory *directory, int *ret_tasks_fd, int *ret_output_fd)
{
        _cleanup_close_ int tasks_fd = -EBADF;
        int r;

        r = open_file(directory, "tasks", &tasks_fd);
        if (r >= 0)
                r = open_file(directory, "task-output", ret_output_fd);
        if (r >= 0)
                *ret_tasks_fd = steal_fd(&tasks_fd);
        return r;
}

int directory_reserve(const struct directory *directory, uint64_t n_tasks, bool runs_commands)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = results_reserve(directory->results_fd, n_tasks);
        if (r < 0 || !runs_commands)
                return r;
        r = open_file(directory, "tasks", &fd);
        return r < 0 ? r : tasks_reserve(fd, n_tasks);
}

int directory_open(int jobs_fd, uint64_t number, struct directory *ret)
{
        struct directory directory = DIRECTORY_NULL;
        char name[NAME_SIZE];
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

int directory_remove(struct trash *trash, uint64_t number)
{
        char name[NAME_SIZE];

        format_number(number, name);
        return trash_put(trash, name);
}

void directory_discard(struct trash *trash, uint64_t number)
{
        char name[NAME_SIZE];
        int r;

        format_new(number, name);
        r = trash_put(trash, name);
        if (r < 0)
                supervisor_log(
                        LOG_WARNING,
                        "cannot remove the directory of job %llu, which was not admitted: %s",
                        (unsigned long long)number, strerror(-r));
}

uint64_t directory_reserved(const struct directory *directory)
{
        struct stat st;
        uint64_t size = 0;

        if (fstat(directory->results_fd, &st) >= 0)
                size = (uint64_t)st.st_blocks * 512;
        if (fstatat(directory->fd, "tasks", &st, AT_SYMLINK_NOFOLLOW) >= 0)
                size += (uint64_t)st.st_blocks * 512;
        return size;
}

uint64_t directory_size(int jobs_fd, uint64_t number)
{
        static const char *const files[] = { "inputs", "results",     "output",
                                             "tasks",  "task-output", "measures" };
        uint64_t size = 0;

        for (size_t i = 0; i < ARRAY_SIZE(files); ++i) {
                char path[NAME_SIZE + 16];
                struct stat st;

                snprintf(path, sizeof(path), "%llu/%s", (unsigned long long)number, files[i]);
                if (fstatat(jobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) >= 0)
                        size += (uint64_t)st.st_blocks * 512;
        }
        return size;
}

bool directory_is_left(const char *name)
{
        return streq(name + strspn(name, "0123456789"), NEW_SUFFIX);
}

static int for_each_entry(int jobs_fd, int (*each)(void *userdata, const char *name),
                          void *userdata)
{
        int fd = openat(jobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
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
                r = each(userdata, entry->d_name);
        if (r >= 0)
                r = -errno;
        closedir(stream);
        return r;
}

/* Whether @name is a number and, right after it, @suffix. */
static bool is_number(const char *name, const char *suffix, uint64_t *ret)
{
        size_t digits = strspn(name, "0123456789");

        return streq(name + digits, suffix) && parse_u64(name, digits, INT64_MAX - 1, ret) >= 0;
}

static int find_highest(void *userdata, const char *name)
{
        uint64_t *highest = userdata, number;

        if (is_number(name, "", &number))
                *highest = MAX(*highest, number);
        return 0;
}

int directory_scan(int jobs_fd, uint64_t *ret_highest)
{
        *ret_highest = 0;
        return for_each_entry(jobs_fd, find_highest, ret_highest);
}

struct unpublished {
        int jobs_fd;
        int (*is_admitted)(void *userdata, uint64_t number);
        void *userdata;
};

static int publish_admitted(void *userdata, const char *name)
{
        const struct unpublished *unpublished = userdata;
        uint64_t number;
        int r;

        if (!is_number(name, NEW_SUFFIX, &number))
                return 0;
        r = unpublished->is_admitted(unpublished->userdata, number);
        return r > 0 ? directory_publish(unpublished->jobs_fd, number) : r;
}

int directory_publish_admitted(int jobs_fd, int (*is_admitted)(void *userdata, uint64_t number),
                               void *userdata)
{
        struct unpublished unpublished = { jobs_fd, is_admitted, userdata };

        return for_each_entry(jobs_fd, publish_admitted, &unpublished);
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

/* Cuts @text after the last line that is not blank, and returns the start of that line. */
static char *last_line(char *text, size_t n)
{
        char *start;

        while (n > 0 && (unsigned char)text[n - 1] <= ' ')
                --n;
        text[n] = 0;
        start = memrchr(text, '\n', n);
        return start ? start + 1 : text;
}

/* The line goes into JSON and onto terminals, and a runner may have written anything. */
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
