/*
 * The checks of fibers without a test library, for a static program that an emulator can run:
 *
 *   aarch64-linux-gnu-gcc -static -std=gnu17 -O2 -D_GNU_SOURCE -I. -Iinclude -o fiber-standalone \
 *       tests/unit/fiber-standalone.c daemon/runner/loop/fiber*.c
 *       daemon/runner/loop/fiber-aarch64.S
 *   qemu-aarch64-static ./fiber-standalone
 *
 * With -DFIBER_UCONTEXT it checks the fallback.
 */

#include "tests/unit/fiber-checks.h"

static const struct {
        const char *name;
        const char *(*run)(void);
} checks[] = {
        { "many fibers", check_many },       { "callee-saved registers", check_registers },
        { "rounding mode", check_rounding }, { "deep recursion", check_deep },
        { "guard page", check_guard },
};

int main(void)
{
        int status = EXIT_SUCCESS;

        for (size_t i = 0; i < ARRAY_SIZE(checks); ++i) {
                const char *wrong = checks[i].run();

                printf("%s: %s: %s\n", fiber_switch_name(), checks[i].name, wrong ? wrong : "ok");
                if (wrong)
                        status = EXIT_FAILURE;
        }
        return status;
}
