/* The file of tasks' records: lay-out, validation, room on disk; and the head of their output. */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/tasks.h"
#include "tests/unit/test.h"

static int new_file(uint64_t n)
{
        int fd = memfd_create("tasks", MFD_CLOEXEC);

        test_int(fd, >=, 0);
        test_int(tasks_create(fd, n), ==, 0);
        return fd;
}

static void test_layout(void)
{
        _cleanup_close_ int fd = new_file(3);
        struct tasks writer = TASKS_NULL, reader = TASKS_NULL;
        struct stat st;

        test_int(tasks_size(3), ==, 4096 + 3 * 192);
        test_int(fstat(fd, &st), ==, 0);
        test_int(st.st_size, ==, tasks_size(3));
        test_int(tasks_map(fd, true, &writer), ==, 0);
        test_int(tasks_map(fd, false, &reader), ==, 0);
        test_int(reader.n_tasks, ==, 3);
        test_int(reader.header->output_end, ==, 16);
        test_int(reader.records[2].known, ==, 0);
        test_int(reader.records[2].streams[PPP_STREAM_ERROR].last, ==, 0);

        writer.records[2].user_usec = 42;
        test_int(reader.records[2].user_usec, ==, 42);
        test_int((char *)&writer.records[3] - (char *)writer.header, ==, tasks_size(3));
        tasks_unmap(&writer);
        tasks_unmap(&reader);
        test_true(!reader.header && !reader.records);
        tasks_unmap(&reader);
}

static void test_refused(void)
{
        static const struct {
                size_t at;
                uint64_t value;
                size_t size;
        } broken[] = {
                { offsetof(struct ppp_tasks_header, magic), 0, 1 },
                { offsetof(struct ppp_tasks_header, version), 99, 4 },
                { offsetof(struct ppp_tasks_header, header_size), 64, 4 },
                { offsetof(struct ppp_tasks_header, record_size), 191, 4 },
                { offsetof(struct ppp_tasks_header, n_tasks), 0, 8 },
                { offsetof(struct ppp_tasks_header, n_tasks), 4, 8 }, /* more than fit */
                { offsetof(struct ppp_tasks_header, n_tasks), UINT64_MAX / 192, 8 }, /* overflows */
        };
        struct tasks tasks = TASKS_NULL;

        for (size_t i = 0; i < ARRAY_SIZE(broken); ++i) {
                _cleanup_close_ int fd = new_file(3);

                test_int(pwrite(fd, &broken[i].value, broken[i].size, (off_t)broken[i].at), ==,
                         broken[i].size);
                test_int(tasks_map(fd, false, &tasks), ==, -EBADMSG);
        }
}

static void test_cut_short(void)
{
        static const off_t sizes[] = { PPP_TASKS_HEADER_SIZE + 200 * 192 - 1, 4095, 100, 0 };
        _cleanup_close_ int fd = new_file(200);
        struct tasks tasks = TASKS_NULL;

        for (size_t i = 0; i < ARRAY_SIZE(sizes); ++i) {
                test_int(ftruncate(fd, sizes[i]), ==, 0);
                test_int(tasks_map(fd, false, &tasks), ==, -EBADMSG);
        }
}

static void test_reserve(void)
{
        _cleanup_close_ int fd = new_file(1000);
        struct ppp_task_record record = { .user_usec = 42 };
        struct tasks tasks = TASKS_NULL;
        struct stat st;

        test_int(fstat(fd, &st), ==, 0);
        test_int(st.st_blocks * 512, <, tasks_size(1000));
        test_int(pwrite(fd, &record, sizeof(record), PPP_TASKS_HEADER_SIZE), ==, sizeof(record));
        test_int(tasks_reserve(fd, 1000), ==, 0);
        test_int(fstat(fd, &st), ==, 0);
        test_int(st.st_blocks * 512, >=, tasks_size(1000));
        test_int(st.st_size, ==, tasks_size(1000));
        test_int(tasks_map(fd, false, &tasks), ==, 0);
        test_int(tasks.records[0].user_usec, ==, 42);
        tasks_unmap(&tasks);
}

static void test_output(void)
{
        _cleanup_close_ int fd = memfd_create("output", MFD_CLOEXEC);
        char head[32];

        test_int(task_output_create(fd), ==, 0);
        test_int(pread(fd, head, sizeof(head), 0), ==, 16);
        test_int(memcmp(head, "pppout\r\n\0\0\0\0\0\0\0", 16), ==, 0);
}

static void test_full_disk(void)
{
        _cleanup_close_ int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

        if (fd < 0)
                return;
        test_int(tasks_create(fd, 3), <, 0);
        test_int(task_output_create(fd), ==, -ENOSPC);
}

TEST_MAIN("tasks", { "a record is seen by another mapping", test_layout },
          { "what is no file of tasks is refused", test_refused },
          { "a file cut short is refused", test_cut_short },
          { "room is reserved, and records stay", test_reserve },
          { "output begins with a head", test_output },
          { "a full disk is an error", test_full_disk })
