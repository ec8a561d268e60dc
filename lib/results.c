#include "lib/results.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/fetch-error.h"

uint64_t results_size(uint64_t n_tasks)
{
        return PPP_RESULTS_HEADER_SIZE + n_tasks * sizeof(struct ppp_record);
}

/* The kernel's name for this boot (random(4), /proc/sys/kernel/random/boot_id) as 16 bytes. */
static int read_boot_id(uint8_t id[16])
{
        _cleanup_free_ char *text = NULL;
        size_t n, k = 0;
        int r = read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &text, &n);

        if (r < 0)
                return r;
        for (const char *p = text; *p && k < 16; ++p) {
                unsigned byte;

                if (*p == '-')
                        continue;
                if (sscanf(p, "%2x", &byte) != 1)
                        break;
                id[k++] = (uint8_t)byte;
                ++p;
        }
        return k == 16 ? 0 : -EBADMSG;
}

int results_create(int fd, uint64_t n_tasks, uint64_t epoch_ns)
{
        struct ppp_results_header header = {
                .version = PPP_RESULTS_VERSION,
                .header_size = PPP_RESULTS_HEADER_SIZE,
                .record_size = sizeof(struct ppp_record),
                .n_tasks = n_tasks,
                .created_realtime_ns = now_realtime(),
                .epoch_ns = (int64_t)epoch_ns,
        };
        ssize_t n;
        int r;

        assert(n_tasks > 0 && n_tasks <= RESULTS_MAX_TASKS);

        memcpy(header.magic, PPP_RESULTS_MAGIC, sizeof(header.magic));
        r = read_boot_id(header.boot_id);
        if (r < 0)
                return r;

        if (ftruncate(fd, (off_t)results_size(n_tasks)) < 0)
                return -errno;
        n = pwrite(fd, &header, sizeof(header), 0);
        return n == (ssize_t)sizeof(header) ? 0 : n < 0 ? -errno : -ENOSPC;
}

int results_reserve(int fd, uint64_t n_tasks)
{
        /* posix_fallocate() returns its error. It would write zeros where a filesystem cannot
         * reserve. */
        return -posix_fallocate(fd, 0, (off_t)results_size(n_tasks));
}

static bool header_is_valid(const struct ppp_results_header *header, uint64_t size)
{
        return memcmp(header->magic, PPP_RESULTS_MAGIC, sizeof(header->magic)) == 0 &&
               header->version == PPP_RESULTS_VERSION &&
               header->header_size == PPP_RESULTS_HEADER_SIZE &&
               header->record_size == sizeof(struct ppp_record) && header->n_tasks > 0 &&
               header->n_tasks <= RESULTS_MAX_TASKS && results_size(header->n_tasks) <= size;
}

int results_map(int fd, bool writable, struct results *ret)
{
        struct stat st;
        struct ppp_results_header header;
        uint64_t n_tasks;
        void *p;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size < PPP_RESULTS_HEADER_SIZE)
                return -EBADMSG;
        if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
                return -EIO;
        if (!header_is_valid(&header, (uint64_t)st.st_size))
                return -EBADMSG;

        n_tasks = header.n_tasks;
        p = mmap(NULL, results_size(n_tasks), PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED,
                 fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        *ret = (struct results){
                .header = p,
                .records = (struct ppp_record *)((char *)p + PPP_RESULTS_HEADER_SIZE),
                .n_tasks = n_tasks,
                .size = results_size(n_tasks),
        };
        return 0;
}

void results_unmap(struct results *results)
{
        if (results->header)
                munmap(results->header, results->size);
        *results = (struct results)RESULTS_NULL;
}

/* If the wall clock was set back, no time counts as passed. */
static int64_t epoch_by_wall_clock(const struct ppp_results_header *header)
{
        uint64_t now = now_realtime(), submitted = header->created_realtime_ns;

        return (int64_t)(now_monotonic() - (now > submitted ? now - submitted : 0));
}

