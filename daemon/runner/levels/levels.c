#include "daemon/runner/levels/levels.h"

static level_run *const levels[_LEVEL_N] = {
#define LEVEL_ROW(number, name) [number] = level_##name##_run,
        LEVELS(LEVEL_ROW)
#undef LEVEL_ROW
};

level_run *level_run_of(enum level level)
{
        assert((unsigned)level < _LEVEL_N);
        return levels[level];
}
