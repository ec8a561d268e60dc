#include "daemon/supervisor/kept/checkpoint.h"

#include "daemon/supervisor/base/log.h"

static int child_exec(void *userdata, int out_fd)
{
        const struct checkpoint *checkpoint = userdata;
        char *argv[] = { (char *)"pppd-supervisor", (char *)CHECKPOINT_ARG, checkpoint->path,
                         NULL };

        execv("/proc/self/exe", argv);
        return -errno;
}

static void on_done(void *userdata, int r, int out_fd)
{
        struct checkpoint *checkpoint = userdata;

        checkpoint->errand = NULL;
        if (r < 0)
                supervisor_log(LOG_WARNING,
                               "cannot move the write-ahead log into the database of jobs: %s; the "
                               "log grows until this succeeds",
                               strerrordesc_np(-r));
}

void checkpoint_look(struct checkpoint *checkpoint)
{
        const struct errand_work work = {
                .run = child_exec,
                .done = on_done,
                .userdata = checkpoint,
        };
        int r;

        if (checkpoint->errand || !store_wants_checkpoint(checkpoint->store))
                return;
        r = errand_start(checkpoint->event, &work, &checkpoint->errand);
        if (r < 0)
                supervisor_log(
                        LOG_WARNING,
                        "cannot begin to move the write-ahead log into the database of jobs: %s",
                        strerrordesc_np(-r));
}

void checkpoint_deinit(struct checkpoint *checkpoint)
{
        checkpoint->errand = errand_cancel(checkpoint->errand);
}