/* The runner's times keep their distance to the epoch. */
static void move_epoch(struct ppp_results_header *header, int64_t epoch_ns)
{
        uint64_t moved = (uint64_t)epoch_ns - (uint64_t)header->epoch_ns;

        header->epoch_ns = epoch_ns;
        if (header->runner_start_ns != 0)
                header->runner_start_ns += moved;
        if (header->runner_end_ns != 0)
                header->runner_end_ns += moved;
}

int results_rebase(int fd)
{
        const size_t from = offsetof(struct ppp_results_header, boot_id);
        const size_t size = offsetof(struct ppp_results_header, next) - from;
        struct ppp_results_header header;
        uint8_t id[16];
        ssize_t n;
        int r;

        n = pread(fd, &header, sizeof(header), 0);
        if (n != (ssize_t)sizeof(header))
                return n < 0 ? -errno : -EBADMSG;
        r = read_boot_id(id);
        if (r < 0)
                return r;
        if (memcmp(id, header.boot_id, sizeof(id)) == 0)
                return 0;
        move_epoch(&header, epoch_by_wall_clock(&header));
        memcpy(header.boot_id, id, sizeof(id));
        /* In one call: a boot that is stored without its epoch would never be corrected again. */
        n = pwrite(fd, (const char *)&header + from, size, (off_t)from);
        return n < 0 ? -errno : n == (ssize_t)size ? 1 : -EIO;
}

uint64_t results_recount(struct results *results)
{
        struct ppp_results_header *header = results->header;
        uint64_t done = 0, failed = 0;

        for (uint64_t i = 0; i < results->n_tasks; ++i) {
                uint8_t state = record_state(&results->records[i]);

                done += state == PPP_STATE_DONE;
                failed += state == PPP_STATE_FAILED;
        }
        __atomic_store_n(&header->n_done, done, __ATOMIC_RELEASE);
        __atomic_store_n(&header->n_failed, failed, __ATOMIC_RELEASE);
        return results->n_tasks - done - failed;
}

static uint64_t last_end(const struct results *results)
{
        struct ppp_record record;
        uint64_t last = 0;

        for (uint64_t i = 0; i < results->n_tasks; ++i)
                if (results_get(results, i, &record))
                        last = MAX(last, record.end_ns);
        return last;
}

void results_resume(struct results *results)
{
        struct ppp_results_header *header = results->header;
        uint64_t last = last_end(results), now = now_monotonic();

        /* The wall clock may have been set back: no record may end later than now. */
        if (now - (uint64_t)header->epoch_ns < last)
                header->epoch_ns = (int64_t)(now - last);
        header->next = 0;
        header->runner_start_ns = header->runner_end_ns = 0;
        (void)results_recount(results);
}

/* A newer version's reasons have no bit of their own. */
static bool is_among(uint64_t reasons, const struct ppp_record *record)
{
        return reasons == RESULTS_ANY_REASON ||
               (record->reason < _PPP_REASON_N && (reasons & UINT64_C(1) << record->reason));
}
_Static_assert(_PPP_REASON_N <= 64, "each reason has a bit");

int results_run_again(int fd, uint64_t reasons, uint64_t now_ns)
{
        const size_t from = offsetof(struct ppp_results_header, again_ns);
        const struct ppp_end none = { .realtime_ns = 0 };
        struct ppp_results_header header;
        uint64_t again[2];
        ssize_t n;

        n = pread(fd, &header, sizeof(header), 0);
        if (n != (ssize_t)sizeof(header))
                return n < 0 ? -errno : -EBADMSG;
        again[0] = now_ns - (uint64_t)header.epoch_ns;
        again[1] = reasons;
        n = pwrite(fd, again, sizeof(again), (off_t)from);
        if (n != (ssize_t)sizeof(again))
                return n < 0 ? -errno : -EIO;
        return results_note_end(fd, &none);
}

