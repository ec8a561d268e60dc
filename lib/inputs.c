#include "lib/inputs.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/results.h"

static int refuse(struct input_error *error, uint64_t line, const char *why)
{
        *error = (struct input_error){ line, why };
        return -EBADMSG;
}

int inputs_check(const char *text, size_t size, uint64_t *ret_n, struct input_error *error)
{
        const char *at = text, *end = text + size;
        uint64_t n = 0;

        if (size == 0)
                return refuse(error, 0, "the list is empty; give at least one input");
        if (size > INPUTS_SIZE_MAX)
                return refuse(error, 0, "the list is larger than 1 GiB; split it into several jobs");

        while (at < end) {
                const char *newline = memchr(at, '\n', (size_t)(end - at));
                size_t length = (size_t)((newline ? newline : end) - at);

                ++n;
                if (length == 0)
                        return refuse(error, n, "it is empty; remove the line");
                if (length > INPUT_MAX)
                        return refuse(error, n, "it is longer than 65536 bytes, the limit of one input");
                if (memchr(at, 0, length))
                        return refuse(error, n, "it holds a NUL byte; inputs are lines of text");
                if (!newline)
                        return refuse(error, n, "it does not end with a newline");
                at = newline + 1;
        }
        if (n > RESULTS_MAX_TASKS)
                return refuse(error, 0, "it has more than 100000000 lines; split it into several jobs");
        *ret_n = n;
        return 0;
}

static int build_index(struct inputs *inputs)
{
        const char *at = inputs->text;

        inputs->index = calloc(inputs->n / INPUTS_STRIDE + 1, sizeof(*inputs->index));
        if (!inputs->index)
                return -ENOMEM;
        for (uint64_t i = 0; i < inputs->n; ++i) {
                if (i % INPUTS_STRIDE == 0)
                        inputs->index[i / INPUTS_STRIDE] = (uint64_t)(at - inputs->text);
                at = inputs_next(at, inputs_length(inputs, at));
        }
        return 0;
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

        r = inputs_check(inputs.text, inputs.size, &inputs.n, error);
        if (r >= 0 && with_index)
                r = build_index(&inputs);
        if (r < 0) {
                inputs_unmap(&inputs);
                return r;
        }
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
