#include "lib/inputs.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/results.h"

static int refuse(struct input_error *error, uint64_t line, const char *why)
{
        *error = (struct input_error){ line, why };
        return -EBADMSG;
}

/* Notes where line @n begins, if the index has an entry for it. */
static void note_line(const struct inputs_scan *scan, uint64_t n, uint64_t at)
{
        if (scan->index && n % INPUTS_STRIDE == 0)
                scan->index[n / INPUTS_STRIDE] = at;
}

/* The newlines at @at as bits (see zero_bytes); @newlines is not 0. */
static void take_lines(struct inputs_scan *scan, uint64_t at, uint64_t newlines)
{
        uint64_t k = (newlines >> 7) * WORD_OF(1) >> 56;

        if (scan->n % INPUTS_STRIDE + k >= INPUTS_STRIDE)
                for (uint64_t n = scan->n, left = newlines; left; left &= left - 1)
                        note_line(scan, ++n, at + (unsigned)__builtin_ctzll(left) / 8 + 1);
        scan->n += k;
        scan->line = at + 8 - (unsigned)__builtin_clzll(newlines) / 8;
}

/*
 * Skips valid text, eight bytes at a time whatever the length of the lines, and stops before the
 * first word that may not be valid; returns that place. Looking for each newline by itself costs 10
 * ns a line.
 */
static size_t skip_good_words(struct inputs_scan *scan, const char *text, size_t n)
{
        /* The high bit: a newline before the first byte of the word. */
        uint64_t before = scan->line == scan->size ? 0x80 : 0;
        size_t at = 0;

        for (; n - at >= 8; at += 8) {
                uint64_t word = load_word(text + at), position = scan->size + at;
                uint64_t newlines = zero_bytes(word ^ WORD_OF('\n'));
                unsigned length = newlines ? (unsigned)__builtin_ctzll(newlines) / 8 : 8;

                if (zero_bytes(word) || newlines & (newlines << 8 | before))
                        break;
                if (position + length - scan->line > INPUT_MAX)
                        break;
                before = newlines >> 56;
                if (newlines)
                        take_lines(scan, position, newlines);
        }
        return at;
}

static int take_byte(struct inputs_scan *scan, char byte, uint64_t position,
                     struct input_error *error)
{
        if (byte == '\n') {
                if (position == scan->line)
                        return refuse(error, scan->n + 1, "it is empty; leave it out");
                scan->line = position + 1;
                note_line(scan, ++scan->n, scan->line);
                return 0;
        }
        if (byte == 0)
                return refuse(error, scan->n + 1, "it holds a NUL byte; inputs are lines of text");
        if (position - scan->line >= INPUT_MAX)
                return refuse(error, scan->n + 1,
                              "it is longer than 65536 bytes, the limit of one input");
        return 0;
}

int inputs_scan_feed(struct inputs_scan *scan, const char *text, size_t n,
                     struct input_error *error)
{
        size_t at;
        int r = 0;

        if (scan->size + n > INPUTS_SIZE_MAX)
                return refuse(error, 0,
                              "the list is larger than 1 GiB; split it into several jobs");
        /* Only the rest of a word, or the word that has the fault, is checked byte by byte. */
        for (at = skip_good_words(scan, text, n); at < n && r >= 0; ++at)
                r = take_byte(scan, text[at], scan->size + at, error);
        scan->size += n;
        return r;
}

int inputs_scan_end(const struct inputs_scan *scan, uint64_t *ret_n, struct input_error *error)
{
        if (scan->size == 0)
                return refuse(error, 0, "the list is empty; give at least one input");
        if (scan->line < scan->size)
                return refuse(error, scan->n + 1, "it does not end with a newline");
        if (scan->n > RESULTS_MAX_TASKS)
                return refuse(error, 0,
                              "it has more than 100000000 lines; split it into several jobs");
        *ret_n = scan->n;
        return 0;
}

static int check(const char *text, size_t size, uint64_t *index, uint64_t *ret_n,
                 struct input_error *error)
{
        struct inputs_scan scan = { .index = index };
        int r;

        note_line(&scan, 0, 0);
        r = inputs_scan_feed(&scan, text, size, error);
        return r < 0 ? r : inputs_scan_end(&scan, ret_n, error);
}

int inputs_check(const char *text, size_t size, uint64_t *ret_n, struct input_error *error)
{
        return check(text, size, NULL, ret_n, error);
}

/* Room for as many lines as can be in @size bytes; untouched parts of it cost nothing. */
static uint64_t *index_new(size_t size)
{
        return malloc((size / 2 / INPUTS_STRIDE + 2) * sizeof(uint64_t));
}

static void index_trim(struct inputs *inputs)
{
        uint64_t *p = realloc(inputs->index, (inputs->n / INPUTS_STRIDE + 1) * sizeof(*p));

        if (p)
                inputs->index = p;
}

int inputs_map(int fd, bool with_index, struct inputs *ret, struct input_error *error)
{
        struct inputs inputs = INPUTS_NULL;
        struct stat st;
        void *p;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size <= 0)
                return refuse(error, 0, "the list is empty; give at least one input");
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        inputs.text = p;
        inputs.size = (size_t)st.st_size;
        inputs.mapped = true;

        if (with_index && !(inputs.index = index_new(MIN(inputs.size, (size_t)INPUTS_SIZE_MAX))))
                r = -ENOMEM;
        else
                r = check(inputs.text, inputs.size, inputs.index, &inputs.n, error);
        if (r < 0) {
                inputs_unmap(&inputs);
                return r;
        }
        if (with_index)
                index_trim(&inputs);
        *ret = inputs;
        return 0;
}

void inputs_unmap(struct inputs *inputs)
{
        free(inputs->index);
        if (inputs->mapped)
                munmap((void *)inputs->text, inputs->size);
        *inputs = (struct inputs)INPUTS_NULL;
}

const char *inputs_get(const struct inputs *inputs, uint64_t i, size_t *ret_n)
{
        const char *at;

        assert(i < inputs->n && inputs->index);

        at = inputs->text + inputs->index[i / INPUTS_STRIDE];
        for (uint64_t k = i % INPUTS_STRIDE; k > 0; --k)
                at = inputs_next(at, inputs_length(inputs, at));
        *ret_n = inputs_length(inputs, at);
        return at;
}