/* The reasons go last: whoever is killed before leaves all of it to do. */
void results_withdraw(struct results *results)
{
        struct ppp_results_header *header = results->header;

        for (uint64_t i = 0; i < results->n_tasks && header->again_clears; ++i) {
                struct ppp_record *record = &results->records[i];

                if (record_state(record) == PPP_STATE_FAILED &&
                    is_among(header->again_clears, record))
                        __atomic_store_n(&record->state, PPP_STATE_NONE, __ATOMIC_RELEASE);
        }
        __atomic_store_n(&header->again_clears, 0, __ATOMIC_RELEASE);
}

int results_note_end(int fd, const struct ppp_end *end)
{
        ssize_t n = pwrite(fd, end, sizeof(*end), offsetof(struct ppp_results_header, end));

        return n < 0 ? -errno : n == (ssize_t)sizeof(*end) ? 0 : -ENOSPC;
}

int results_read_end(int fd, struct ppp_end *ret)
{
        struct ppp_end end;
        ssize_t n = pread(fd, &end, sizeof(end), offsetof(struct ppp_results_header, end));

        if (n != (ssize_t)sizeof(end))
                return n < 0 ? -errno : -EBADMSG;
        if (end.realtime_ns == 0)
                return -ENOENT;
        end.state[sizeof(end.state) - 1] = end.reason[sizeof(end.reason) - 1] = 0;
        *ret = end;
        return 0;
}

