#pragma once

/*
 * Every moment at which a process may be killed. A child runs a function one machine instruction at
 * a time, and whenever it has changed what it shares with the test, that is called with the memory
 * as it was left, to do what is done after a death. What the call does to the memory is undone
 * before the next step. So no test of this kind depends on when something happens.
 */

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

/* Instructions differ: the exclusive pairs of other machines never succeed one step at a time. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define CAN_STEP 1
#else
#define CAN_STEP 0
#endif

#define STEPPED_AREAS 8

struct stepped {
        struct {
                void *at;
                size_t size, n_compared;
                char *before;   /* as the child left it last */
        } areas[STEPPED_AREAS]; /* shared */
        unsigned n_areas;
        unsigned n_moments;
};

/* Memory that the child and the test share. A moment is a change in its first @n_compared bytes. */
static inline void stepped_watch(struct stepped *stepped, void *at, size_t size, size_t n_compared)
{
        char *before = malloc(size);

        test_true(before != NULL && stepped->n_areas < STEPPED_AREAS);
        stepped->areas[stepped->n_areas].at = at;
        stepped->areas[stepped->n_areas].size = size;
        stepped->areas[stepped->n_areas].n_compared = n_compared;
        stepped->areas[stepped->n_areas++].before = before;
}

static inline void stepped_free(struct stepped *stepped)
{
        for (unsigned i = 0; i < stepped->n_areas; ++i)
                free(stepped->areas[i].before);
        *stepped = (struct stepped){};
}

static inline bool stepped_changed(const struct stepped *stepped)
{
        for (unsigned i = 0; i < stepped->n_areas; ++i)
                if (memcmp(stepped->areas[i].before, stepped->areas[i].at,
                           stepped->areas[i].n_compared) != 0)
                        return true;
        return false;
}

static inline void stepped_save(struct stepped *stepped)
{
        for (unsigned i = 0; i < stepped->n_areas; ++i)
                memcpy(stepped->areas[i].before, stepped->areas[i].at, stepped->areas[i].size);
}

static inline void stepped_restore(struct stepped *stepped)
{
        for (unsigned i = 0; i < stepped->n_areas; ++i)
                memcpy(stepped->areas[i].at, stepped->areas[i].before, stepped->areas[i].size);
}

/* Returns false where a process may not be traced. */
static inline bool stepped_run(struct stepped *stepped, void (*run)(void *), void (*died)(void *),
                               void *userdata)
{
        int status;
        pid_t pid = fork();

        test_int(pid, >=, 0);
        if (pid == 0) {
                if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                        _exit(TEST_SKIP);
                raise(SIGSTOP);
                run(userdata);
                _exit(EXIT_SUCCESS);
        }
        test_int(waitpid(pid, &status, 0), ==, pid);
        if (WIFEXITED(status))
                return false;
        test_int(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL), ==, 0);
        for (;;) {
                stepped_save(stepped);
                died(userdata);
                stepped_restore(stepped);
                ++stepped->n_moments;
                do {
                        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
                            waitpid(pid, &status, 0) != pid)
                                test_fail_at("cannot step: %m");
                        if (!WIFSTOPPED(status)) {
                                test_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
                                return true;
                        }
                        if (WSTOPSIG(status) != SIGTRAP)
                                test_fail_at("the child got signal %d", WSTOPSIG(status));
                } while (!stepped_changed(stepped));
        }
}
