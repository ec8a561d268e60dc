#include "daemon/runner/levels/levels.h"

static level_run *const levels[_LEVEL_N] = {
        [LEVEL_SERIAL] = level_serial_run,       [LEVEL_THREADS] = level_threads_run,
        [LEVEL_PROCESSES] = level_processes_run, [LEVEL_ASYNC] = level_async_run,
        [LEVEL_MACHINES] = level_machines_run,
};

level_run *level_run_of(enum level level)
{
        assert((unsigned)level < _LEVEL_N);
        return levels[level];
}
