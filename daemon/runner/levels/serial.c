/*
 * serial: one worker, the runner's own thread. The baseline the other levels are compared with.
 */

#include "daemon/runner/io/blocking.h"
#include "daemon/runner/levels/descriptors.h"
#include "daemon/runner/levels/levels.h"
#include "daemon/runner/measure.h"

int level_serial_run(struct runner *runner)
{
        struct blocking_io *io;
        struct worker worker;
        int r;

        descriptors_share(runner, 0);
        r = blocking_io_new(runner, &io);
        if (r < 0) {
                log_error("cannot set up the worker: %s", strerrordesc_np(-r));
                return r;
        }
        worker_init(&worker, runner, 0, &blocking_ops, io);
        (void)worker_run(&worker); /* cancelled is no error of the level's */
        blocking_io_free(io);
        measure_unavailable(runner, "worker_start_seconds", "serial starts no worker");
        return 0;
}
