/* Limits as the text of an option, as people write it. */

#include <stdio.h>

#include "lib/block-device.h"
#include "lib/cpu-list.h"
#include "lib/limits.h"
#include "lib/spec-reader.h"

static int refuse(enum limit limit, const char *text, const char *what, struct fault *fault)
{
        return fault_say(fault, -EBADMSG, limit_infos[limit].form, "\"%.*s\" %s",
                         utf8_prefix(text, NAME_SHOWN), text, what);
}

/* "150%", "12.5%": hundredths of a CPU, kept in millionths. */
static int parse_percent(const char *text, uint64_t *ret)
{
        size_t n = strlen(text), whole = strspn(text, "0123456789"), digits = 0;
        uint64_t v, unit = LIMIT_CPU / 100;
        int r;

        if (n < 2 || text[n - 1] != '%')
                return -EINVAL;
        if (text[whole] == '.')
                digits = strspn(text + whole + 1, "0123456789");
        if (whole + (text[whole] == '.' ? 1 + digits : 0) != n - 1 ||
            (text[whole] == '.' && !digits))
                return -EINVAL;
        r = parse_u64(text, whole, limit_infos[LIMIT_CPU_MAX].max / unit, &v);
        if (r < 0)
                return r;
        v *= unit;
        for (size_t i = 0; i < digits; ++i) {
                unit /= 10;
                v += (uint64_t)(text[whole + 1 + i] - '0') * unit;
        }
        *ret = v / 10 * 10;
        return 0;
}

static int parse_value(enum limit limit, const char *text, uint64_t *ret)
{
        const struct limit_info *info = &limit_infos[limit];

        if (info->takes_none && streq(text, "max")) {
                *ret = LIMIT_NONE;
                return 0;
        }
        switch (info->kind) {
        case LIMIT_KIND_CPUS:
                return parse_percent(text, ret);
        case LIMIT_KIND_COUNT:
                return parse_u64(text, strlen(text), info->max, ret);
        case LIMIT_KIND_BYTES:
        default:
                return parse_size(text, ret);
        }
}

static int set_number(struct limits *limits, enum limit limit, const char *text,
                      struct fault *fault)
{
        const struct limit_info *info = &limit_infos[limit];
        uint64_t v;
        int r;

        r = parse_value(limit, text, &v);
        if (r == -EINVAL)
                return refuse(limit, text, "is not what it takes", fault);
        if (r == -ERANGE || (v != LIMIT_NONE && v > info->max))
                return refuse(limit, text, "is too large", fault);
        if (v < info->min)
                return refuse(limit, text, v == 0 ? "would let nothing run" : "is too small",
                              fault);
        limits->values[limit] = v;
        return 0;
}

static int set_cpus(struct limits *limits, const char *text, struct fault *fault)
{
        struct cpu_list list;
        char *copy;

        if (strchr(text, '\n') || cpu_list_parse(text, &list) < 0)
                return refuse(LIMIT_CPUS, text, "is no list of CPUs", fault);
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        free(limits->cpus);
        limits->cpus = copy;
        return 0;
}

static int parse_rate(const char *word, struct io_limit *io)
{
        for (unsigned i = 0; i < _IO_RATE_N; ++i) {
                size_t n = strlen(io_rate_infos[i].key);

                if (strncmp(word, io_rate_infos[i].key, n) != 0 || word[n] != '=')
                        continue;
                if (streq(word + n + 1, "max")) {
                        io->rates[i] = LIMIT_NONE;
                        return 0;
                }
                return parse_size(word + n + 1, &io->rates[i]);
        }
        return -EINVAL;
}

static int add_rate(const char *word, struct io_limit *io, struct fault *fault)
{
        int r = parse_rate(word, io);

        if (r == -ERANGE)
                return refuse(LIMIT_IO_MAX, word, "is too large, at most 8388607T", fault);
        if (r < 0)
                return refuse(LIMIT_IO_MAX, word, "is no rate", fault);
        for (unsigned i = 0; i < _IO_RATE_N; ++i) {
                if (io->rates[i] == 0)
                        return refuse(LIMIT_IO_MAX, word, "would let nothing through", fault);
                if (io->rates[i] < io_rate_infos[i].min)
                        return fault_say(fault, -EBADMSG, limit_infos[LIMIT_IO_MAX].form,
                                         "\"%.*s\" is too small, at least %s",
                                         utf8_prefix(word, NAME_SHOWN), word,
                                         io_rate_infos[i].at_least);
        }
        return 0;
}

static int find_device(const char *text, struct io_limit *io, struct fault *fault)
{
        int r = block_device_find(text, &io->major, &io->minor);

        if (r == -ERANGE)
                return refuse(LIMIT_IO_MAX, text, "is out of range: no disk has such numbers",
                              fault);
        if (r == -ENODEV)
                return fault_say(fault, -EBADMSG, limit_infos[LIMIT_IO_MAX].form,
                                 "no disk is behind %s (it may be on tmpfs, overlay or a network "
                                 "file system)",
                                 text);
        if (r < 0)
                return fault_say(fault, -EBADMSG, limit_infos[LIMIT_IO_MAX].form,
                                 "cannot find the disk of %s: %s", text, strerrordesc_np(-r));
        return 0;
}

/* Takes the words of @text, which it splits in place: the device, then rates. */
static int parse_io(char *text, struct io_limit *io, struct fault *fault)
{
        char *rest = text, *word, *device = NULL;
        unsigned n = 0;
        int r;

        *io = (struct io_limit){ .rates = { LIMIT_NONE, LIMIT_NONE, LIMIT_NONE, LIMIT_NONE } };
        while ((word = strsep(&rest, " \t"))) {
                if (!*word)
                        continue;
                if (!device) {
                        device = word;
                        continue;
                }
                r = add_rate(word, io, fault);
                if (r < 0)
                        return r;
                ++n;
        }
        if (!device || n == 0)
                return refuse(LIMIT_IO_MAX, device ?: "", "names no rate", fault);
        return find_device(device, io, fault);
}

static int add_io(struct limits *limits, const char *text, struct fault *fault)
{
        _cleanup_free_ char *copy = strdup(text);
        struct io_limit io, *larger;
        int r;

        if (!copy)
                return -ENOMEM;
        r = parse_io(copy, &io, fault);
        if (r < 0)
                return r;
        if (limits_find_io(limits, io.major, io.minor))
                return fault_say(fault, -EBADMSG, NULL,
                                 "the disk %u:%u is limited twice; give all of its rates together, "
                                 "as in '%u:%u rbps=10M wbps=10M'",
                                 io.major, io.minor, io.major, io.minor);
        larger = reallocarray(limits->io, limits->n_io + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        limits->io = larger;
        limits->io[limits->n_io++] = io;
        return 0;
}

int limits_set_text(struct limits *limits, enum limit limit, const char *text, struct fault *fault)
{
        int r;

        assert(limit < _LIMIT_N);
        if (limit_infos[limit].kind == LIMIT_KIND_CPU_LIST)
                r = set_cpus(limits, text, fault);
        else if (limit_infos[limit].kind == LIMIT_KIND_RATES)
                r = add_io(limits, text, fault);
        else
                r = set_number(limits, limit, text, fault);
        if (r >= 0)
                limits->given |= LIMIT_BIT(limit);
        return r;
}
