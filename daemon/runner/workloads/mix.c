/*
 * mix: does the parts of its input one after the other, "cpu=2ms,sleep=20ms,touch=64M", and so
 * shows what each level is good and bad at. The value is the shared counter as the task leaves it,
 * or 0 where no part of the input counts.
 *
 * The counter is an ordinary variable of the process. So threads share it, and lose increments
 * unless they hold the lock; worker processes have one each.
 */

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pppctl/workload.h>

#include "daemon/runner/workloads/mix-input.h"
#include "lib/util.h"

#define COMPUTE_NS    (20 * NSEC_PER_USEC) /* of CPU between two looks at the clock */
#define COUNTS_A_LOOK 4096U
#define PAGE          4096U
#define STRIPE        (1U << 20) /* bytes touched between two checkpoints */

static volatile uint64_t counter;

struct compute {
        uint64_t amount;
        uint64_t counter;
};

static uint64_t cpu_time_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Additions that the compiler can't leave out, for about as long as @ns of wall time. */
static void spin(uint64_t ns)
{
        uint64_t until = now_monotonic() + ns;

        do
                for (unsigned i = 0; i < 1024; ++i)
                        __asm__ volatile("" : "+r"(i));
        while (now_monotonic() < until);
}

/* The thread's own clock tells what was computed: the wall clock also goes on while others run. */
static int compute_cpu(struct ppp_task *task, void *argument)
{
        const struct compute *compute = argument;
        uint64_t until = cpu_time_ns() + compute->amount, now;
        int r;

        while ((now = cpu_time_ns()) < until) {
                spin(MIN(until - now, COMPUTE_NS));
                r = ppp_checkpoint(task);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int compute_lock(struct ppp_task *task, void *argument)
{
        int r;

        r = ppp_lock_acquire(task);
        if (r < 0)
                return r;
        r = compute_cpu(task, argument);
        ppp_lock_release(task);
        return r;
}

/* Load, add, store: another thread may have stored in between, and its increments are lost. */
static int compute_shared(struct ppp_task *task, void *argument)
{
        struct compute *compute = argument;
        int r = 0;

        for (uint64_t i = 0; i < compute->amount && r >= 0; ++i) {
                counter = counter + 1;
                if (i % COUNTS_A_LOOK == 0)
                        r = ppp_checkpoint(task);
        }
        compute->counter = counter;
        return r;
}

static int compute_locked(struct ppp_task *task, void *argument)
{
        struct compute *compute = argument;
        int r = 0;

        for (uint64_t i = 0; i < compute->amount && r >= 0; ++i) {
                r = ppp_lock_acquire(task);
                if (r < 0)
                        return r;
                counter = counter + 1;
                compute->counter = counter;
                ppp_lock_release(task);
                if (i % COUNTS_A_LOOK == 0)
                        r = ppp_checkpoint(task);
        }
        return r;
}

static int no_memory(struct ppp_task *task, uint64_t size)
{
        return ppp_fail(task, PPP_REASON_NO_MEMORY, (int32_t)((size + (1 << 20) - 1) >> 20));
}

/* Writes all of the memory, then reads it, a cache line at a time. */
static int stream_over(struct ppp_task *task, unsigned char *memory, uint64_t size, bool write)
{
        unsigned sum = 0;

        for (uint64_t i = 0; i < size;) {
                uint64_t stop = MIN(size, i + STRIPE);
                int r;

                if (write)
                        memset(memory + i, 1, stop - i);
                for (; i < stop; i += 64)
                        sum += memory[i];
                i = stop;
                __asm__ volatile("" : "+r"(sum));
                r = ppp_checkpoint(task);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int compute_touch(struct ppp_task *task, void *argument)
{
        const struct compute *compute = argument;
        uint64_t size = MAX(compute->amount, UINT64_C(1));
        void *memory;
        int r;

        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
                return no_memory(task, size);
        r = stream_over(task, memory, size, true);
        if (r >= 0)
                r = stream_over(task, memory, size, false);
        munmap(memory, size);
        return r;
}

/* Pieces of a page and less, each freed before the next: the cost of the allocator, not of memory.
 */
static int compute_alloc(struct ppp_task *task, void *argument)
{
        const struct compute *compute = argument;
        uint64_t left = compute->amount;
        unsigned n = 0;

        while (left > 0) {
                size_t size = MIN(left, (uint64_t)PAGE >> (n % 8));
                void *piece = malloc(size);
                int r;

                if (!piece)
                        return no_memory(task, compute->amount);
                __asm__ volatile("" : : "r"(piece) : "memory");
                free(piece);
                left -= size;
                if (++n % 256 != 0)
                        continue;
                r = ppp_checkpoint(task);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* As a fault of a program does it, whatever a sanitizer has set up, and without a core file. */
static int compute_crash(struct ppp_task *task, void *argument)
{
        static const struct rlimit none = { 0, 0 };

        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        return ppp_fail(task, PPP_REASON_IO, ENOTRECOVERABLE);
}

static int compute_exit(struct ppp_task *task, void *argument)
{
        const struct compute *compute = argument;

        _exit((int)compute->amount);
}

typedef int compute_fn(struct ppp_task *task, void *argument);

static compute_fn *const computes[_MIX_PART_N] = {
        [MIX_CPU] = compute_cpu,       [MIX_LOCK] = compute_lock,   [MIX_SHARED] = compute_shared,
        [MIX_LOCKED] = compute_locked, [MIX_TOUCH] = compute_touch, [MIX_ALLOC] = compute_alloc,
        [MIX_CRASH] = compute_crash,   [MIX_EXIT] = compute_exit,
};

static int discard(void *userdata, const struct ppp_chunk *chunk)
{
        return 0;
}

static int run_part(struct ppp_task *task, const struct mix_part *part, uint64_t *value)
{
        struct compute compute = { part->amount, *value };
        int r;

        if (part->kind == MIX_SLEEP)
                return ppp_sleep(task, part->amount);
        if (part->kind == MIX_READ)
                return ppp_read_file(task, part->path, discard, NULL);
        r = ppp_compute(task, computes[part->kind], &compute, sizeof(compute));
        *value = compute.counter;
        return r;
}

static int fail_input(struct ppp_task *task, int error, int32_t number)
{
        switch (error) {
        case -ENOENT:
                return ppp_fail(task, PPP_REASON_BAD_PART, number);
        case -ERANGE:
                return ppp_fail(task, PPP_REASON_TOO_LARGE, PPP_TOO_LARGE_NUMBER);
        case -EDOM:
                return ppp_fail(task, PPP_REASON_NEGATIVE, 0);
        case -ENOMEM:
                return ppp_fail(task, PPP_REASON_NO_MEMORY, 0);
        default:
                return ppp_fail(task, PPP_REASON_NOT_A_NUMBER, 0);
        }
}

/* All of the input is read before any of it is done. */
static int run(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value)
{
        _cleanup_(mix_input_deinit) struct mix_input mix = MIX_INPUT_NULL;
        uint64_t value = 0;
        int r;

        r = mix_input_parse(input, &mix);
        if (r < 0)
                return fail_input(task, r, (int32_t)mix.n_parts + 1);
        for (size_t i = 0; i < mix.n_parts; ++i) {
                r = run_part(task, &mix.parts[i], &value);
                if (r < 0)
                        return r;
        }
        *ret_value = value;
        return 0;
}

const struct ppp_workload workload_mix = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "mix",
        .run = run,
};
