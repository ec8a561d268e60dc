/*
 * Limits in the files of a group: written one by one, then all read back. Values that the kernel
 * rounds (memory, to pages) are expected rounded; values that it accepts and does not follow (CPUs
 * that the parent does not have) are found by reading those in effect.
 */

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/cpu-list.h"
#include "lib/limits.h"
#include "lib/spec.h"

#define CPU_PERIOD_USEC UINT64_C(100000)

static void format_value(enum limit limit, uint64_t value, char text[static 64])
{
        if (limit == LIMIT_CPU_MAX)
                snprintf(text, 64, "%llu %llu",
                         (unsigned long long)(value * CPU_PERIOD_USEC / LIMIT_CPU),
                         (unsigned long long)CPU_PERIOD_USEC);
        else
                snprintf(text, 64, "%llu", (unsigned long long)value);
}

static size_t format_rate(char *text, size_t size, const char *key, uint64_t rate)
{
        if (rate == LIMIT_NONE)
                return (size_t)snprintf(text, size, " %s=max", key);
        return (size_t)snprintf(text, size, " %s=%llu", key, (unsigned long long)rate);
}

static int write_io(int fd, const struct io_limit *io)
{
        char text[192];
        size_t n = (size_t)snprintf(text, sizeof(text), "%u:%u", io->major, io->minor);

        for (unsigned i = 0; i < _IO_RATE_N; ++i)
                n += format_rate(text + n, sizeof(text) - n, io_rate_infos[i].key, io->rates[i]);
        return cgroup_write(fd, limit_infos[LIMIT_IO_MAX].file, text);
}

static int write_limit(int fd, const struct limits *limits, enum limit limit)
{
        const char *file = limit_infos[limit].file;
        char text[64];
        int r = 0;

        if (limit == LIMIT_CPUS)
                return cgroup_write(fd, file, limits->cpus);
        if (limit == LIMIT_IO_MAX) {
                for (size_t i = 0; i < limits->n_io && r >= 0; ++i)
                        r = write_io(fd, &limits->io[i]);
                return r;
        }
        format_value(limit, limits->values[limit], text);
        return cgroup_write(fd, file, text);
}

/* "max 100000", "150000 100000" */
static int read_cpu_max(int fd, uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        unsigned long long quota, period;
        int r;

        r = read_file_at(fd, limit_infos[LIMIT_CPU_MAX].file, &text, NULL);
        if (r < 0)
                return r;
        if (strncmp(text, "max ", 4) == 0) {
                *ret = LIMIT_NONE;
                return 0;
        }
        if (sscanf(text, "%llu %llu", &quota, &period) != 2 || period == 0)
                return -EBADMSG;
        *ret = quota * LIMIT_CPU / period;
        return 0;
}

static int read_number(int fd, enum limit limit, struct limits *limits)
{
        uint64_t value;
        int r;

        if (limit == LIMIT_CPU_MAX)
                r = read_cpu_max(fd, &value);
        else
                r = cgroup_read_u64(fd, limit_infos[limit].file, &value);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        /* A weight can't be "none": 100 is the value when nobody asked for one. */
        if (value == LIMIT_NONE || (limit == LIMIT_CPU_WEIGHT && value == 100))
                return 0;
        limits->values[limit] = value;
        limits->given |= LIMIT_BIT(limit);
        return 0;
}

static int read_cpus(int fd, struct limits *limits)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file_at(fd, limit_infos[LIMIT_CPUS].file, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        text[strcspn(text, "\n")] = 0;
        if (!*text)
                return 0;
        limits->cpus = steal_ptr(text);
        limits->given |= LIMIT_BIT(LIMIT_CPUS);
        return 0;
}

static uint64_t parse_rate(const char *line, const char *key)
{
        char word[16];
        const char *at;
        uint64_t v;

        snprintf(word, sizeof(word), " %s=", key);
        at = strstr(line, word);
        if (!at)
                return LIMIT_NONE;
        at += strlen(word);
        return parse_u64(at, strspn(at, "0123456789"), UINT64_MAX, &v) < 0 ? LIMIT_NONE : v;
}

