#include "cli/source.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "cli/say.h"
#include "lib/input-kind.h"

#define READ_SIZE    (256 * 1024)
#define COMMAND_LINE "the command line"

static int say_memfd(int r)
{
        return cli_fail(CLI_FAILED,
                        "cannot hold the inputs in memory (memfd_create(2)): %s; free some memory, "
                        "or split the list",
                        strerrordesc_np(-r));
}

static int memfd_open(int *ret_fd)
{
        int fd = memfd_create("inputs", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (fd < 0)
                return say_memfd(-errno);
        *ret_fd = fd;
        return 0;
}

static int memfd_seal(int fd)
{
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                return say_memfd(-errno);
        return 0;
}

/* The file's bytes, and the end that its last input may lack. */
static int copy_inputs(int from, const char *name, char end, int to)
{
        _cleanup_free_ char *buffer = malloc(READ_SIZE);
        uint64_t total = 0;
        char last = end;

        if (!buffer)
                return cli_no_memory();
        for (;;) {
                ssize_t n = read_all(from, buffer, READ_SIZE);
                int r;

                if (n < 0)
                        return cli_fail(CLI_USAGE, "cannot read inputs from %s: %s", name,
                                        strerrordesc_np((int)-n));
                if (n == 0)
                        break;
                total += (uint64_t)n;
                if (total > INPUTS_SIZE_MAX)
                        return cli_fail(CLI_USAGE,
                                        "cannot take the inputs of %s: they are larger than 1 GiB; "
                                        "split them into several jobs",
                                        name);
                r = write_all(to, buffer, (size_t)n);
                if (r < 0)
                        return say_memfd(r);
                last = buffer[n - 1];
        }
        return last != end && write_all(to, &end, 1) < 0 ? say_memfd(-errno) : 0;
}

int source_copy(int from, const char *name, int *ret_fd)
{
        _cleanup_close_ int fd = -EBADF;
        int r = memfd_open(&fd);

        if (r == 0 && lseek(from, 0, SEEK_SET) < 0)
                r = cli_fail(CLI_FAILED, "cannot read the inputs of %s: %s", name,
                             strerrordesc_np(errno));
        if (r == 0)
                r = copy_inputs(from, name, '\n', fd);
        if (r == 0)
                r = memfd_seal(fd);
        if (r == 0)
                *ret_fd = steal_fd(&fd);
        return r;
}

static int read_file(const char *path, const char *name, char end, int to)
{
        _cleanup_close_ int fd = -EBADF;

        if (streq(path, "-"))
                return copy_inputs(STDIN_FILENO, name, end, to);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return cli_fail(CLI_USAGE, "cannot read inputs from %s: %s", name,
                                strerrordesc_np(errno));
        return copy_inputs(fd, name, end, to);
}

/* A newline inside an operand would make two inputs of it. */
static int write_operands(char *const *operands, size_t n, int to)
{
        _cleanup_free_ char *text = NULL;
        size_t size = 0, at = 0;
        int r;

        for (size_t i = 0; i < n; ++i)
                size += strlen(operands[i]) + 1;
        text = malloc(size);
        if (!text)
                return cli_no_memory();
        for (size_t i = 0; i < n; ++i) {
                if (strchr(operands[i], '\n'))
                        return cli_fail(CLI_USAGE,
                                        "cannot take the inputs of " COMMAND_LINE
                                        ": argument %zu: it holds a newline, and inputs are lines; "
                                        "give each as an argument of its own",
                                        i + 1);
                at = (size_t)(stpcpy(text + at, operands[i]) - text);
                text[at++] = '\n';
        }
        r = write_all(to, text, size);
        return r < 0 ? say_memfd(r) : 0;
}

static int write_default(enum workload_id workload, int to)
{
        const char *text = workload_info(workload)->default_inputs;
        int r = write_all(to, text, strlen(text));

        return r < 0 ? say_memfd(r) : 0;
}

static int say_bad_inputs(const char *name, const struct input_error *error)
{
        if (error->line == 0)
                return cli_fail(CLI_USAGE, "cannot take the inputs of %s: %s", name, error->why);
        return cli_fail(CLI_USAGE, "cannot take the inputs of %s: %s %" PRIu64 ": %s", name,
                        streq(name, COMMAND_LINE) ? "argument" : "line", error->line, error->why);
}

static uint64_t line_number(const struct inputs *inputs, const char *at)
{
        uint64_t line = 1;

        for (const char *p = inputs->text; (p = memchr(p, '\n', (size_t)(at - p))); ++p)
                ++line;
        return line;
}

/* Lines that end with CR LF, as on Windows: the CR would become part of each input. */
static int check_line_ends(const struct inputs *inputs, const char *name)
{
        const char *at = memmem(inputs->text, inputs->size, "\r\n", 2);
        struct input_error error = {
                .why = "it ends with CR LF, as Windows writes lines; convert the list first: sed "
                       "'s/\\r$//', or dos2unix",
        };

        if (!at)
                return 0;
        error.line = line_number(inputs, at);
        return say_bad_inputs(name, &error);
}

#define BOM "\xef\xbb\xbf"

/*
 * A byte order mark. Editors of Windows write one; it is not meant to be part of the first input.
 */
static int check_mark(const struct inputs *inputs, const char *name)
{
        static const struct input_error error = {
                .line = 1,
                .why = "it begins with a byte order mark (U+FEFF); save the list without one, or "
                       "take it off: sed '1s/^\\xef\\xbb\\xbf//'",
        };

        if (inputs->size < strlen(BOM) || memcmp(inputs->text, BOM, strlen(BOM)) != 0)
                return 0;
        return say_bad_inputs(name, &error);
}

/* Blanks before an input, and byte order marks of lists that were joined. */
static size_t count_blanks(const char *input, size_t n)
{
        size_t i = 0;

        while (i < n) {
                if (input[i] == ' ' || input[i] == '\t')
                        ++i;
                else if (n - i >= strlen(BOM) && memcmp(input + i, BOM, strlen(BOM)) == 0)
                        i += strlen(BOM);
                else
                        break;
        }
        return i;
}

/* The name of a file may begin with a blank; one that is called " http://…" is meant as a URL. */
static int check_urls(const struct inputs *inputs, const char *name)
{
        const char *at = inputs->text;

        for (uint64_t i = 0; i < inputs->n; ++i) {
                size_t n = inputs_length(inputs, at), blanks = count_blanks(at, n), scheme;
                const struct input_error error = {
                        .line = i + 1,
                        .why = "a blank or a byte order mark stands before its URL; take that off",
                };

                if (blanks > 0 && input_kind_of(at + blanks, n - blanks, &scheme) != INPUT_PATH)
                        return say_bad_inputs(name, &error);
                at = inputs_next(at, n);
        }
        return 0;
}

static int map_given(struct source *source, int fd, const char *name)
{
        struct input_error error;
        int r = inputs_map(fd, true, &source->given, &error);

        if (r == -EBADMSG)
                return say_bad_inputs(name, &error);
        if (r == -ENOMEM)
                return cli_no_memory();
        if (r < 0)
                return say_memfd(r);
        /* These lists come from programs: a CR or a byte order mark is part of a name. */
        if (source->ends_with_nul)
                return 0;
        r = check_mark(&source->given, name);
        return r ? r : check_line_ends(&source->given, name);
}

bool is_relative_path(const char *input, size_t n)
{
        size_t scheme;

        return n > 0 && input[0] != '/' && input_kind_of(input, n, &scheme) == INPUT_PATH;
}

static bool has_relative_path(const struct inputs *inputs)
{
        const char *at = inputs->text;

        for (uint64_t i = 0; i < inputs->n; ++i) {
                size_t n = inputs_length(inputs, at);

                if (is_relative_path(at, n))
                        return true;
                at = inputs_next(at, n);
        }
        return false;
}

static void write_absolute(const struct inputs *inputs, const char *directory, FILE *to)
{
        const char *at = inputs->text;
        const char *slash = streq(directory, "/") ? "" : "/";

        for (uint64_t i = 0; i < inputs->n; ++i) {
                size_t n = inputs_length(inputs, at);

                if (is_relative_path(at, n))
                        fprintf(to, "%s%s", directory, slash);
                fwrite_unlocked(at, 1, n + 1, to);
                at = inputs_next(at, n);
        }
}

static int make_absolute(const struct inputs *inputs, int *ret_fd)
{
        _cleanup_free_ char *directory = getcwd(NULL, 0);
        _cleanup_close_ int fd = -EBADF;
        FILE *file;
        int r;

        if (!directory)
                return cli_fail(CLI_FAILED,
                                "cannot make relative paths absolute: the working directory: %s; "
                                "give paths from / on",
                                strerrordesc_np(errno));
        if (strchr(directory, '\n'))
                return cli_fail(CLI_USAGE,
                                "cannot make relative paths absolute: the name of the working "
                                "directory holds a newline; work in another one");
        r = memfd_open(&fd);
        if (r)
                return r;
        file = fdopen(dup(fd), "w");
        if (!file)
                return say_memfd(-errno);
        write_absolute(inputs, directory, file);
        if (fclose(file) != 0)
                return say_memfd(-errno);
        *ret_fd = steal_fd(&fd);
        return memfd_seal(*ret_fd);
}

static int write_given(const struct source *source, enum workload_id workload, const char *from,
                       const char *name, char *const *operands, size_t n_operands)
{
        int to = source->fd;

        if (from && n_operands > 0)
                return cli_fail(CLI_USAGE,
                                "inputs were given twice, by --from and as arguments (\"%s\"); "
                                "leave one of them out",
                                operands[0]);
        if (from)
                return read_file(from, name, source->ends_with_nul ? 0 : '\n', to);
        if (n_operands > 0)
                return write_operands(operands, n_operands, to);
        return write_default(workload, to);
}

/* Makes lines of inputs that end with NUL bytes. */
static int end_with_newlines(int fd, const char *name)
{
        struct stat st;
        uint64_t n = 1;
        off_t i = 0;
        char *text;

        if (fstat(fd, &st) < 0)
                return say_memfd(-errno);
        if (st.st_size == 0)
                return 0;
        text = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (text == MAP_FAILED)
                return say_memfd(-errno);
        for (; i < st.st_size && text[i] != '\n'; ++i)
                if (text[i] == 0) {
                        text[i] = '\n';
                        ++n;
                }
        munmap(text, (size_t)st.st_size);
        if (i == st.st_size)
                return 0;
        return cli_fail(CLI_USAGE,
                        "cannot take the inputs of %s: input %" PRIu64
                        ": it holds a newline, which ends an input for pppd; leave it out",
                        name, n);
}

static bool is_empty_file(int fd)
{
        struct stat st;

        return fstat(fd, &st) == 0 && st.st_size == 0;
}

int source_open(struct source *source, enum workload_id workload, const char *from,
                char *const *operands, size_t n_operands)
{
        const char *name = !from ? COMMAND_LINE : streq(from, "-") ? "standard input" : from;
        int r;

        r = memfd_open(&source->fd);
        if (r == 0)
                r = write_given(source, workload, from, name, operands, n_operands);
        if (r == 0 && from && source->ends_with_nul)
                r = end_with_newlines(source->fd, name);
        if (r == 0 && source->may_be_empty && is_empty_file(source->fd)) {
                source->is_empty = true;
                return 0;
        }
        if (r == 0)
                r = memfd_seal(source->fd);
        if (r == 0)
                r = map_given(source, source->fd, name);
        if (r == 0 && workload_info(workload)->takes_urls)
                r = check_urls(&source->given, name);
        if (r == 0 && workload_info(workload)->takes_urls && has_relative_path(&source->given)) {
                source->fd = close_fd(source->fd);
                r = make_absolute(&source->given, &source->fd);
        }
        return r;
}

void source_close(struct source *source)
{
        source->fd = close_fd(source->fd);
        inputs_unmap(&source->given);
}
