/* The early end of a job: because it was cancelled, or has come to what its "halt" says. */

#include <unistd.h>

#include "daemon/runner/runner.h"

void runner_cancel(struct runner *runner)
{
        static const uint64_t one = 1;
        int saved = errno;

        __atomic_store_n(&runner->cancelled, true, __ATOMIC_RELAXED);
        /* Fails only when the counter is full: then it is readable already. */
        if (write(runner->cancel_fd, &one, sizeof(one)) < 0)
                errno = saved;
        errno = saved;
}

void runner_look_at_halt(struct runner *runner)
{
        const struct ppp_results_header *header = runner->results.header;
        const struct halt *halt = &runner->spec.halt;

        if (_likely_(halt->of == HALT_NEVER) ||
            !halt_is_reached(halt, __atomic_load_n(&header->n_done, __ATOMIC_RELAXED),
                             __atomic_load_n(&header->n_failed, __ATOMIC_RELAXED),
                             runner->results.n_tasks))
                return;
        __atomic_store_n(&runner->halted, true, __ATOMIC_RELAXED);
        __atomic_store_n(&runner->source->leaving, 1, __ATOMIC_RELEASE);
        if (halt->now)
                runner_cancel(runner);
}
