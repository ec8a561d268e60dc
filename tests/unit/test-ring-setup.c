/* Setting a ring up, on each rung: what is said where io_uring is forbidden, in full or in part. */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/unit/ring-rungs.h"

/* What a thread of its own gets from ring_init() when a system call answers with an error. */
struct forbidden {
        unsigned syscall;
        unsigned error;
        int result;
        struct fault fault;
};

static void *init_forbidden(void *userdata)
{
        struct forbidden *forbidden = userdata;
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forbidden->syscall, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | forbidden->error),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { ARRAY_SIZE(filter), filter };
        struct ring ring;

        forbidden->result = 1;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
                return NULL;
        n_attempts = 0;
        forbidden->result = ring_init(&ring, 8, &forbidden->fault);
        ring_deinit(&ring);
        return NULL;
}

static void test_forbidden(unsigned syscall, int error, const char *advice)
{
        struct forbidden forbidden = { .syscall = syscall, .error = (unsigned)error };
        pthread_t thread;

        test_int(pthread_create(&thread, NULL, init_forbidden, &forbidden), ==, 0);
        pthread_join(thread, NULL);
        test_int(forbidden.result, ==, -error);
        test_contains(forbidden.fault.advice, advice);
        fault_deinit(&forbidden.fault);
}

static void test_advice(void)
{
        test_forbidden(SYS_io_uring_setup, EPERM, "seccomp");
        test_forbidden(SYS_io_uring_enter, EPERM, "io_uring_enter");
        test_forbidden(SYS_io_uring_setup, ENOSYS, "Linux 5.17");
        test_forbidden(SYS_io_uring_setup, EINVAL, "too old");
        test_forbidden(SYS_io_uring_setup, ENOMEM, "LimitMEMLOCK");
        test_forbidden(SYS_io_uring_setup, EMFILE, "LimitNOFILE");
}

/* Without a registered ring all works as well. */
static void test_without_registering(void)
{
        struct forbidden forbidden = { .syscall = SYS_io_uring_register, .error = EPERM };
        pthread_t thread;

        test_int(pthread_create(&thread, NULL, init_forbidden, &forbidden), ==, 0);
        pthread_join(thread, NULL);
        test_int(forbidden.result, ==, 0);
}

static const struct test_case cases[] = {
        { "advice where it is forbidden", test_advice },
        { "without a registered ring", test_without_registering },
};

int main(void)
{
        return run_on_each_rung(cases, ARRAY_SIZE(cases));
}
