#include "cli/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/command-output.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "cli/stream.h"
#include "cli/visible.h"
#include "lib/fetch-error.h"
#include "lib/results.h"

#define BUFFER_SIZE (256 * 1024)
#define PUT_SHORT   16

static bool same_file(int a, int b)
{
        struct stat x, y;

        return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
               x.st_ino == y.st_ino;
}

void output_init(struct output *output, bool json)
{
        static char out[BUFFER_SIZE], err[BUFFER_SIZE / 4];

        *output = (struct output){
                .json = json,
                .out_terminal = isatty(STDOUT_FILENO),
                .err_terminal = isatty(STDERR_FILENO),
                .interleaved = same_file(STDOUT_FILENO, STDERR_FILENO),
        };
        (void)setvbuf(stdout, out, _IOFBF, sizeof(out));
        (void)setvbuf(stderr, err, _IOFBF, sizeof(err));
}

void output_take_workload(struct output *output, enum workload_id workload)
{
        output->unit = workload_info(workload)->unit;
        output->nanoseconds = workload_info(workload)->value_is_time;
        output->prefix = workload_info(workload)->takes_urls ? "demo:" : NULL;
}

/* For a few bytes, a loop is faster than fwrite(3). */
static void put(FILE *file, const char *data, size_t n)
{
        if (n > PUT_SHORT) {
                (void)fwrite_unlocked(data, 1, n, file);
                return;
        }
        for (size_t i = 0; i < n; ++i)
                (void)putc_unlocked(data[i], file);
}

static void put_text(FILE *file, const char *text)
{
        put(file, text, strlen(text));
}

static void put_u64(FILE *file, uint64_t v)
{
        char digits[20];
        size_t at = sizeof(digits);

        do
                digits[--at] = (char)('0' + v % 10);
        while (v /= 10);
        put(file, digits + at, sizeof(digits) - at);
}

static void put_input(const struct output *output, FILE *file, const char *input, size_t n)
{
        size_t n_prefix = output->prefix ? strlen(output->prefix) : 0;

        if (n > n_prefix && n_prefix && memcmp(input, output->prefix, n_prefix) == 0) {
                input += n_prefix;
                n -= n_prefix;
        }
        if (file == stdout ? output->out_terminal : output->err_terminal)
                visible_put(file, input, n);
        else
                put(file, input, n);
        put(file, ": ", 2);
}

/* With all digits, but no zeros at the end: 0.25, 3. */
static void put_seconds(FILE *file, uint64_t ns)
{
        uint64_t fraction = ns % NSEC_PER_SEC;
        int digits = 9;

        for (; digits > 0 && fraction % 10 == 0; --digits)
                fraction /= 10;
        put_u64(file, ns / NSEC_PER_SEC);
        if (digits > 0)
                fprintf(file, ".%0*" PRIu64, digits, fraction);
}

static void put_number(const struct output *output, uint64_t value)
{
        if (output->nanoseconds)
                put_seconds(stdout, value);
        else
                put_u64(stdout, value);
}

static void put_value(const struct output *output, const char *input, size_t n,
                      const struct ppp_record *record)
{
        put_input(output, stdout, input, n);
        put_number(output, record->value);
        if (output->nanoseconds) {
                put_text(stdout, " s");
        } else if (output->unit) {
                putc_unlocked(' ', stdout);
                put_text(stdout, output->unit);
                put_text(stdout, plural(record->value));
        }
        putc_unlocked('\n', stdout);
}

static void put_failure(const struct output *output, const char *input, size_t n,
                        const struct ppp_record *record)
{
        _cleanup_free_ char *why = reason_describe(record->reason, record->detail);
        FILE *file = output->failures_are_data ? stdout : stderr;

        if (output->interleaved && file == stderr)
                (void)fflush(stdout);
        put_input(output, file, input, n);
        put_text(file, "failed: ");
        put_text(file, why ?: reason_name(record->reason));
        putc_unlocked('\n', file);
        if (output->interleaved && file == stderr)
                (void)fflush(stderr);
}

/* JSON is UTF-8: a byte that is not becomes U+FFFD. */
static void put_json_string(FILE *file, const char *text, size_t n)
{
        putc_unlocked('"', file);
        for (size_t i = 0; i < n;) {
                uint32_t c;
                size_t length = utf8_decode(text + i, n - i, &c);

                if (length == 0)
                        put_text(file, "\\ufffd");
                else if (is_hidden(c))
                        visible_put_json_escape(file, c);
                else if (text[i] == '"' || text[i] == '\\')
                        putc_unlocked('\\', file), putc_unlocked(text[i], file);
                else
                        put(file, text + i, length);
                i += MAX(length, (size_t)1);
        }
        putc_unlocked('"', file);
}

static void put_json_seconds(FILE *file, const char *key, uint64_t ns)
{
        put_text(file, key);
        put_u64(file, ns / NSEC_PER_SEC);
        fprintf(file, ".%09" PRIu64, ns % NSEC_PER_SEC);
}

