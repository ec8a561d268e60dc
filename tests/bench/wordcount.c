/*
 * How fast words are counted, for each path of this machine: `wordcount FILE [CHUNK]` reads the
 * file in chunks, as the runner does, and counts them; then counts one chunk again and again from
 * the cache. Prints seconds and GB/s, the best of some runs.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon/runner/workloads/wordcount.h"

#define RUNS         5
#define CACHED_BYTES (UINT64_C(64) << 20) /* counted in one run from the cache */

struct figures {
        uint64_t words, bytes, ns;
};

static int count_file(const char *path, uint8_t *chunk, size_t size, struct figures *ret)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct wordcount count = WORDCOUNT_NULL;
        uint64_t start = now_monotonic(), bytes = 0;
        ssize_t n;

        if (fd < 0)
                return -errno;
        while ((n = read(fd, chunk, size)) > 0) {
                wordcount_feed(&count, chunk, (size_t)n);
                bytes += (uint64_t)n;
        }
        if (n < 0)
                return -errno;
        *ret = (struct figures){ wordcount_finish(&count), bytes, now_monotonic() - start };
        return 0;
}

static int count_cached(const char *path, uint8_t *chunk, size_t size, struct figures *ret)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct wordcount count = WORDCOUNT_NULL;
        uint64_t start, bytes = 0;
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read_all(fd, chunk, size);
        if (n <= 0)
                return n < 0 ? (int)n : -ENODATA;
        start = now_monotonic();
        for (; bytes < CACHED_BYTES; bytes += (uint64_t)n)
                wordcount_feed(&count, chunk, (size_t)n);
        *ret = (struct figures){ wordcount_finish(&count), bytes, now_monotonic() - start };
        return 0;
}

typedef int measure_fn(const char *path, uint8_t *chunk, size_t size, struct figures *ret);

static int best_of(const char *what, measure_fn *measure, const char *path, uint8_t *chunk,
                   size_t size)
{
        struct figures best = { .ns = UINT64_MAX };

        for (int i = 0; i < RUNS; ++i) {
                struct figures figures;
                int r = measure(path, chunk, size, &figures);

                if (r < 0)
                        return r;
                if (figures.ns < best.ns)
                        best = figures;
        }
        printf("%-7s %-6s %" PRIu64 " words, %.4f s, %.2f GB/s\n", wordcount_path(), what,
               best.words, (double)best.ns / NSEC_PER_SEC, (double)best.bytes / (double)best.ns);
        return 0;
}

static int run(const char *path, size_t size)
{
        static const char *const paths[] = { "avx2", "scalar" };
        _cleanup_free_ uint8_t *chunk = malloc(size);
        int r;

        if (!chunk)
                return -ENOMEM;
        for (size_t i = 0; i < ARRAY_SIZE(paths); ++i) {
                if (wordcount_use(paths[i]) < 0)
                        continue;
                r = best_of("file", count_file, path, chunk, size);
                if (r >= 0)
                        r = best_of("cached", count_cached, path, chunk, size);
                if (r < 0)
                        return r;
        }
        return 0;
}

int main(int argc, char **argv)
{
        uint64_t size = 128 * 1024;
        int r = argc == 2 || argc == 3 ? 0 : -EINVAL;

        if (argc == 3)
                r = parse_u64(argv[2], strlen(argv[2]), UINT64_C(1) << 30, &size);
        if (r < 0 || size == 0) {
                fprintf(stderr, "usage: wordcount FILE [CHUNK-BYTES]\n");
                return 2;
        }
        r = run(argv[1], size);
        if (r == 0)
                return EXIT_SUCCESS;
        fprintf(stderr, "wordcount: cannot count the words of %s: %s\n", argv[1], strerror(-r));
        return EXIT_FAILURE;
}