static int parse_io(char *text, struct limits *limits)
{
        char *line;

        while ((line = strsep(&text, "\n"))) {
                struct io_limit io, *larger;

                if (sscanf(line, "%u:%u", &io.major, &io.minor) != 2)
                        continue;
                for (unsigned i = 0; i < _IO_RATE_N; ++i)
                        io.rates[i] = parse_rate(line, io_rate_infos[i].key);
                larger = reallocarray(limits->io, limits->n_io + 1, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                limits->io = larger;
                limits->io[limits->n_io++] = io;
                limits->given |= LIMIT_BIT(LIMIT_IO_MAX);
        }
        return 0;
}

static int read_io(int fd, struct limits *limits)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file_at(fd, limit_infos[LIMIT_IO_MAX].file, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return parse_io(text, limits);
}

int limits_read(int fd, struct limits *ret)
{
        struct limits limits = LIMITS_NULL;
        int r = 0;

        for (enum limit i = 0; i < _LIMIT_N && r >= 0; ++i)
                if (limit_is_number(i))
                        r = read_number(fd, i, &limits);
        if (r >= 0)
                r = read_cpus(fd, &limits);
        if (r >= 0)
                r = read_io(fd, &limits);
        if (r < 0) {
                limits_deinit(&limits);
                return r;
        }
        *ret = limits;
        return 0;
}

static _printf_(6, 7) int refuse(struct fault *fault, int r, const char *path, enum limit limit,
                                 const char *hint, const char *why, ...)
{
        char field[128];
        va_list ap;

        snprintf(field, sizeof(field), "%s.%s", path, limit_infos[limit].member);
        va_start(ap, why);
        (void)fault_refuse_v(fault, r, field, hint, why, ap);
        va_end(ap);
        return r;
}

static const char *hint_for(enum limit limit, int error)
{
        if (error == -ENOENT && limit == LIMIT_SWAP_MAX)
                return "the kernel does not account for swap: boot with swapaccount=1, or leave "
                       "the limit out";
        if (error == -ENOENT && limit == LIMIT_IO_MAX)
                return "the kernel needs CONFIG_BLK_DEV_THROTTLING, or leave the limit out";
        if (error == -ENODEV && limit == LIMIT_IO_MAX)
                return "give the numbers of a whole disk that is there (lsblk -d shows them)";
        if (error == -EACCES || error == -EPERM)
                return "the daemon may not write there: start it as a service with Delegate=yes";
        return "pppctl doctor tells which limits can be had here; leave this one out";
}

/* Whether an io.max that was asked for is among those in force. */
static bool has_io(const struct limits *limits, const struct io_limit *io)
{
        const struct io_limit *found = limits_find_io(limits, io->major, io->minor);

        return found && memcmp(found->rates, io->rates, sizeof(io->rates)) == 0;
}

static bool has_cpus(int fd, const char *cpus)
{
        struct cpu_list asked, effective;
        _cleanup_free_ char *text = NULL;

        return read_file_at(fd, "cpuset.cpus.effective", &text, NULL) >= 0 &&
               cpu_list_parse(cpus, &asked) >= 0 && cpu_list_parse(text, &effective) >= 0 &&
               cpu_list_equals(&asked, &effective);
}

static bool has_number(const struct limits *in_force, enum limit limit, uint64_t asked)
{
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

        if (limit == LIMIT_CPU_WEIGHT && asked == 100)
                return !limits_has(in_force, limit);
        if (limit_infos[limit].controller == CGROUP_MEMORY)
                asked -= asked % page;
        return limits_has(in_force, limit) && in_force->values[limit] == asked;
}

static bool is_in_force(const struct limits *in_force, int fd, const struct limits *asked,
                        enum limit limit)
{
        if (limit == LIMIT_CPUS)
                return has_cpus(fd, asked->cpus);
        if (limit != LIMIT_IO_MAX)
                return has_number(in_force, limit, asked->values[limit]);
        for (size_t i = 0; i < asked->n_io; ++i)
                if (!has_io(in_force, &asked->io[i]))
                        return false;
        return true;
}

static int check(const struct limits *limits, int fd, const char *path, struct fault *fault)
{
        struct limits in_force;
        int r;

        r = limits_read(fd, &in_force);
        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                if (!limits_enforces(limits, i))
                        continue;
                if (r < 0)
                        return refuse(fault, r, path, i, hint_for(i, r),
                                      "what is in force cannot be read back: %s",
                                      strerrordesc_np(-r));
                if (!is_in_force(&in_force, fd, limits, i)) {
                        limits_deinit(&in_force);
                        return refuse(fault, -EOPNOTSUPP, path, i,
                                      i == LIMIT_CPUS
                                              ? "give CPUs that are on line and the daemon's to use"
                                              : hint_for(i, 0),
                                      "the kernel took it for %s, and reads back something else",
                                      limit_infos[i].file);
                }
        }
        if (r >= 0)
                limits_deinit(&in_force);
        return 0;
}

int limits_apply(const struct limits *limits, int fd, const char *path, struct fault *fault)
{
        bool any = false;

        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                int r;

                if (!limits_enforces(limits, i))
                        continue;
                any = true;
                r = write_limit(fd, limits, i);
                if (r < 0)
                        return refuse(fault, r, path, i, hint_for(i, r),
                                      "cannot write %s of the cgroup: %s", limit_infos[i].file,
                                      strerrordesc_np(-r));
        }
        return any ? check(limits, fd, path, fault) : 0;
}
