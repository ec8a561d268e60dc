/*
 * Counting with AVX2: 64 bytes at a time become three bit masks, one bit a byte: ASCII's spaces,
 * and the first bytes of two- and three-byte spaces. A word begins at a byte that comes right after
 * a space and begins none, so shifts and one popcount count the words, without a branch on the
 * text. The only branch is on whether 128 bytes are all ASCII, since the masks are then far
 * cheaper.
 *
 * The Makefile compiles this file for AVX2, BMI and POPCNT; wordcount.c calls it where the
 * processor has these.
 */

#include "daemon/runner/workloads/wordcount-bulk.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define BLOCK  64
#define STRIPE (2 * BLOCK) /* what is asked whether it is ASCII */
#define AHEAD  2           /* a block's masks look at this many bytes after it */

/*
 * Multi-byte spaces are found by three pairs of tables, as UTF-8 is validated in simdjson: a bit
 * for each family, set in the entry of a byte's low and of its high nibble where that byte fits. A
 * family whose bit is left in all six begins a space here. Two-byte families let any third pass.
 */
enum {
        E280_8x = 1 << 0, /* E2 80 80..8A */
        E280_Ax = 1 << 1, /* E2 80 A8, A9, AF */
        E281_9F = 1 << 2,
        E19A_80 = 1 << 3,
        E380_80 = 1 << 4,
        C2_85 = 1 << 5,
        C2_A0 = 1 << 6,
        E280 = E280_8x | E280_Ax,
        E2 = E280 | E281_9F,
        C2 = C2_85 | C2_A0,
        THREE = E2 | E19A_80 | E380_80,
};

static const uint8_t first_low[16] = { [1] = E19A_80, [2] = E2 | C2, [3] = E380_80 };
static const uint8_t first_high[16] = { [0xC] = C2, [0xE] = THREE };

static const uint8_t second_low[16] = {
        [0] = E280 | E380_80 | C2_A0,
        [1] = E281_9F,
        [5] = C2_85,
        [0xA] = E19A_80,
};
static const uint8_t second_high[16] = {
        [8] = E2 | E380_80 | C2_85,
        [9] = E19A_80,
        [0xA] = C2_A0,
};

static const uint8_t third_low[16] = {
        [0] = C2 | E280_8x | E19A_80 | E380_80,
        [1 ... 7] = C2 | E280_8x,
        [8 ... 9] = C2 | E280,
        [0xA] = C2 | E280_8x,
        [0xB ... 0xE] = C2,
        [0xF] = C2 | E280_Ax | E281_9F,
};
static const uint8_t third_high[16] = {
        [0 ... 7] = C2,     [8] = C2 | E280_8x | E19A_80 | E380_80,
        [9] = C2 | E281_9F, [0xA] = C2 | E280_Ax,
        [0xB ... 0xF] = C2,
};

struct masks {
        uint64_t ascii, two, three;
};

static inline __m256i load(const uint8_t *p)
{
        return _mm256_loadu_si256((const __m256i *)p);
}

static inline uint32_t bits(__m256i v)
{
        return (uint32_t)_mm256_movemask_epi8(v);
}

static inline uint64_t join(uint32_t low, uint32_t high)
{
        return low | (uint64_t)high << 32;
}

/* All ones where a byte is in [first, first + 4], which is what both runs of ASCII spaces are. */
static inline __m256i in_run(__m256i v, char first)
{
        __m256i from = _mm256_sub_epi8(v, _mm256_set1_epi8(first));

        return _mm256_cmpeq_epi8(from, _mm256_min_epu8(from, _mm256_set1_epi8(4)));
}

static inline __m256i ascii_spaces(__m256i v)
{
        return _mm256_or_si256(in_run(v, '\t'), in_run(v, 0x1C));
}

static inline __m256i look_up(const uint8_t table[16], __m256i nibbles)
{
        __m128i t = _mm_loadu_si128((const __m128i *)table);

        return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), nibbles);
}

/* The families a byte fits. */
static inline __m256i families(__m256i v, const uint8_t low[16], const uint8_t high[16])
{
        __m256i nibble = _mm256_set1_epi8(0x0F);
        __m256i l = look_up(low, _mm256_and_si256(v, nibble));
        __m256i h = look_up(high, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));

        return _mm256_and_si256(l, h);
}

/* Not zero where a multi-byte space begins. */
static inline __m256i leads(const uint8_t *p)
{
        __m256i first = families(load(p), first_low, first_high);
        __m256i second = families(load(p + 1), second_low, second_high);
        __m256i third = families(load(p + 2), third_low, third_high);

        return _mm256_and_si256(_mm256_and_si256(first, second), third);
}

