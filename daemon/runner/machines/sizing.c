#include "daemon/runner/machines/sizing.h"

#include "daemon/runner/machines/codec.h"

#define GROWTH 4

void sizing_note(struct sizing *sizing, uint32_t n, uint64_t worker_ns)
{
        double task_ns = MAX((double)worker_ns / n, 1.0);

        sizing->task_ns = sizing_knows(sizing) ? (3 * sizing->task_ns + task_ns) / 4 : task_ns;
        sizing->largest = MAX(sizing->largest, n);
}

uint32_t sizing_next(const struct sizing *sizing, uint64_t left, uint64_t workers)
{
        uint64_t size = 1, least = 1,
                 chunk_ns = MAX(SIZING_CHUNK_NS, workers * NSEC_PER_SEC / SIZING_CHUNKS_PER_SECOND);

        if (sizing_knows(sizing)) {
                size = (uint64_t)MIN((double)chunk_ns / sizing->task_ns, (double)CHUNK_TASKS_MAX);
                least = (uint64_t)MIN((double)SIZING_LEAST_NS / sizing->task_ns, (double)size);
        }
        size = MIN(size, MAX(left / (2 * MAX(workers, UINT64_C(1))), least));
        size = MIN(size, (uint64_t)sizing->largest * GROWTH);
        return (uint32_t)MAX(size, UINT64_C(1));
}
