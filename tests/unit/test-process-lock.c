/* The lock that one process has at a time. */

#include "lib/process-lock.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/unit/test.h"

/* What process_lock() says to a child of this process. */
static int lock_in_child(int fd, pid_t *ret_holder)
{
        struct {
                int r;
                pid_t holder;
        } *said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pid_t pid;
        int r;

        test_true(said != MAP_FAILED);
        pid = fork();
        if (pid == 0) {
                said->r = process_lock(fd, &said->holder);
                _exit(0);
        }
        test_int(waitpid(pid, NULL, 0), ==, pid);
        r = said->r;
        *ret_holder = said->holder;
        munmap(said, 4096);
        return r;
}

static void test_one_at_a_time(void)
{
        _cleanup_close_ int fd = memfd_create("lock", MFD_CLOEXEC);
        pid_t holder = 1;

        test_int(lock_in_child(fd, &holder), ==, 0);
        test_int(holder, ==, 0);
        /* The child's lock ended with it. */
        test_int(process_lock(fd, &holder), ==, 0);
        test_int(lock_in_child(fd, &holder), ==, -EBUSY);
        test_int(holder, ==, getpid());
        test_int(process_lock(fd, &holder), ==, 0);
}

static void test_what_cannot_be_locked(void)
{
        pid_t holder = 1;

        test_int(process_lock(-EBADF, &holder), ==, -EBADF);
        test_int(holder, ==, 0);
}

TEST_MAIN("process-lock", { "one at a time", test_one_at_a_time },
          { "what cannot be locked", test_what_cannot_be_locked })
