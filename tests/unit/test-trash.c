/* Trash: files that nobody needs any more are gone in the end, and one that can't be is passed
 * over. */

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/supervisor/kept/trash.h"
#include "tests/unit/capture.h"

static char directory[64];
static int dir_fd = -EBADF;
static sd_event *event;
static struct trash trash;

static bool is_left(const char *name)
{
        return streq(name, "left");
}

static void begin(void)
{
        strcpy(directory, "/tmp/test-trash-XXXXXX");
        test_true(mkdtemp(directory));
        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        test_int(dir_fd, >=, 0);
        test_int(sd_event_new(&event), >=, 0);
}

static void end(void)
{
        char command[128];

        trash_deinit(&trash);
        event = sd_event_unref(event);
        dir_fd = close_fd(dir_fd);
        while (waitpid(-1, NULL, 0) > 0)
                ;
        snprintf(command, sizeof(command), "rm -rf '%s'", directory);
        test_int(system(command), ==, 0);
}

static void put_file(const char *name, size_t size)
{
        int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        test_int(fd, >=, 0);
        test_int(posix_fallocate(fd, 0, (off_t)size), ==, 0);
        close_fd(fd);
}

static void put_directory(const char *name, size_t size)
{
        char file[64];

        test_int(mkdirat(dir_fd, name, 0700), ==, 0);
        snprintf(file, sizeof(file), "%s/results", name);
        put_file(file, size);
}

static unsigned count(void)
{
        DIR *stream = opendir(directory);
        struct dirent *entry;
        unsigned n = 0;

        test_true(stream);
        while ((entry = readdir(stream)))
                n += !streq(entry->d_name, ".") && !streq(entry->d_name, "..");
        closedir(stream);
        return n;
}

static bool exists(const char *name)
{
        return faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
}

static void run(void)
{
        while (trash.errand)
                test_int(sd_event_run(event, UINT64_MAX), >=, 0);
}

#define LARGE (2 << 20)

static void test_small_at_once(void)
{
        begin();
        test_int(trash_init(&trash, event, dir_fd, is_left), ==, 0);
        put_file("file", 100);
        put_directory("directory", 100);
        test_int(trash_put(&trash, "file"), ==, 0);
        test_int(trash_put(&trash, "directory"), ==, 0);
        test_int(trash_put(&trash, "nothing"), ==, 0);
        test_true(!trash.errand);
        test_int(count(), ==, 0);
        end();
}

static void test_large_by_a_child(void)
{
        begin();
        test_int(trash_init(&trash, event, dir_fd, is_left), ==, 0);
        put_file("file", LARGE);
        test_int(trash_put(&trash, "file"), ==, 0);
        test_true(trash.errand);
        test_true(!exists("file"));
        /* This one comes too late for the first child, or not. */
        put_directory("directory", LARGE);
        test_int(trash_put(&trash, "directory"), ==, 0);
        test_true(!exists("directory"));
        run();
        test_int(count(), ==, 0);
        end();
}

static void test_what_was_left(void)
{
        begin();
        put_directory(".going-1", LARGE);
        put_directory("left", 100);
        put_directory("5", 100);
        test_int(trash_init(&trash, event, dir_fd, is_left), ==, 0);
        test_true(!exists("left"));
        run();
        test_int(count(), ==, 1);
        test_true(exists("5/results"));
        end();
}

static void test_ended_before(void)
{
        begin();
        test_int(trash_init(&trash, event, dir_fd, is_left), ==, 0);
        put_directory("6", LARGE);
        test_int(trash_put(&trash, "6"), ==, 0);
        trash_deinit(&trash);
        test_true(!exists("6"));
        test_int(trash_init(&trash, event, dir_fd, is_left), ==, 0);
        run();
        test_int(count(), ==, 0);
        end();
}

static void test_one_that_can_not_be_removed(void)
{
        struct capture capture = { .stream = NULL };
        const char *text;

        begin();
        put_directory(".going-1", 100);
        test_int(mkdirat(dir_fd, ".going-1/directory", 0700), ==, 0);
        put_directory(".going-2", 100);
        put_directory("7", LARGE);
        capture_begin(&capture, stderr);
        (void)trash_init(&trash, event, dir_fd, is_left);
        (void)trash_put(&trash, "7");
        while (trash.errand && sd_event_run(event, UINT64_MAX) >= 0)
                ;
        text = capture_end(&capture);
        test_contains(text, ".going-1");
        /* Told once. */
        test_true(!strstr(strstr(text, ".going-1") + 1, ".going-1"));
        free(capture.text);
        test_int(count(), ==, 1);
        test_true(exists(".going-1/directory"));
        end();
}

int main(void)
{
        static const struct test_case cases[] = {
                { "what is small is removed at once", test_small_at_once },
                { "what is large is removed by a child", test_large_by_a_child },
                { "what a former supervisor left is removed", test_what_was_left },
                { "what an ended supervisor put there is removed by the next", test_ended_before },
                { "what cannot be removed is told once and keeps nothing else",
                  test_one_that_can_not_be_removed },
        };

        return test_main("trash", cases, ARRAY_SIZE(cases));
}
