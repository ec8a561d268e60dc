#include "lib/cpu-list.h"

static int parse_cpu(const char **text, unsigned *ret)
{
        size_t n = strspn(*text, "0123456789");
        uint64_t v;
        int r;

        r = parse_u64(*text, n, CPU_LIST_MAX - 1, &v);
        if (r < 0)
                return r;
        *text += n;
        *ret = (unsigned)v;
        return 0;
}

/* "5" or "5-7". */
static int parse_range(const char **text, struct cpu_list *list)
{
        unsigned first, last;
        int r;

        r = parse_cpu(text, &first);
        if (r < 0)
                return r;
        last = first;
        if (**text == '-') {
                ++*text;
                r = parse_cpu(text, &last);
                if (r < 0)
                        return r;
        }
        if (last < first)
                return -EINVAL;
        for (unsigned i = first; i <= last; ++i)
                list->bits[i / 64] |= UINT64_C(1) << i % 64;
        return 0;
}

int cpu_list_parse(const char *text, struct cpu_list *ret)
{
        struct cpu_list list = { 0 };
        int r;

        for (;;) {
                r = parse_range(&text, &list);
                if (r < 0)
                        return r;
                if (*text != ',')
                        break;
                ++text;
        }
        if (*text && !streq(text, "\n"))
                return -EINVAL;
        *ret = list;
        return 0;
}

int cpu_list_first_missing(const struct cpu_list *list, const struct cpu_list *of)
{
        for (unsigned i = 0; i < ARRAY_SIZE(list->bits); ++i) {
                uint64_t missing = list->bits[i] & ~of->bits[i];

                if (missing)
                        return (int)(i * 64 + (unsigned)__builtin_ctzll(missing));
        }
        return -1;
}

unsigned cpu_list_count(const struct cpu_list *list)
{
        unsigned n = 0;

        for (unsigned i = 0; i < ARRAY_SIZE(list->bits); ++i)
                n += (unsigned)__builtin_popcountll(list->bits[i]);
        return n;
}
