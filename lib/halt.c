#include "lib/halt.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
        const char *prefix, *suffix;
        uint32_t max;
} forms[] = {
        [HALT_FAILED] = { "fail=", "", UINT32_MAX },
        [HALT_FAILED_PERCENT] = { "fail=", "%", 100 },
        [HALT_DONE] = { "done=", "", UINT32_MAX },
};

static bool read_form(const char *text, enum halt_of of, struct halt *halt)
{
        size_t n_prefix = strlen(forms[of].prefix),
               n = strspn(text + MIN(n_prefix, strlen(text)), "0123456789");
        uint64_t value;

        if (strncmp(text, forms[of].prefix, n_prefix) != 0 ||
            !streq(text + n_prefix + n, forms[of].suffix) ||
            parse_u64(text + n_prefix, n, forms[of].max, &value) < 0 || value == 0)
                return false;
        halt->of = of;
        halt->n = (uint32_t)value;
        return true;
}

int halt_from_text(const char *text, struct halt *ret)
{
        struct halt halt = { .now = strncmp(text, "now,", 4) == 0 };

        if (!halt.now && strncmp(text, "soon,", 5) != 0)
                return -EINVAL;
        text = strchr(text, ',') + 1;
        for (enum halt_of i = HALT_FAILED; i <= HALT_DONE; ++i)
                if (read_form(text, i, &halt)) {
                        *ret = halt;
                        return 0;
                }
        return -EINVAL;
}

const char *halt_to_text(const struct halt *halt, char ret[static HALT_TEXT_SIZE])
{
        snprintf(ret, HALT_TEXT_SIZE, "%s,%s%" PRIu32 "%s", halt->now ? "now" : "soon",
                 forms[halt->of].prefix, halt->n, forms[halt->of].suffix);
        return ret;
}

bool halt_is_reached(const struct halt *halt, uint64_t n_done, uint64_t n_failed, uint64_t n_tasks)
{
        switch (halt->of) {
        case HALT_NEVER:
                return false;
        case HALT_FAILED:
                return n_failed >= halt->n;
        case HALT_FAILED_PERCENT:
                return n_failed > 0 && n_failed * 100 >= n_tasks * halt->n;
        case HALT_DONE:
                return n_done >= halt->n;
        }
        assert(false);
        return false;
}
