#include "daemon/runner/workloads/mix-input.h"

#define TIME_MAX_NS (UINT64_C(86400) * NSEC_PER_SEC)
#define COUNT_MAX   UINT64_C(1000000000000)
#define SIZE_MAX_   (UINT64_C(1) << 40)
#define STATUS_MAX  255

enum amount {
        AMOUNT_NONE,
        AMOUNT_TIME,
        AMOUNT_SIZE,
        AMOUNT_COUNT,
        AMOUNT_PATH,
};

static const struct {
        const char *name;
        enum amount amount;
        uint64_t max;
} infos[_MIX_PART_N] = {
        [MIX_CPU] = { "cpu", AMOUNT_TIME, TIME_MAX_NS },
        [MIX_SLEEP] = { "sleep", AMOUNT_TIME, TIME_MAX_NS },
        [MIX_LOCK] = { "lock", AMOUNT_TIME, TIME_MAX_NS },
        [MIX_SHARED] = { "shared", AMOUNT_COUNT, COUNT_MAX },
        [MIX_LOCKED] = { "locked", AMOUNT_COUNT, COUNT_MAX },
        [MIX_TOUCH] = { "touch", AMOUNT_SIZE, SIZE_MAX_ },
        [MIX_ALLOC] = { "alloc", AMOUNT_SIZE, SIZE_MAX_ },
        [MIX_READ] = { "read", AMOUNT_PATH, 0 },
        [MIX_CRASH] = { "crash", AMOUNT_NONE, 0 },
        [MIX_EXIT] = { "exit", AMOUNT_COUNT, STATUS_MAX },
};

static int parse_amount(enum amount amount, const char *text, uint64_t *ret)
{
        switch (amount) {
        case AMOUNT_TIME:
                return parse_duration(text, ret);
        case AMOUNT_SIZE:
                return parse_size(text, ret);
        default:
                return parse_u64(text, strlen(text), UINT64_MAX, ret);
        }
}

static int read_amount(enum amount amount, const char *text, struct mix_part *part)
{
        uint64_t ignored;
        int r;

        if (amount == AMOUNT_NONE)
                return text ? -EINVAL : 0;
        if (!text || !*text)
                return -EINVAL;
        if (amount == AMOUNT_PATH) {
                part->path = text;
                return 0;
        }
        r = parse_amount(amount, text, &part->amount);
        if (r == -EINVAL && text[0] == '-' && parse_amount(amount, text + 1, &ignored) != -EINVAL)
                return -EDOM;
        return r >= 0 && part->amount > infos[part->kind].max ? -ERANGE : r;
}

static int read_part(char *text, struct mix_part *part)
{
        char *amount = strchr(text, '=');

        if (amount)
                *amount++ = 0;
        for (enum mix_kind kind = 0; kind < _MIX_PART_N; ++kind)
                if (streq(text, infos[kind].name)) {
                        *part = (struct mix_part){ .kind = kind };
                        return read_amount(infos[kind].amount, amount, part);
                }
        return -ENOENT;
}

static size_t count_parts(const char *text)
{
        size_t n = 1;

        for (; *text; ++text)
                n += *text == ',';
        return n;
}

int mix_input_parse(const char *text, struct mix_input *ret)
{
        char *rest, *part;
        int r;

        *ret = (struct mix_input){ .text = strdup(text) };
        if (!ret->text)
                return -ENOMEM;
        ret->parts = calloc(count_parts(text), sizeof(*ret->parts));
        if (!ret->parts)
                return -ENOMEM;
        rest = ret->text;
        while ((part = strsep(&rest, ","))) {
                r = read_part(part, &ret->parts[ret->n_parts]);
                if (r < 0)
                        return r;
                ++ret->n_parts;
        }
        return 0;
}

void mix_input_deinit(struct mix_input *input)
{
        free(input->text);
        free(input->parts);
}
