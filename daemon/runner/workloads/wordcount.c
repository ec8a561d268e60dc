/*
 * The word counter: the seams between chunks, the scalar loop, and the choice of a loop.
 *
 * The only state a cut can leave is the beginning of a multi-byte space: one or two bytes, kept in
 * `pending` until the next chunk shows what they are. The rest of the state is one bit, whether the
 * last character was in a word; so the loops (wordcount-bulk.h) never see an incomplete space.
 */

#include "daemon/runner/workloads/wordcount.h"

#include "daemon/runner/workloads/wordcount-bulk.h"

enum kind {
        OTHER,
        SPACE, /* one of ASCII's */
        LEAD,  /* may begin a multi-byte space */
};

static const uint8_t kinds[256] = {
        ['\t' ... '\r'] = SPACE,
        [0x1C ... ' '] = SPACE,
        [0xC2] = LEAD,
        [0xE1 ... 0xE3] = LEAD,
};

/* The bytes 0x80..0xBF that end a space that E2 80 began: U+2000..200A, U+2028, U+2029, U+202F. */
static bool ends_e280(uint8_t c)
{
        return c - 0x80U < 64 && (UINT64_C(0x8300000007FF) >> (c - 0x80) & 1);
}

/* Whether @second may follow @lead in a space of three bytes. */
static bool begins_three(uint8_t lead, uint8_t second)
{
        switch (lead) {
        case 0xE1:
                return second == 0x9A;
        case 0xE2:
                return second == 0x80 || second == 0x81;
        case 0xE3:
                return second == 0x80;
        default:
                return false;
        }
}

/* For three bytes of which begins_three() holds for the first two. */
static bool ends_three(uint8_t lead, uint8_t second, uint8_t third)
{
        if (lead != 0xE2)
                return third == 0x80;
        return second == 0x80 ? ends_e280(third) : third == 0x9F;
}

/* Length of the multi-byte space that a LEAD at @p begins, 0 if none. Reads on while it fits. */
static size_t space_length(const uint8_t *p)
{
        if (p[0] == 0xC2)
                return p[1] == 0x85 || p[1] == 0xA0 ? 2 : 0;
        return begins_three(p[0], p[1]) && ends_three(p[0], p[1], p[2]) ? 3 : 0;
}

void wordcount_bulk_scalar(struct wordcount *count, const uint8_t *p, size_t n)
{
        const uint8_t *end = p + n;
        uint64_t words = 0;
        unsigned outside = !count->in_word;

        while (p < end) {
                unsigned kind = kinds[*p];
                size_t length;

                if (_unlikely_(kind == LEAD)) {
                        length = space_length(p);
                        if (length > 0) {
                                outside = 1;
                                p += length;
                                continue;
                        }
                        kind = OTHER;
                }
                words += outside & ~kind;
                outside = kind;
                ++p;
        }
        count->words += words;
        count->in_word = !outside;
}

/* How many bytes at the end of a chunk may begin a space that the next chunk ends. */
static size_t cut_off(const uint8_t *p, size_t n)
{
        if (n >= 1 && kinds[p[n - 1]] == LEAD)
                return 1;
        return n >= 2 && begins_three(p[n - 2], p[n - 1]) ? 2 : 0;
}

/* The pending bytes turned out to be no space. */
static void pending_is_text(struct wordcount *count)
{
        count->words += !count->in_word;
        count->in_word = true;
        count->n_pending = 0;
}

/*
 * Resolves the pending bytes with one more; false if @c does not belong to them and has to be
 * looked at again.
 */
static bool pending_take(struct wordcount *count, uint8_t c)
{
        uint8_t lead = count->pending[0];

        if (count->n_pending == 1 && begins_three(lead, c)) {
                count->pending[count->n_pending++] = c;
                return true;
        }
        if (count->n_pending == 1 ? lead == 0xC2 && (c == 0x85 || c == 0xA0)
                                  : ends_three(lead, count->pending[1], c)) {
                count->in_word = false;
                count->n_pending = 0;
                return true;
        }
        pending_is_text(count);
        return false;
}

static void resolve(struct wordcount *count, const uint8_t *p, size_t n);

static wordcount_bulk *bulk = resolve;

static const struct path {
        const char *name;
        wordcount_bulk *bulk;
} paths[] = {
#if defined(__x86_64__)
        { "avx2", wordcount_bulk_avx2 },
#endif
        { "scalar", wordcount_bulk_scalar },
};

static bool path_runs_here(const struct path *path)
{
#if defined(__x86_64__)
        if (path->bulk == wordcount_bulk_avx2)
                return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                       __builtin_cpu_supports("popcnt");
#endif
        return true;
}

static const struct path *best_path(void)
{
        const struct path *path = paths;

        while (!path_runs_here(path))
                ++path;
        return path;
}

/*
 * Used in place of a loop until the first text comes. Threads that meet here choose the same loop.
 */
static void resolve(struct wordcount *count, const uint8_t *p, size_t n)
{
        wordcount_bulk *best = best_path()->bulk;

        __atomic_store_n(&bulk, best, __ATOMIC_RELAXED);
        best(count, p, n);
}

void wordcount_feed(struct wordcount *count, const void *data, size_t n)
{
        const uint8_t *p = data;
        size_t cut;

        while (_unlikely_(count->n_pending > 0) && n > 0)
                if (pending_take(count, *p)) {
                        ++p;
                        --n;
                }
        if (n == 0)
                return;
        cut = cut_off(p, n);
        __atomic_load_n(&bulk, __ATOMIC_RELAXED)(count, p, n - cut);
        for (size_t i = 0; i < cut; ++i)
                count->pending[i] = p[n - cut + i];
        count->n_pending = (uint8_t)cut;
}

uint64_t wordcount_finish(struct wordcount *count)
{
        if (count->n_pending > 0)
                pending_is_text(count);
        return count->words;
}

const char *wordcount_path(void)
{
        wordcount_bulk *now = __atomic_load_n(&bulk, __ATOMIC_RELAXED);

        for (size_t i = 0; i < ARRAY_SIZE(paths); ++i)
                if (paths[i].bulk == now)
                        return paths[i].name;
        return best_path()->name;
}

int wordcount_use(const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(paths); ++i) {
                if (!streq(paths[i].name, path))
                        continue;
                if (!path_runs_here(&paths[i]))
                        return -ENOTSUP;
                __atomic_store_n(&bulk, paths[i].bulk, __ATOMIC_RELAXED);
                return 0;
        }
        return -ENOENT;
}
