#include "lib/util.h"

#include <fcntl.h>
#include <sys/mman.h>

int parse_u64(const char *s, size_t n, uint64_t max, uint64_t *ret)
{
        uint64_t v = 0;

        if (n == 0)
                return -EINVAL;
        for (size_t i = 0; i < n; ++i)
                if (s[i] < '0' || s[i] > '9')
                        return -EINVAL;
        for (size_t i = 0; i < n; ++i) {
                if (__builtin_mul_overflow(v, 10, &v) ||
                    __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v) || v > max)
                        return -ERANGE;
        }
        *ret = v;
        return 0;
}

static const struct {
        const char *suffix;
        uint64_t ns;
} duration_units[] = {
        { "ns", 1 },
        { "us", NSEC_PER_USEC },
        { "ms", NSEC_PER_MSEC },
        { "s", NSEC_PER_SEC },
        { "min", 60 * NSEC_PER_SEC },
        { "m", 60 * NSEC_PER_SEC },
        { "h", 3600 * NSEC_PER_SEC },
        { "d", 86400 * NSEC_PER_SEC },
};

/* A loop beats strspn(3) on the few digits that inputs have. */
static size_t count_digits(const char *s)
{
        size_t n = 0;

        while (s[n] >= '0' && s[n] <= '9')
                ++n;
        return n;
}

static uint64_t find_unit(const char *suffix)
{
        if (!*suffix)
                return NSEC_PER_SEC;
        for (size_t i = 0; i < ARRAY_SIZE(duration_units); ++i)
                if (streq(suffix, duration_units[i].suffix))
                        return duration_units[i].ns;
        return 0;
}

int parse_duration(const char *s, uint64_t *ret_ns)
{
        size_t whole = count_digits(s), frac = 0;
        const char *suffix = s + whole, *fraction = NULL;
        uint64_t v = 0, unit, ns;
        int r;

        if (*suffix == '.') {
                fraction = suffix + 1;
                frac = count_digits(fraction);
                suffix = fraction + frac;
                if (frac == 0)
                        return -EINVAL;
        }
        if (whole == 0)
                return -EINVAL;
        r = parse_u64(s, whole, UINT64_MAX, &v);
        if (r < 0)
                return r;

        unit = find_unit(suffix);
        if (unit == 0)
                return -EINVAL;
        if (__builtin_mul_overflow(v, unit, &ns))
                return -ERANGE;
        for (size_t k = 0; k < frac && unit > 0; ++k) {
                uint64_t digit = (uint64_t)(fraction[k] - '0');

                if (__builtin_add_overflow(ns, digit * unit / 10, &ns))
                        return -ERANGE;
                unit /= 10;
        }
        *ret_ns = ns;
        return 0;
}

int parse_size(const char *s, uint64_t *ret)
{
        static const char units[] = "KMGT";
        size_t n = count_digits(s);
        const char *unit = s[n] ? strchr(units, s[n]) : NULL;
        unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
        uint64_t v;
        int r;

        if (s[n] && (!unit || s[n + 1]))
                return -EINVAL;
        r = parse_u64(s, n, UINT64_MAX, &v);
        if (r < 0)
                return r;
        if (v > (uint64_t)INT64_MAX >> shift)
                return -ERANGE;
        *ret = v << shift;
        return 0;
}

int utf8_prefix(const char *s, size_t max)
{
        size_t n = strnlen(s, max + 1);

        if (n <= max)
                return (int)n;
        for (n = max; n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80; --n)
                ;
        return (int)n;
}

int hold_standard_fds(void)
{
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
                if (fcntl(fd, F_GETFD) < 0 &&
                    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
                        return -errno;
        return 0;
}

int write_all(int fd, const void *data, size_t n)
{
        const char *p = data;

        while (n > 0) {
                ssize_t l = write(fd, p, n);

                if (l < 0 && errno == EINTR)
                        continue;
                if (l < 0)
                        return -errno;
                p += l;
                n -= (size_t)l;
        }
        return 0;
}

ssize_t read_all(int fd, void *data, size_t n)
{
        size_t got = 0;

        while (got < n) {
                ssize_t l = read(fd, (char *)data + got, n - got);

                if (l < 0 && errno == EINTR)
                        continue;
                if (l < 0)
                        return -errno;
                if (l == 0)
                        break;
                got += (size_t)l;
        }
        return (ssize_t)got;
}

int read_file_at(int dirfd, const char *path, char **ret_text, size_t *ret_n)
{
        _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ char *text = NULL;
        size_t size = 0, n = 0;

        if (fd < 0)
                return -errno;
        for (;;) {
                ssize_t l;

                if (n + 1 >= size) {
                        size_t bigger = size ? size * 2 : 4096;
                        char *p = realloc(text, bigger);

                        if (!p)
                                return -ENOMEM;
                        text = p;
                        size = bigger;
                }
                l = read(fd, text + n, size - n - 1);
                if (l < 0 && errno == EINTR)
                        continue;
                if (l < 0)
                        return -errno;
                if (l == 0)
                        break;
                n += (size_t)l;
        }
        text[n] = 0;
        *ret_text = steal_ptr(text);
        if (ret_n)
                *ret_n = n;
        return 0;
}

int memfd_sealed(const char *name, const void *data, size_t n, int *ret_fd)
{
        _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int r;

        if (fd < 0)
                return -errno;
        r = write_all(fd, data, n);
        if (r < 0)
                return r;
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                return -errno;
        *ret_fd = steal_fd(&fd);
        return 0;
}