static const struct {
        const char *name;
        const char *text; /* %s: what detail says */
        enum {
                DETAIL_NONE,
                DETAIL_ERRNO,
                DETAIL_NUMBER,
                DETAIL_SIGNAL,
                DETAIL_PROXY,
                DETAIL_FETCH, /* one that is no fetch error which has a text of its own */
        } detail;
} reasons[_PPP_REASON_N] = {
        [PPP_REASON_NONE] = { "none", "no reason was noted", DETAIL_NONE },
        [PPP_REASON_NOT_A_NUMBER] = { "not-a-number",
                                      "not a number this workload takes; sum and sum-array take "
                                      "decimal digits only, sleep and mix times as in 0.2 or 200ms "
                                      "(with ns, us, ms, s, min, h or d), mix sizes as in 64M",
                                      DETAIL_NONE },
        [PPP_REASON_NEGATIVE] = { "negative", "negative; give a number from 0 up", DETAIL_NONE },
        [PPP_REASON_TOO_LARGE] = { "too-large",
                                   "too large; sum takes numbers up to 4294967296 (past that the "
                                   "result does not fit in 64 bits), sleep up to 30 days, times "
                                   "of mix up to a day and sizes up to 1T",
                                   DETAIL_NONE },
        [PPP_REASON_BAD_URL] = { "bad-url",
                                 "not a URL that parses; check it, and encode spaces as %20",
                                 DETAIL_NONE },
        [PPP_REASON_BAD_SCHEME] = { "bad-scheme",
                                    "its scheme is not one pppd takes; use http, https, file or a "
                                    "path",
                                    DETAIL_NONE },
        [PPP_REASON_RESOLVE] = { "resolve",
                                 "the host name does not resolve; check the name and this "
                                 "machine's DNS",
                                 DETAIL_NONE },
        [PPP_REASON_CONNECT] = { "connect",
                                 "cannot connect: %s; is the server running, and the port right?",
                                 DETAIL_ERRNO },
        [PPP_REASON_TLS] = { "tls",
                             "the TLS handshake failed (%s); does the server speak TLS on this "
                             "port?",
                             DETAIL_FETCH },
        [PPP_REASON_CERTIFICATE] = { "certificate",
                                     "the server's certificate does not verify (X.509 result %s); "
                                     "if it is signed by a CA of your own, name that with "
                                     "--ca-file",
                                     DETAIL_NUMBER },
        [PPP_REASON_HTTP_STATUS] = { "http-status", "the server answered with status %s",
                                     DETAIL_NUMBER },
        [PPP_REASON_REDIRECTS] = { "redirects",
                                   "more than 10 redirects; the server may redirect in a circle",
                                   DETAIL_NONE },
        [PPP_REASON_TIMEOUT] = { "timeout",
                                 "not done in time; --task-timeout sets the limit, and fewer "
                                 "--workers spare a busy server",
                                 DETAIL_NONE },
        [PPP_REASON_TRANSFER] = { "transfer",
                                  "the connection broke before all of the answer was there (%s); "
                                  "--retries tries again",
                                  DETAIL_FETCH },
        [PPP_REASON_ENCODING] = { "encoding",
                                  "the page does not decode as its Content-Encoding says, or ends "
                                  "too early (%s)",
                                  DETAIL_FETCH },
        [PPP_REASON_CHARSET] = { "charset", "its declared character set is unknown to iconv(1)",
                                 DETAIL_NONE },
        [PPP_REASON_OPEN] = { "open", "cannot open: %s", DETAIL_ERRNO },
        [PPP_REASON_READ] = { "read", "cannot read: %s", DETAIL_ERRNO },
        [PPP_REASON_SIGNAL] = { "signal", "its worker was killed by signal %s", DETAIL_SIGNAL },
        [PPP_REASON_OOM_KILLED] = { "oom-killed",
                                    "out of memory: the kernel killed its worker, and did not tell "
                                    "for whose limit",
                                    DETAIL_NONE },
        [PPP_REASON_EXIT] = { "exit", "its worker exited with status %s in mid-task",
                              DETAIL_NUMBER },
        [PPP_REASON_NO_MEMORY] = { "no-memory",
                                   "not enough memory for it; use a smaller number or fewer "
                                   "workers",
                                   DETAIL_NUMBER },
        [PPP_REASON_IO] = { "io", "the system said: %s", DETAIL_ERRNO },
        [PPP_REASON_NO_FETCH] = { "no-fetch",
                                  "libcurl.so.4 cannot be loaded; install libcurl (Debian: "
                                  "libcurl4, Fedora: libcurl)",
                                  DETAIL_NONE },
        [PPP_REASON_CANCELLED] = { "cancelled", "the job was cancelled", DETAIL_NONE },
        [PPP_REASON_CA_FILE] = { "ca-file",
                                 "the certificates of authorities cannot be read; does the file of "
                                 "--ca-file hold some, in PEM form?",
                                 DETAIL_NONE },
        [PPP_REASON_PROXY] = { "proxy",
                               "cannot use the proxy that the environment names (http_proxy, "
                               "https_proxy, all_proxy): %s; is it running, and its address right? "
                               "no_proxy names the hosts that need none",
                               DETAIL_PROXY },
        [PPP_REASON_BAD_PART] = { "bad-part",
                                  "its part %s has no name that mix knows; it takes cpu, sleep, "
                                  "lock, shared, locked, touch, alloc, read, crash and exit, with "
                                  "commas between them, as in cpu=2ms,sleep=20ms",
                                  DETAIL_NUMBER },
        [PPP_REASON_COMMAND_EXIT] = { "command-exit", "exit %s", DETAIL_NUMBER },
        [PPP_REASON_COMMAND_SIGNAL] = { "command-signal", "killed by signal %s", DETAIL_SIGNAL },
        [PPP_REASON_COMMAND_START] = { "command-start", "cannot be started: %s", DETAIL_ERRNO },
        [PPP_REASON_COMMAND_PIDS] = { "command-pids",
                                      "exit %s, after it was refused another process: its "
                                      "limit (--task-pids-max) was met",
                                      DETAIL_NUMBER },
        [PPP_REASON_PROTOCOL] = { "protocol",
                                  "the answer is not as HTTP has it (%s); the server, or what is "
                                  "between, has to mend that",
                                  DETAIL_FETCH },
};

const char *reason_name(enum ppp_reason reason)
{
        return (unsigned)reason < _PPP_REASON_N ? reasons[reason].name : "unknown";
}

static const char *detail_errno(int32_t detail)
{
        const char *text = detail ? strerrordesc_np(abs(detail)) : "the connection failed";

        return text ? text : "an error this system has no name for";
}

