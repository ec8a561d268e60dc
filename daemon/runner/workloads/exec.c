/* exec: runs the job's command for each input (exec/). Its value is 0: a command that fails, fails.
 */

#include <pppctl/workload.h>

#include "daemon/runner/task.h"

static int run(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value)
{
        *ret_value = 0;
        return task_run_command(task, input, n_input);
}

const struct ppp_workload workload_exec = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "exec",
        .run = run,
};
