/*
 * sum-array: fills an array with 0 … n-1 and adds it up, as numpy.arange(n).sum() does: fast, at 8
 * bytes of memory a number, and with the global lock (--gil) released for all of it.
 *
 * The memory of one task is bounded: ARRAY_MAX. The kernel promises more memory than it has, and
 * kills when that is touched; so the array is filled in stripes, and before each one we check
 * whether the machine still has the rest. A cgroup's limit is not checked: above that the kernel
 * kills, as --memory-max says.
 */

#include <sys/mman.h>

#include <pppctl/workload.h>

#include "daemon/runner/workloads/number.h"
#include "lib/proc.h"
#include "lib/util.h"

#define ARRAY_MAX (UINT64_C(1) << 29) /* numbers, 4 GiB */
#define BLOCK     UINT64_C(65536)
#define STRIPE    (64 * BLOCK) /* 32 MiB */

static int no_memory(struct ppp_task *task, uint64_t size)
{
        return ppp_fail(task, PPP_REASON_NO_MEMORY, (int32_t)((size + (1 << 20) - 1) >> 20));
}

static bool machine_has(uint64_t size)
{
        uint64_t available;

        return size == 0 || memory_available(&available) < 0 || size <= available;
}

static int fill(struct ppp_task *task, uint64_t *array, uint64_t n)
{
        for (uint64_t i = 0; i < n;) {
                int r;

                if (i % STRIPE == 0 && !machine_has((n - i) * sizeof(*array)))
                        return no_memory(task, n * sizeof(*array));
                for (uint64_t stop = MIN(n, i + BLOCK); i < stop; ++i)
                        array[i] = i;
                r = ppp_checkpoint(task);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_up(struct ppp_task *task, const uint64_t *array, uint64_t n, uint64_t *ret)
{
        uint64_t total = 0;

        for (uint64_t i = 0; i < n;) {
                int r;

                for (uint64_t stop = MIN(n, i + BLOCK); i < stop; ++i)
                        total += array[i];
                r = ppp_checkpoint(task);
                if (r < 0)
                        return r;
        }
        *ret = total;
        return 0;
}

struct sum {
        uint64_t n, total;
};

static int fill_and_add_up(struct ppp_task *task, void *argument)
{
        struct sum *sum = argument;
        uint64_t *array;
        size_t size;
        int r;

        size = (size_t)MAX(sum->n, UINT64_C(1)) * sizeof(*array);
        array = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (array == MAP_FAILED)
                return no_memory(task, size);
        /*
         * As numpy does for large arrays; a kernel without huge pages says EINVAL, which is fine.
         */
        (void)madvise(array, size, MADV_HUGEPAGE);

        ppp_unlock(task);
        r = fill(task, array, sum->n);
        if (r >= 0)
                r = add_up(task, array, sum->n, &sum->total);
        ppp_relock(task);
        munmap(array, size);
        return r;
}

static int run(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value)
{
        struct sum sum = { 0 };
        int r;

        r = number_parse(task, input, n_input, ARRAY_MAX, PPP_TOO_LARGE_ARRAY, &sum.n);
        if (r < 0)
                return r;
        r = ppp_compute(task, fill_and_add_up, &sum, sizeof(sum));
        *ret_value = sum.total;
        return r;
}

const struct ppp_workload workload_sum_array = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "sum-array",
        .run = run,
};
