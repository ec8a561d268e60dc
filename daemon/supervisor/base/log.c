#define SD_JOURNAL_SUPPRESS_LOCATION /* Otherwise every message would have this file's name. */

#include "daemon/supervisor/base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

/* The unit has the same SyslogIdentifier=, for lines written to standard error. */
#define IDENTIFIER "pppctl"

#define LIMIT_NS (60 * NSEC_PER_SEC)
#define LIMIT_N  5

static bool to_journal;
static bool is_brief; /* this process ends right after its messages */

void supervisor_log_brief(void)
{
        is_brief = true;
}

void supervisor_log_init(void)
{
        const char *stream = getenv("JOURNAL_STREAM");
        uintmax_t device, inode;
        struct stat st;

        if (!stream || sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) != 2)
                return;
        if (fstat(STDERR_FILENO, &st) < 0)
                return;
        to_journal = st.st_dev == device && st.st_ino == inode;
}

static void add(char **fields, size_t *n, const char *format, ...) _printf_(3, 4);

static void add(char **fields, size_t *n, const char *format, ...)
{
        va_list args;
        int r;

        assert(*n < LOG_FIELDS_MAX);
        va_start(args, format);
        r = vasprintf(&fields[*n], format, args);
        va_end(args);
        *n += r >= 0;
}

size_t supervisor_log_fields(const struct log_about *about, int priority, const char *text,
                             char *ret[static LOG_FIELDS_MAX])
{
        const char *id = message_id(about->message);
        size_t n = 0;

        add(ret, &n, "MESSAGE=%s", text);
        add(ret, &n, "PRIORITY=%d", priority);
        add(ret, &n, "SYSLOG_IDENTIFIER=" IDENTIFIER);
        if (id)
                add(ret, &n, "MESSAGE_ID=%s", id);
        if (about->job > 0)
                add(ret, &n, "PPPCTL_JOB=%" PRIu64, about->job);
        if (about->level)
                add(ret, &n, "PPPCTL_LEVEL=%s", about->level);
        if (about->workload)
                add(ret, &n, "PPPCTL_WORKLOAD=%s", about->workload);
        if (about->reason)
                add(ret, &n, "PPPCTL_REASON=%s", about->reason);
        return n;
}

static int send_to_journal(const struct log_about *about, int priority, const char *text)
{
        struct iovec vector[LOG_FIELDS_MAX];
        char *fields[LOG_FIELDS_MAX];
        size_t n;
        int r;

        n = supervisor_log_fields(about, priority, text, fields);
        for (size_t i = 0; i < n; ++i)
                vector[i] = (struct iovec){ fields[i], strlen(fields[i]) };
        r = n > 0 ? sd_journal_sendv(vector, (int)n) : -ENOMEM;
        for (size_t i = 0; i < n; ++i)
                free(fields[i]);
        return r;
}

static void log_text(const struct log_about *about, int priority, const char *text)
{
        if (to_journal && !is_brief && send_to_journal(about, priority, text) >= 0)
                return;
        /* Errors are ignored: if standard error is gone (a closed terminal), nobody can be told. */
        if (to_journal)
                (void)dprintf(STDERR_FILENO, "<%d>%s\n", priority, text);
        else
                (void)dprintf(STDERR_FILENO, "pppd-supervisor: %s\n", text);
}

static void log_args(const struct log_about *about, int priority, const char *format, va_list args)
        __attribute__((format(printf, 3, 0)));

static void log_args(const struct log_about *about, int priority, const char *format, va_list args)
{
        _cleanup_free_ char *text = NULL;
        int saved = errno;

        assert(priority >= LOG_EMERG && priority <= LOG_DEBUG);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        log_text(about, priority, text ?: format);
        errno = saved;
}

void supervisor_log(int priority, const char *format, ...)
{
        const struct log_about nothing = { .message = MESSAGE_NONE };
        va_list args;

        va_start(args, format);
        log_args(&nothing, priority, format, args);
        va_end(args);
}

void supervisor_log_about(const struct log_about *about, int priority, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        log_args(about, priority, format, args);
        va_end(args);
}

/* Whether another message may be logged. Also logs how many were left out in the last minute. */
static bool limit_allows(struct log_limit *limit)
{
        uint64_t now = now_monotonic();
        unsigned left_out = limit->n_left_out;

        if (limit->since_ns == 0 || now - limit->since_ns >= LIMIT_NS) {
                *limit = (struct log_limit){ .since_ns = now };
                if (left_out > 0)
                        supervisor_log(LOG_NOTICE,
                                       "%u more messages like the next one were left out",
                                       left_out);
        }
        if (limit->n_said >= LIMIT_N) {
                ++limit->n_left_out;
                return false;
        }
        ++limit->n_said;
        return true;
}

void supervisor_log_limited(struct log_limit *limit, int priority, const char *format, ...)
{
        const struct log_about nothing = { .message = MESSAGE_NONE };
        va_list args;

        if (!limit_allows(limit))
                return;
        va_start(args, format);
        log_args(&nothing, priority, format, args);
        va_end(args);
}

int supervisor_log_oom(void)
{
        supervisor_log(LOG_ERR, "out of memory");
        return -ENOMEM;
}