struct half {
        uint32_t ascii, leads, of_three;
};

static inline struct half half(const uint8_t *p)
{
        __m256i v = load(p);
        __m256i none = _mm256_cmpeq_epi8(leads(p), _mm256_setzero_si256());

        return (struct half){
                .ascii = bits(ascii_spaces(v)),
                .leads = ~bits(none),
                .of_three = bits(_mm256_slli_epi16(v, 2)), /* bit 5: E1, E2, E3, not C2 */
        };
}

static inline struct masks masks_any(const uint8_t *p)
{
        struct half a = half(p), b = half(p + BLOCK / 2);
        uint64_t all = join(a.leads, b.leads), of_three = join(a.of_three, b.of_three);

        return (struct masks){ join(a.ascii, b.ascii), all & ~of_three, all & of_three };
}

static inline struct masks masks_ascii(const uint8_t *p)
{
        uint32_t a = bits(ascii_spaces(load(p))), b = bits(ascii_spaces(load(p + BLOCK / 2)));

        return (struct masks){ join(a, b), 0, 0 };
}

static inline bool is_ascii(const uint8_t *p)
{
        __m256i a = _mm256_or_si256(load(p), load(p + 32));
        __m256i b = _mm256_or_si256(load(p + 64), load(p + 96));

        return bits(_mm256_or_si256(a, b)) == 0;
}

struct state {
        uint64_t words;
        uint64_t after; /* bit i: byte i of what is next comes right after a space */
};

/* The bytes of a block that come right after a space. */
static inline uint64_t after_spaces(struct masks m, const struct state *state)
{
        return state->after | m.ascii << 1 | m.two << 2 | m.three << 3;
}

static inline uint64_t begin_words(struct masks m, const struct state *state)
{
        return after_spaces(m, state) & ~(m.ascii | m.two | m.three);
}

static inline void add_block(struct masks m, struct state *state)
{
        state->words += (uint64_t)_mm_popcnt_u64(begin_words(m, state));
        state->after = m.ascii >> 63 | m.two >> 62 | m.three >> 61;
}

/* Of a block only the first @n < BLOCK bytes are text. */
static inline void add_part(struct masks m, size_t n, struct state *state)
{
        uint64_t text = (UINT64_C(1) << n) - 1;

        state->words += (uint64_t)_mm_popcnt_u64(begin_words(m, state) & text);
        state->after = after_spaces(m, state) >> n;
}

/* These two run over stripes of their kind, and return where the first of the other kind is. */
static const uint8_t *add_ascii_stripes(const uint8_t *p, const uint8_t *end, struct state *state)
{
        struct state s = *state;

        for (; p < end && is_ascii(p); p += STRIPE) {
                add_block(masks_ascii(p), &s);
                add_block(masks_ascii(p + BLOCK), &s);
        }
        *state = s;
        return p;
}

static const uint8_t *add_any_stripes(const uint8_t *p, const uint8_t *end, struct state *state)
{
        struct state s = *state;

        for (; p < end && !is_ascii(p); p += STRIPE)
                for (size_t i = 0; i < STRIPE; i += BLOCK)
                        add_block(masks_any(p + i), &s);
        *state = s;
        return p;
}

/* The last bytes, fewer than BLOCK + AHEAD: copied, so that a block of them may be read whole. */
static void add_tail(const uint8_t *p, size_t n, struct state *state)
{
        uint8_t copy[2 * (BLOCK + AHEAD)];
        const uint8_t *at = copy;

        memcpy(copy, p, n);
        memset(copy + n, 0, BLOCK + AHEAD);
        if (n >= BLOCK) {
                add_block(masks_any(at), state);
                at += BLOCK;
                n -= BLOCK;
        }
        add_part(masks_any(at), n, state);
}

void wordcount_bulk_avx2(struct wordcount *count, const uint8_t *p, size_t n)
{
        struct state state = { .words = count->words, .after = !count->in_word };
        const uint8_t *end = p + n;
        const uint8_t *stripes_end = n >= AHEAD ? p + (n - AHEAD) / STRIPE * STRIPE : p;

        while (p < stripes_end) {
                p = add_ascii_stripes(p, stripes_end, &state);
                p = add_any_stripes(p, stripes_end, &state);
        }
        for (; end - p >= BLOCK + AHEAD; p += BLOCK)
                add_block(masks_any(p), &state);
        add_tail(p, (size_t)(end - p), &state);
        count->words = state.words;
        count->in_word = !(state.after & 1);
}

#endif
