#include "lib/inputs.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/results.h"

static int refuse(struct input_error *error, uint64_t line, const char *why)
{
        *error = (struct input_error){ line, why };
        return -EBADMSG;
}

/* A list on its way through the check. */
struct scan {
        const char *text;
        size_t size;
        size_t line;            /* where the line begins that was not seen whole */
        uint64_t n;             /* lines before it */
        uint64_t *index;        /* NULL: none is wanted */
};

/* Notes where line @n begins, if that belongs into the index. */
static void note_line(const struct scan *scan, uint64_t n, size_t at)
{
        if (scan->index && n % INPUTS_STRIDE == 0)
                scan->index[n / INPUTS_STRIDE] = at;
}

/* The newlines at @at as bits (see zero_bytes); @newlines is not 0. */
static void take_lines(struct scan *scan, size_t at, uint64_t newlines)
{
        uint64_t k = (newlines >> 7) * WORD_OF(1) >> 56;

        if (scan->n % INPUTS_STRIDE + k >= INPUTS_STRIDE)
                for (uint64_t n = scan->n, left = newlines; left; left &= left - 1)
                        note_line(scan, ++n, at + (unsigned)__builtin_ctzll(left) / 8 + 1);
        scan->n += k;
        scan->line = at + 8 - (unsigned)__builtin_clzll(newlines) / 8;
}

/*
 * Passes what is in order, eight bytes at a time whatever the length of the lines, and stops before the
 * first line that may not be. Looking for each newline by itself costs 10 ns a line.
 */
static void skip_good_lines(struct scan *scan)
{
        uint64_t before = 0x80;         /* a newline before the first byte of the word */

        for (size_t at = 0; scan->size - at >= 8; at += 8) {
                uint64_t word = load_word(scan->text + at);
                uint64_t newlines = zero_bytes(word ^ WORD_OF('\n'));

                if (zero_bytes(word) || newlines & (newlines << 8 | before))
                        return;
                before = newlines >> 56;
                if (!newlines)
                        continue;
                if (at + (unsigned)__builtin_ctzll(newlines) / 8 - scan->line > INPUT_MAX)
                        return;
                take_lines(scan, at, newlines);
        }
}

/* The rest line by line, so that an error names its line. */
static int check_lines(struct scan *scan, struct input_error *error)
{
        const char *at = scan->text + scan->line, *end = scan->text + scan->size;

        while (at < end) {
                const char *newline = memchr(at, '\n', (size_t)(end - at));
                size_t length = (size_t)((newline ? newline : end) - at);

                note_line(scan, scan->n, (size_t)(at - scan->text));
                ++scan->n;
                if (length == 0)
                        return refuse(error, scan->n, "it is empty; leave it out");
                if (length > INPUT_MAX)
                        return refuse(error, scan->n,
                                      "it is longer than 65536 bytes, the limit of one input");
                if (memchr(at, 0, length))
                        return refuse(error, scan->n,
                                      "it holds a NUL byte; inputs are lines of text");
                if (!newline)
                        return refuse(error, scan->n, "it does not end with a newline");
                at = newline + 1;
        }
        return 0;
}

static int check(const char *text, size_t size, uint64_t *index, uint64_t *ret_n,
                 struct input_error *error)
{
        struct scan scan = { .text = text, .size = size, .index = index };
        int r;

        if (size == 0)
                return refuse(error, 0, "the list is empty; give at least one input");
        if (size > INPUTS_SIZE_MAX)
                return refuse(error, 0, "the list is larger than 1 GiB; split it into several jobs");

        note_line(&scan, 0, 0);
        skip_good_lines(&scan);
        r = check_lines(&scan, error);
        if (r < 0)
                return r;
        if (scan.n > RESULTS_MAX_TASKS)
                return refuse(error, 0, "it has more than 100000000 lines; split it into several jobs");
        *ret_n = scan.n;
        return 0;
}

int inputs_check(const char *text, size_t size, uint64_t *ret_n, struct input_error *error)
{
        return check(text, size, NULL, ret_n, error);
}

/* Room for as many lines as can be in @size bytes; what is not touched of it costs nothing. */
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
