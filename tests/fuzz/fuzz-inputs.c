/*
 * libFuzzer: any bytes as a job's inputs. A list is taken if and only if it is lines of 1 to
 * INPUT_MAX bytes without NUL; then the index and a walk in order find the same lines.
 */

#include <sys/mman.h>

#include "lib/inputs.h"
#include "tests/fuzz/fuzz.h"

/* Said byte by byte, without a word of the code under test. */
static bool model_check(const uint8_t *text, size_t n, uint64_t *ret_n)
{
        uint64_t lines = 0;
        size_t length = 0;

        for (size_t i = 0; i < n; ++i) {
                if (text[i] == 0 || (text[i] == '\n' && length == 0))
                        return false;
                length = text[i] == '\n' ? 0 : length + 1;
                lines += text[i] == '\n';
                if (length > INPUT_MAX)
                        return false;
        }
        *ret_n = lines;
        return n > 0 && length == 0;
}

static void check_lines(const struct inputs *inputs, const uint8_t *text, size_t n)
{
        const char *at = inputs->text;
        size_t offset = 0;

        for (uint64_t i = 0; i < inputs->n; ++i) {
                size_t length, walked = inputs_length(inputs, at);
                const char *line = inputs_get(inputs, i, &length);

                fuzz_check(line == at && length == walked && length > 0);
                fuzz_check(line == inputs->text + offset && text[offset + length] == '\n');
                fuzz_check(memcmp(line, text + offset, length) == 0);
                offset += length + 1;
                at = inputs_next(at, length);
        }
        fuzz_check(offset == n);
}

/* The bytes 1 to 3 stand for long pieces, so that the longest lines are reached with little. */
static uint8_t *inflate(const struct fuzz_data *fuzz, size_t *ret_n)
{
        uint8_t *text = malloc(fuzz->n * 40000 + 1);
        size_t n = 0;

        fuzz_check(text);
        for (size_t i = 0; i < fuzz->n; ++i) {
                uint8_t c = fuzz->data[i];
                size_t repeat = c > 0 && c < 4 ? 10000U * c + i : 1;

                memset(text + n, repeat > 1 ? 'x' : c, repeat);
                n += repeat;
        }
        *ret_n = n;
        return text;
}

static void check_refusal(const struct input_error *error, const uint8_t *text, size_t n)
{
        uint64_t lines = 1;

        fuzz_check(error->why && error->why[0]);
        for (size_t i = 0; i < n; ++i)
                lines += text[i] == '\n';
        fuzz_check(error->line <= lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, MIN(n, (size_t)512) };
        struct input_error error = { 0, NULL };
        struct inputs inputs = INPUTS_NULL;
        _cleanup_free_ uint8_t *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        uint64_t expected, lines = 0;
        bool good;
        size_t size;

        text = inflate(&fuzz, &size);
        good = model_check(text, size, &expected);
        fuzz_check((inputs_check((char *)text, size, &lines, &error) == 0) == good);
        fuzz_check(!good || lines == expected);
        fd = memfd_create("fuzz-inputs", MFD_CLOEXEC);
        fuzz_check(fd >= 0 && write_all(fd, text, size) == 0);
        if (inputs_map(fd, true, &inputs, &error) == 0) {
                fuzz_check(good && inputs.n == expected);
                check_lines(&inputs, text, size);
                inputs_unmap(&inputs);
        } else {
                fuzz_check(!good);
                check_refusal(&error, text, size);
        }
        return 0;
}
