/* A tree of processes that is stopped and goes on, as a job without a cgroup is paused. */

#include "daemon/supervisor/child/process-tree.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "tests/unit/test.h"

/* Shared by all processes: they tell that they run by counting. */
struct shared {
        pid_t root, child, grandchild, of_thread;
        uint64_t beats[4];
};

static struct shared *shared;

static _Noreturn void beat(unsigned i)
{
        for (;;) {
                __atomic_add_fetch(&shared->beats[i], 1, __ATOMIC_RELEASE);
                usleep(500);
        }
}

/*
 * Parent and child both note the number, since either may be needed first: the memory is the same.
 */
static bool start(pid_t *ret)
{
        pid_t pid = fork();

        __atomic_store_n(ret, pid == 0 ? getpid() : pid, __ATOMIC_RELAXED);
        if (pid != 0)
                return false;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return true;
}

/* Children belong to the thread that made them. */
static void *start_by_thread(void *unused)
{
        if (start(&shared->of_thread))
                beat(3);
        pause();
        return NULL;
}

static _Noreturn void run_root(void)
{
        pthread_t thread;

        if (start(&shared->child))
                beat(start(&shared->grandchild) ? 2 : 1);
        if (pthread_create(&thread, NULL, start_by_thread, NULL) != 0)
                _exit(1);
        beat(0);
}

static bool all_beat(const struct shared *since)
{
        for (size_t i = 0; i < ARRAY_SIZE(shared->beats); ++i)
                if (__atomic_load_n(&shared->beats[i], __ATOMIC_ACQUIRE) <= since->beats[i])
                        return false;
        return true;
}

static void await_beats(void)
{
        const struct shared since = *shared;

        while (!all_beat(&since))
                usleep(1000);
}

static int start_tree(void)
{
        int pidfd;

        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        test_true(shared != MAP_FAILED);
        if (start(&shared->root))
                run_root();
        pidfd = pidfd_open(shared->root, 0);
        test_int(pidfd, >=, 0);
        await_beats();
        return pidfd;
}

static void end_tree(int pidfd)
{
        siginfo_t info;

        test_int(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), ==, 0);
        test_int(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED), ==, 0);
        close_fd(pidfd);
        munmap(shared, sizeof(*shared));
}

static unsigned stop(int pidfd, uint64_t budget_ns)
{
        _cleanup_(process_tree_deinit) struct process_tree tree = PROCESS_TREE_NULL;
        unsigned n = 0;
        int r;

        do {
                r = process_tree_stop(&tree, shared->root, pidfd, budget_ns);
                test_int(r, >=, 0);
                ++n;
        } while (r > 0);
        return n;
}

static void test_stop_and_continue(void)
{
        int pidfd = start_tree();
        struct shared before;

        stop(pidfd, NSEC_PER_SEC);
        test_true(process_is_stopped(shared->root));
        test_true(process_is_stopped(shared->child));
        test_true(process_is_stopped(shared->grandchild));
        test_true(process_is_stopped(shared->of_thread));
        before = *shared;
        usleep(20000);
        test_int(memcmp(&before, shared, sizeof(before)), ==, 0);
        test_int(process_tree_continue(shared->root, pidfd), ==, 0);
        await_beats();
        test_true(!process_is_stopped(shared->grandchild));
        end_tree(pidfd);
}

/* Part of it was stopped before, by somebody else or by a supervisor that died over it. */
static void test_half_stopped(void)
{
        int pidfd = start_tree();

        test_int(kill(shared->child, SIGSTOP), ==, 0);
        stop(pidfd, NSEC_PER_SEC);
        test_true(process_is_stopped(shared->grandchild));
        test_int(process_tree_continue(shared->root, pidfd), ==, 0);
        await_beats();
        end_tree(pidfd);
}

/* Whoever waits for a turn waits for one step at most. */
static void test_slices(void)
{
        int pidfd = start_tree();

        /* Two passes at least, of four processes and their children each. */
        test_int(stop(pidfd, 0), >=, 2 * (4 + 4) - 1);
        test_true(process_is_stopped(shared->grandchild));
        test_int(stop(pidfd, NSEC_PER_SEC), ==, 1);
        test_int(process_tree_continue(shared->root, pidfd), ==, 0);
        await_beats();
        end_tree(pidfd);
}

/* A debugger, or a leak checker at the process's end, lets it go on: nobody has paused it. */
static void test_traced(void)
{
        siginfo_t info;
        bool stopped;
        pid_t pid;

        if (start(&pid))
                for (;;)
                        pause();
        test_int(ptrace(PTRACE_SEIZE, pid, NULL, NULL), ==, 0);
        test_int(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), ==, 0);
        test_int(waitid(P_PID, (id_t)pid, &info, WSTOPPED), ==, 0);
        stopped = process_is_stopped(pid);
        test_int(kill(pid, SIGKILL), ==, 0);
        test_int(waitpid(pid, NULL, 0), ==, pid);
        test_true(!stopped);
}

static void test_gone(void)
{
        _cleanup_(process_tree_deinit) struct process_tree tree = PROCESS_TREE_NULL;
        pid_t pid;
        int pidfd;

        if (start(&pid))
                _exit(0);
        pidfd = pidfd_open(pid, 0);
        test_int(waitpid(pid, NULL, 0), ==, pid);
        test_int(process_tree_stop(&tree, pid, pidfd, NSEC_PER_SEC), ==, -ESRCH);
        test_int(process_tree_continue(pid, pidfd), ==, -ESRCH);
        test_true(!process_is_stopped(pid));
        close_fd(pidfd);
}

TEST_MAIN("process tree", { "stop and continue", test_stop_and_continue },
          { "one that is stopped in part", test_half_stopped }, { "slices of time", test_slices },
          { "one that a debugger holds", test_traced }, { "one that is gone", test_gone })
