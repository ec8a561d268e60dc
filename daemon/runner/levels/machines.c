/*
 * machines: workers are nodes, pppds on other machines that share a Redis with this one. Chunks of
 * inputs go out on a stream, records come back on another. There they are run by a level like those
 * here (node/node.h); this is the coordinator (machines/coordinator.h).
 */

#include "daemon/runner/levels/levels.h"
#include "daemon/runner/machines/coordinator.h"

static void measure(const struct coordinator *c)
{
        uint64_t n_seen, n_workers;

        roster_count_seen(&c->roster, &n_seen, &n_workers);
        measure_integer(c->runner, "workers", n_workers);
        measure_object(c->runner, "machines",
                       json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "nodes", (json_int_t)n_seen,
                                 "chunks_sent", (json_int_t)c->ledger.n_sent, "chunks_resent",
                                 (json_int_t)c->ledger.n_resent, "results_duplicate",
                                 (json_int_t)c->ledger.n_duplicate, "results_foreign",
                                 (json_int_t)c->results.n_foreign, "sent_bytes",
                                 (json_int_t)c->ledger.n_bytes));
        /*
         * For the balance between them. Records from before a restart have other numbers for the
         * same nodes.
         */
        c->runner->spec.workers = c->runner->resuming ? 0 : (uint32_t)n_seen;
}

int level_machines_run(struct runner *runner)
{
        struct coordinator c;
        int r = coordinator_init(&c, runner);

        if (r >= 0)
                r = coordinator_run(&c);
        measure(&c);
        coordinator_deinit(&c);
        return r;
}