static void put_json_failure(FILE *file, const struct ppp_record *record)
{
        _cleanup_free_ char *why = reason_describe(record->reason, record->detail);
        const char *fetch_error = fetch_error_name(record->reason, record->detail);

        fprintf(file, ",\"state\":\"failed\",\"reason\":\"%s\",\"detail\":%" PRId32,
                reason_name(record->reason), record->detail);
        if (fetch_error)
                fprintf(file, ",\"fetch_error\":\"%s\"", fetch_error);
        put_text(file, ",\"why\":");
        put_json_string(file, why ?: "", why ? strlen(why) : 0);
}

/* The number that is printed without JSON, and what it counts. */
static void put_json_value(const struct output *output, uint64_t value)
{
        put_text(stdout, ",\"state\":\"done\"");
        if (output->commands)
                return;
        put_text(stdout, ",\"value\":");
        put_number(output, value);
        if (output->nanoseconds)
                put_text(stdout, ",\"unit\":\"seconds\"");
        else if (output->unit)
                fprintf(stdout, ",\"unit\":\"%ss\"", output->unit);
}

static void put_json(const struct output *output, uint64_t task, const char *input, size_t n,
                     const struct ppp_record *record)
{
        put_text(stdout, "{\"input\":");
        put_json_string(stdout, input, n);
        if (record->state == PPP_STATE_DONE) {
                put_json_value(output, record->value);
        } else {
                put_json_failure(stdout, record);
        }
        put_json_seconds(stdout, ",\"start_seconds\":", record->start_ns);
        put_json_seconds(stdout, ",\"end_seconds\":", record->end_ns);
        put_text(stdout, ",\"worker\":");
        put_u64(stdout, record->worker);
        if (output->commands)
                command_output_put_json(output->commands, task, record, stdout);
        put_text(stdout, "}\n");
}

/* A line on standard error may have flushed standard output meanwhile, and met the error. */
static void note_error(struct output *output)
{
        if (output->error == 0 && ferror(stdout))
                output->error = streams_output_error() ?: (errno ? -errno : -EIO);
}

void output_about(struct output *output, FILE *to, const char *input, size_t n_input,
                  const char *text)
{
        if (output->error < 0)
                return;
        errno = 0;
        put_input(output, to, input, n_input);
        put_text(to, text);
        putc_unlocked('\n', to);
        note_error(output);
}

void output_result(struct output *output, uint64_t task, const char *input, size_t n_input,
                   const struct ppp_record *record)
{
        if (output->error < 0)
                return;
        errno = 0;
        if (output->json)
                put_json(output, task, input, n_input, record);
        else if (record->state == PPP_STATE_DONE)
                put_value(output, input, n_input, record);
        else
                put_failure(output, input, n_input, record);
        note_error(output);
}

void output_text(struct output *output, const char *text)
{
        if (output->error < 0)
                return;
        errno = 0;
        put_text(stdout, text);
        note_error(output);
}

void output_line(struct output *output, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        int r;
        va_list ap;

        if (output->error < 0)
                return;
        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                output->error = -ENOMEM;
                return;
        }
        errno = 0;
        visible_put(stdout, text, strlen(text));
        putc_unlocked('\n', stdout);
        note_error(output);
}

void output_lines(struct output *output, const char *text)
{
        if (output->error < 0)
                return;
        errno = 0;
        if (output->out_terminal)
                visible_put_lines(stdout, text);
        else
                put_text(stdout, text);
        note_error(output);
}

int output_json(struct output *output, json_t *json, size_t flags)
{
        _cleanup_free_ char *text = visible_json(json, flags);

        if (!text)
                return cli_no_memory();
        output_text(output, text);
        output_text(output, "\n");
        return 0;
}

void output_wrapped(struct output *output, const char *label, size_t indent, const char *text,
                    size_t room)
{
        while (room > indent && strlen(text) > room - indent) {
                size_t n = room - indent;

                while (n > 0 && text[n] != ' ')
                        --n;
                if (n == 0)
                        break;
                output_line(output, "%-*s%.*s", (int)indent, label, (int)n, text);
                text += n + 1;
                label = "";
        }
        output_line(output, "%-*s%s", (int)indent, label, text);
}

bool output_flush(struct output *output)
{
        progress_clear();
        errno = 0;
        (void)fflush(stdout);
        note_error(output);
        (void)fflush(stderr);
        return output->error == 0;
}

const char *output_hint(int error)
{
        switch (error) {
        case -ENOSPC:
        case -EDQUOT:
        case -EFBIG:
                return "free some space, or send it elsewhere";
        case -EBADF:
                return "it is closed, or not open for writing: send it somewhere, to /dev/null if "
                       "nobody wants it";
        default:
                return "send it elsewhere";
        }
}

int output_finish(struct output *output)
{
        if (output_flush(output))
                return output->failed ? CLI_FAILED : 0;
        if (output->error == -EPIPE)
                return CLI_PIPE;
        if (output->error == -EINTR)
                return CLI_INTERRUPTED;
        return cli_fail(CLI_FAILED, "cannot write to standard output: %s; %s",
                        strerrordesc_np(-output->error), output_hint(output->error));
}