static char *detail_text(enum ppp_reason reason, int32_t detail)
{
        char *text = NULL;
        int r = -1;

        switch (reasons[reason].detail) {
        case DETAIL_NONE:
                r = asprintf(&text, "%s", "");
                break;
        case DETAIL_ERRNO:
                r = asprintf(&text, "%s", detail_errno(detail));
                break;
        case DETAIL_NUMBER:
                r = asprintf(&text, "%d", detail);
                break;
        case DETAIL_PROXY:
                r = detail >= 300
                            ? asprintf(&text, "it answered with status %d", detail)
                            : asprintf(&text, "%s",
                                       detail ? detail_errno(detail) : "its name does not resolve");
                break;
        case DETAIL_FETCH:
                r = detail < PPP_FETCH_STATUS_LINE
                            ? asprintf(&text, "libcurl's error %d", detail)
                            : asprintf(&text, "error %d, which a newer pppd knows", detail);
                break;
        case DETAIL_SIGNAL:
                r = asprintf(&text, "%d (%s%s)", detail & 0xff,
                             sigdescr_np(detail & 0xff) ? sigdescr_np(detail & 0xff) : "unknown",
                             detail & PPP_COMMAND_CORE ? ", core dumped" : "");
                break;
        }
        return r < 0 ? NULL : text;
}

/* The page is elsewhere, and the user has to decide whether to go there. */
#define REDIRECT(what)                                                                     \
        "the server redirects to " what ", which pppd does not follow: it takes http and " \
        "https; give the address of the page that you want"

static const char *scheme_format(int32_t detail)
{
        static const char *const formats[] = {
                [PPP_SCHEME_OF_REDIRECT] = REDIRECT("a URL of another scheme"),
                [PPP_SCHEME_JAVASCRIPT] = REDIRECT("a script (javascript:), for a browser to run"),
                [PPP_SCHEME_FTP] = REDIRECT("FTP (ftp:)"),
                [PPP_SCHEME_FILE] = REDIRECT("a file of this machine (file:)"),
                [PPP_SCHEME_DATA] = REDIRECT("a page within the URL (data:)"),
                [PPP_SCHEME_MAILTO] = REDIRECT("a mail address (mailto:)"),
        };

        return detail > 0 && (size_t)detail < ARRAY_SIZE(formats)
                       ? formats[detail]
                       : reasons[PPP_REASON_BAD_SCHEME].text;
}

static const char *url_format(int32_t detail)
{
        static const char *const formats[] = {
                [PPP_URL_HOST_UTF8] = "the host of the URL, or of the one that it redirects to, is "
                                      "not in UTF-8, so which name is meant is not known; write it "
                                      "in UTF-8, or in its ASCII form (xn--...)",
                [PPP_URL_HOST_NAME] =
                        "the host of the URL, or of the one that it redirects to, has a character "
                        "or a label that internationalized host names (IDNA 2008) may not have; "
                        "check the name, or write it in its ASCII form (xn--...)",
                [PPP_URL_HOST_LENGTH] =
                        "the host of the URL, or of the one that it redirects to, is too long: in "
                        "its ASCII form (xn--...) each label may have 63 bytes, and all of it 253",
        };

        return detail > 0 && (size_t)detail < ARRAY_SIZE(formats)
                       ? formats[detail]
                       : reasons[PPP_REASON_BAD_URL].text;
}

static const char *oom_format(int32_t detail)
{
        static const char *const formats[] = {
                [PPP_OOM_WORKER] = "out of memory: the kernel killed its worker, which had come to "
                                   "its own memory.max (--worker-memory-max)",
                [PPP_OOM_JOB] =
                        "out of memory: the kernel killed its worker when the job had come to its "
                        "memory.max (--memory-max; on a node, its share of memory-max in [node])",
                [PPP_OOM_ABOVE] =
                        "out of memory: the kernel killed its worker when a group above the job's "
                        "had come to its memory.max (MemoryMax= of the service or of its slice); "
                        "the job's summary tells which, under limits_met",
                [PPP_OOM_MACHINE] =
                        "out of memory: the kernel killed its worker because the machine had no "
                        "memory left; "
                        "use fewer workers, or limit with --memory-max what the job may take",
                [PPP_OOM_TASK] = "out of memory: the kernel killed it when it had come to its own "
                                 "memory.max (--task-memory-max)",
        };

        return detail > 0 && (size_t)detail < ARRAY_SIZE(formats)
                       ? formats[detail]
                       : reasons[PPP_REASON_OOM_KILLED].text;
}

