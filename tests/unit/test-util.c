/* Numbers, durations, files: lib/util.c; lib/patience.c */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/patience.h"
#include "lib/proc.h"
#include "tests/unit/test.h"

static void test_parse_u64(void)
{
        static const struct {
                const char *text;
                uint64_t max;
                int r;
                uint64_t value;
        } cases[] = {
                { "0", UINT64_MAX, 0, 0 },
                { "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
                { "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
                { "99999999999999999999999999", UINT64_MAX, -ERANGE, 0 },
                { "00000000000000000000000007", UINT64_MAX, 0, 7 },
                { "10", 10, 0, 10 },
                { "11", 10, -ERANGE, 0 },
                { "", 10, -EINVAL, 0 },
                { "-1", 10, -EINVAL, 0 },
                { "+1", 10, -EINVAL, 0 },
                { " 1", 10, -EINVAL, 0 },
                { "1x", 10, -EINVAL, 0 },
                { "0x1", 10, -EINVAL, 0 },
                { "99999999999999999999999999x", UINT64_MAX, -EINVAL, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                uint64_t v = 0;

                test_int(parse_u64(cases[i].text, strlen(cases[i].text), cases[i].max, &v), ==,
                         cases[i].r);
                test_true(v == cases[i].value);
        }
}

static void test_parse_duration(void)
{
        static const struct {
                const char *text;
                int r;
                uint64_t ns;
        } cases[] = {
                { "0", 0, 0 },
                { "1", 0, NSEC_PER_SEC },
                { "0.2", 0, 200 * NSEC_PER_MSEC },
                { "1.5s", 0, 1500 * NSEC_PER_MSEC },
                { "200ms", 0, 200 * NSEC_PER_MSEC },
                { "1.000000001", 0, NSEC_PER_SEC + 1 },
                { "0.0000000009", 0, 0 },
                { "7us", 0, 7000 },
                { "7ns", 0, 7 },
                { "2min", 0, 120 * NSEC_PER_SEC },
                { "2m", 0, 120 * NSEC_PER_SEC },
                { "1h", 0, 3600 * NSEC_PER_SEC },
                { "", -EINVAL, 0 },
                { ".", -EINVAL, 0 },
                { ".5", -EINVAL, 0 },
                { "1.", -EINVAL, 0 },
                { "-1", -EINVAL, 0 },
                { "1 s", -EINVAL, 0 },
                { "1parsec", -EINVAL, 0 },
                { "nan", -EINVAL, 0 },
                { "18446744073709551615h", -ERANGE, 0 },
                { "99999999999999999999", -ERANGE, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                uint64_t v = 0;

                test_int(parse_duration(cases[i].text, &v), ==, cases[i].r);
                test_int(v, ==, cases[i].ns);
        }
}

static void test_utf8_prefix(void)
{
        test_int(utf8_prefix("abc", 5), ==, 3);
        test_int(utf8_prefix("abc", 3), ==, 3);
        test_int(utf8_prefix("abc", 2), ==, 2);
        test_int(utf8_prefix("a\xc3\xa4"
                             "b",
                             2),
                 ==, 1);
        test_int(utf8_prefix("a\xc3\xa4"
                             "b",
                             3),
                 ==, 3);
        test_int(utf8_prefix("\xf0\x9f\x98\x80", 3), ==, 0);
}

static void test_min_max(void)
{
        int calls = 0;

        test_int(MIN(MAX(1, 2), 3), ==, 2);
        test_int(MAX(++calls, 0), ==, 1);
        test_int(calls, ==, 1);
}

static void test_memfd_sealed(void)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        char path[64];
        size_t n;

        test_int(memfd_sealed("test", "hello", 5, &fd), ==, 0);
        test_int(write(fd, "x", 1), <, 0);
        test_int(ftruncate(fd, 1), <, 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        test_int(read_file_at(AT_FDCWD, path, &text, &n), ==, 0);
        test_int(n, ==, 5);
        test_str(text, "hello");
}

static void test_read_file(void)
{
        _cleanup_free_ char *text = NULL;
        size_t n = 0;

        test_int(read_file_at(AT_FDCWD, "/nonexistent", &text, &n), ==, -ENOENT);
        test_true(!text);
        /* of size 0 to stat(2), longer than one block to read(2) */
        test_int(read_file_at(AT_FDCWD, "/proc/kallsyms", &text, &n), ==, 0);
        test_int(n, >, 4096);
        test_int(strlen(text), ==, n);
}

static void test_meminfo(void)
{
        static const char with_swap[] = "MemTotal:       24683968 kB\nMemFree:        21305 kB\n"
                                        "MemAvailable:    1024 kB\nSwapCached: 7 kB\n"
                                        "SwapTotal: 9 kB\nSwapFree:      1 kB\n";
        uint64_t n = 0;

        test_int(meminfo_available(with_swap, &n), ==, 0);
        test_int(n, ==, 1025 * 1024);
        test_int(meminfo_available("MemAvailable: 3 kB\n", &n), ==, 0);
        test_int(n, ==, 3 * 1024);
        test_int(meminfo_available("MemFree: 3 kB\n", &n), ==, -EBADMSG);
        test_int(meminfo_available("MemAvailable: x kB\n", &n), ==, -EBADMSG);
        test_int(meminfo_available("", &n), ==, -EBADMSG);
}

/*
 * In a child: closes all but standard error, and returns a number that tells which step went wrong.
 */
static int without_standard_fds(void)
{
        char byte;

        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        if (hold_standard_fds() < 0)
                return 1;
        if (fcntl(STDIN_FILENO, F_GETFD) < 0 || fcntl(STDOUT_FILENO, F_GETFD) < 0)
                return 2;
        if (open("/dev/null", O_RDWR) <= STDERR_FILENO)
                return 3;
        /* Nobody takes them for an empty file, or for a place where data is safe. */
        if (read(STDIN_FILENO, &byte, 1) != -1 || errno != EBADF)
                return 4;
        return write(STDOUT_FILENO, "x", 1) != -1 || errno != EBADF ? 5 : 0;
}

static void test_standard_fds(void)
{
        pid_t pid = fork();
        int status;

        test_int(pid, >=, 0);
        if (pid == 0)
                _exit(without_standard_fds());
        test_int(waitpid(pid, &status, 0), ==, pid);
        test_int(status, ==, 0);
}

/* It is read once. */
static void test_patience(void)
{
        test_int(setenv("PPPCTL_TEST_HURRY", "20", 1), ==, 0);
        test_int(patience(30000), ==, 1500);
        test_int(setenv("PPPCTL_TEST_HURRY", "1", 1), ==, 0);
        test_int(patience(100), ==, 5);
}

TEST_MAIN("util", { "standard descriptors", test_standard_fds }, { "meminfo", test_meminfo },
          { "parse_u64", test_parse_u64 }, { "parse_duration", test_parse_duration },
          { "utf8_prefix", test_utf8_prefix }, { "MIN and MAX", test_min_max },
          { "memfd_sealed", test_memfd_sealed }, { "read_file_at", test_read_file },
          { "patience", test_patience })