static const char *start_format(int32_t detail)
{
        if (detail < 0)
                return "the directory that it is to run in (--cd) cannot be entered: %s";
        switch (detail) {
        case ENOENT:
        case ENOTDIR:
                return "not found: there is no such program in PATH, or the interpreter that its "
                       "first line names is not there";
        case EACCES:
                return "not executable: it has no x bit for you, is a directory, or lies on a file "
                       "system that is mounted noexec";
        case ENOEXEC:
                return "not a program of this machine, and no script that begins with #!; give its "
                       "interpreter as the first word";
        case E2BIG:
                return "argument list too long: a word may have 131071 bytes, and all of them and "
                       "the environment a quarter of the limit on the stack; --stdin gives the "
                       "input on standard input instead";
        case EAGAIN:
                return "no process could be made: the limit on processes was met (--task-pids-max, "
                       "--pids-max, TasksMax= of the service or its slice, ulimit -u)";
        default:
                return reasons[PPP_REASON_COMMAND_START].text;
        }
}

/* It is not always the other side's fault. */
static const char *reason_format(enum ppp_reason reason, int32_t detail)
{
        if (reason == PPP_REASON_CONNECT && (detail == EMFILE || detail == ENFILE))
                return "cannot connect: %s; ask for fewer at a time with --workers, or raise the "
                       "limit on open files (LimitNOFILE=, ulimit -n)";
        /* Only the ring has cancelled it, which has no other errno for that. */
        if ((reason == PPP_REASON_OPEN || reason == PPP_REASON_READ) && detail == ECANCELED)
                return "cannot be read: it is not in memory, and no thread of the kernel could be "
                       "started to read it; raise the limit of tasks (--pids-max, TasksMax= of the "
                       "service or its slice)";
        if (reason == PPP_REASON_TOO_LARGE && detail == PPP_TOO_LARGE_ARRAY)
                return "too large for an array, at 8 bytes a number; sum-array takes numbers up to "
                       "536870912 (4 GiB), sum adds up the same without the memory";
        if (reason == PPP_REASON_NO_MEMORY && detail > 0)
                return "not enough memory for it: it needs %s MiB, more than the machine has to "
                       "spare; "
                       "use a smaller number or fewer workers";
        if (reason == PPP_REASON_BAD_SCHEME)
                return scheme_format(detail);
        if (reason == PPP_REASON_BAD_URL)
                return url_format(detail);
        if (reason == PPP_REASON_OOM_KILLED)
                return oom_format(detail);
        if (reason == PPP_REASON_COMMAND_START)
                return start_format(detail);
        if (reason == PPP_REASON_NO_FETCH && detail == PPP_LIBRARY_IDN2)
                return "libidn2.so.0 cannot be loaded, which a host name that is not ASCII needs; "
                       "install libidn2 (Debian: libidn2-0, Fedora: libidn2), or write the name as "
                       "xn--...";
        return reasons[reason].text;
}

char *reason_describe(enum ppp_reason reason, int32_t detail)
{
        _cleanup_free_ char *what = NULL;
        const char *format, *at;
        char *text;

        if ((unsigned)reason >= _PPP_REASON_N)
                return asprintf(&text, "failed for a reason (%d) that a newer pppd knows",
                                (int)reason) < 0
                               ? NULL
                               : text;
        text = fetch_error_describe(reason, detail);
        if (text)
                return text;
        what = detail_text(reason, detail);
        if (!what)
                return NULL;
        format = reason_format(reason, detail);
        at = strstr(format, "%s");
        if (!at)
                return strdup(format);
        if (asprintf(&text, "%.*s%s%s", (int)(at - format), format, what, at + 2) < 0)
                return NULL;
        return text;
}
