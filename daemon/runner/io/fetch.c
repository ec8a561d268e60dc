/*
 * A transfer: one easy handle, set up once, given one request after the other. What a request costs
 * beyond libcurl itself is setting its URL and, with --task-timeout, the time left.
 *
 * A blocking transfer has a multi handle of its own, not curl_easy_perform(): that one waits up to
 * a second at a time and looks at nothing else, while curl_multi_poll() watches a descriptor of ours
 * too, so a cancelled fetch ends at once. Both reuse connections alike and cost the same.
 */

#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

#include "daemon/runner/io/content-type.h"
#include "daemon/runner/io/interrupt.h"
#include "daemon/runner/io/transfer.h"
#include "daemon/runner/runner.h"
#include "lib/answer-fault.h"

#define STALL_BYTES_PER_SECOND  1L
/* Connections a blocking transfer keeps open: its requests may go to several hosts in turn. */
#define BLOCKING_CONNECTIONS    16L
/* What libcurl buffers on sending; ours are requests without a body, this is its minimum. */
#define UPLOAD_BUFFER_SIZE      16384L

#define LOCAL_HOSTS             "localhost,127.0.0.0/8,::1"

int fetch_load(struct ppp_task *task)
{
        return curl_load() < 0 ? task_fail(task, PPP_REASON_NO_FETCH, 0) : 0;
}

/* Of the last response; NULL if it has none. */
static const char *response_header(struct transfer *transfer, const char *name)
{
        struct curl_header *header;

        if (sym_curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
                return NULL;
        return header->value;
}

static int note_charset(struct transfer *transfer)
{
        const char *type = response_header(transfer, "Content-Type"), *charset;
        size_t n;

        charset = type ? content_type_charset(type, &n) : NULL;
        if (!charset)
                return 0;
        if (n >= transfer->charset_size) {
                char *bigger = realloc(transfer->charset_text, n + 1);

                if (!bigger)
                        return task_fail(transfer->task, PPP_REASON_NO_MEMORY, 0);
                transfer->charset_text = bigger;
                transfer->charset_size = n + 1;
        }
        memcpy(transfer->charset_text, charset, n);
        transfer->charset_text[n] = 0;
        transfer->charset = transfer->charset_text;
        return 0;
}

static int fail_answer(struct transfer *transfer, enum ppp_answer_fault fault)
{
        return task_fail(transfer->task, answer_fault_reason(fault), (int32_t)fault);
}

/* All fields together; libcurl has undone the transfer's codings. */
static int note_codings(struct transfer *transfer)
{
        struct coding_list list = { 0 };
        struct curl_header *header;

        for (size_t i = 0; sym_curl_easy_header(transfer->easy, "Content-Encoding", i, CURLH_HEADER,
                                                -1, &header) == CURLHE_OK; ++i)
                coding_list_add(&list, header->value, strlen(header->value));
        if (list.fault)
                return fail_answer(transfer, list.fault);
        return content_coding_begin(&transfer->coding, &list) < 0 ?
               task_fail(transfer->task, PPP_REASON_NO_MEMORY, 0) : 0;
}

/* What a response declares of its body; asked for once, at the body's first byte. */
static int note_response(struct transfer *transfer)
{
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->status);
        if (transfer->status >= 400)
                return 0;
        return note_codings(transfer) ?: note_charset(transfer);
}

static int decode(struct transfer *transfer, const char *data, size_t n)
{
        struct ppp_chunk chunk = { .charset = transfer->charset };
        int r, k;

        content_coding_feed(&transfer->coding, data, n);
        while ((r = content_coding_next(&transfer->coding, &chunk.data, &chunk.size)) > 0) {
                k = chunk.size > 0 ? transfer->sink(transfer->userdata, &chunk) : 0;
                if (k < 0)
                        return k;
        }
        switch (r) {
        case 0:
                return 0;
        case -ENOMEM:
                return task_fail(transfer->task, PPP_REASON_NO_MEMORY, 0);
        case -EOVERFLOW:
                return fail_answer(transfer, PPP_ANSWER_TRAILING);
        default:
                return task_fail(transfer->task, PPP_REASON_ENCODING, CURLE_BAD_CONTENT_ENCODING);
        }
}

static size_t discard(struct transfer *transfer, size_t n)
{
        transfer->n_discarded += n;
        return transfer->n_discarded > FETCH_DISCARD_MAX ? CURL_WRITEFUNC_ERROR : n;
}

/* An answer's head, be it of a redirect or a 1xx, begins with a status line and ends with an empty one. */
static void note_line(struct transfer *transfer, const char *line, size_t n)
{
        if (n > 5 && memcmp(line, "HTTP/", 5) == 0)
                transfer->head_ended = false;
        else if (n > 0 && (line[0] == '\r' || line[0] == '\n'))
                transfer->head_ended = true;
}

/* libcurl bounds a response's headers, and takes trailers without end: both are counted here. */
static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
        struct transfer *transfer = userdata;

        note_line(transfer, data, n);
        transfer->n_header += n;
        return transfer->n_header > FETCH_HEADERS_MAX ? 0 : n;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct transfer *transfer = userdata;
        struct ppp_chunk chunk;

        if (transfer->status == 0) {
                transfer->sink_result = note_response(transfer);
                if (transfer->sink_result < 0)
                        return CURL_WRITEFUNC_ERROR;
        }
        if (transfer->status >= 400)
                return discard(transfer, n);
        chunk = (struct ppp_chunk){ data, n, transfer->charset };
        transfer->sink_result = transfer->coding.n == 0 ?
                                transfer->sink(transfer->userdata, &chunk) :
                                decode(transfer, data, n);
        return transfer->sink_result < 0 ? CURL_WRITEFUNC_ERROR : n;
}

/* As libcurl would do it itself, but it does not tell why it could not. */
static curl_socket_t on_open_socket(void *userdata, curlsocktype purpose,
                                    struct curl_sockaddr *address)
{
        struct transfer *transfer = userdata;
        int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

        if (fd >= 0)
                return fd;
        transfer->socket_errno = errno;
        return CURL_SOCKET_BAD;
}

static const char *proxy_from_environment(void)
{
        static const char *const names[] = {
                "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
                const char *value = getenv(names[i]);

                if (value && *value)
                        return value;
        }
        return NULL;
}

bool fetch_has_proxy(void)
{
        return proxy_from_environment() != NULL;
}

/*
 * Whatever proxy the environment names, this machine is reached directly: the demo pages are here.
 * Without one libcurl need not look through the environment for every request.
 */
static CURLcode set_proxy(CURL *easy)
{
        const char *no_proxy = getenv("no_proxy");
        _cleanup_free_ char *merged = NULL;

        if (!fetch_has_proxy())
                return sym_curl_easy_setopt(easy, CURLOPT_PROXY, "");
        if (!no_proxy)
                no_proxy = getenv("NO_PROXY");
        if (no_proxy && streq(no_proxy, "*"))
                return sym_curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
        if (asprintf(&merged, LOCAL_HOSTS "%s%s", no_proxy ? "," : "", no_proxy ?: "") < 0) {
                merged = NULL;
                return CURLE_OUT_OF_MEMORY;
        }
        return sym_curl_easy_setopt(easy, CURLOPT_NOPROXY, merged);
}

/*
 * libcurl keeps the parsed certificates for all connections of a multi handle, but not if it has a
 * directory of them to look at too, as Debian's has by default; then each connection parses the
 * system's bundle anew: 20 ms and 1 MiB. So the directory is only used where there is no bundle,
 * and not beside the file the user gave.
 */
static CURLcode set_certificates(CURL *easy, const char *ca_file)
{
        const char *bundle = ca_file;
        CURLcode code = CURLE_OK;

        if (ca_file)
                code = sym_curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
        else
                sym_curl_easy_getinfo(easy, CURLINFO_CAINFO, &bundle);
        if (code != CURLE_OK || !bundle || (!ca_file && access(bundle, R_OK) < 0))
                return code;
        return sym_curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

/* What is the same for every request, as far as libcurl does not do it so by itself. */
static CURLcode set_up(struct transfer *transfer, size_t buffer_size)
{
        const struct {
                CURLoption option;
                long value;
        } numbers[] = {
                { CURLOPT_NOSIGNAL, 1 },
                { CURLOPT_FOLLOWLOCATION, 1 },
                { CURLOPT_MAXREDIRS, FETCH_REDIRECTS_MAX },
                { CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS },
                { CURLOPT_BUFFERSIZE, (long)buffer_size },
                { CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_SIZE },
                { CURLOPT_CONNECTTIMEOUT_MS, FETCH_CONNECT_NS / NSEC_PER_MSEC },
                { CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES_PER_SECOND },
                { CURLOPT_LOW_SPEED_TIME, FETCH_STALL_NS / NSEC_PER_SEC },
        };
        const struct {
                CURLoption option;
                const char *value;
        } strings[] = {
                { CURLOPT_PROTOCOLS_STR, "http,https" },
                { CURLOPT_REDIR_PROTOCOLS_STR, "http,https" },
                { CURLOPT_USERAGENT, FETCH_USER_AGENT },
        };
        CURLcode code = set_proxy(transfer->easy);

        for (size_t i = 0; code == CURLE_OK && i < ARRAY_SIZE(numbers); ++i)
                code = sym_curl_easy_setopt(transfer->easy, numbers[i].option, numbers[i].value);
        for (size_t i = 0; code == CURLE_OK && i < ARRAY_SIZE(strings); ++i)
                code = sym_curl_easy_setopt(transfer->easy, strings[i].option, strings[i].value);
        /*
         * A transfer that ends while its name resolves must not wait for the resolver's thread: at async
         * that would be the loop. 7.87; before, an option it does not know.
         */
        (void)sym_curl_easy_setopt(transfer->easy, CURLOPT_QUICK_EXIT, 1L);
        if (code == CURLE_OK)
                code = set_certificates(transfer->easy, transfer->runner->spec.ca_file);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_WRITEFUNCTION, on_body);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_WRITEDATA, transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_HEADERFUNCTION, on_header);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_HEADERDATA, transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETFUNCTION,
                                            on_open_socket);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETDATA, transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
        return code;
}

DEFINE_CLEANUP(struct transfer *, transfer_free)

int transfer_new(struct runner *runner, size_t buffer_size, struct transfer **ret)
{
        _cleanup_(transfer_freep) struct transfer *transfer = calloc(1, sizeof(*transfer));
        CURLcode code;

        if (!transfer)
                return -ENOMEM;
        transfer->runner = runner;
        transfer->redirects_max = FETCH_REDIRECTS_MAX;
        transfer->easy = sym_curl_easy_init();
        transfer->headers = sym_curl_slist_append(NULL, content_coding_accept);
        if (!transfer->easy || !transfer->headers)
                return -ENOMEM;
        code = set_up(transfer, buffer_size);
        if (code == CURLE_OUT_OF_MEMORY)
                return -ENOMEM;
        if (code != CURLE_OK) {
                log_error("cannot fetch: this libcurl refuses an option we need (its error %d); "
                          "it must be 7.85 or newer", (int)code);
                return -ENOTSUP;
        }
        *ret = steal_ptr(transfer);
        return 0;
}

struct transfer *transfer_free(struct transfer *transfer)
{
        if (transfer) {
                if (transfer->easy)
                        sym_curl_easy_cleanup(transfer->easy);
                if (transfer->multi)
                        sym_curl_multi_cleanup(transfer->multi);
                if (transfer->headers)
                        sym_curl_slist_free_all(transfer->headers);
                content_coding_deinit(&transfer->coding);
                free(transfer->charset_text);
                free(transfer);
        }
        return NULL;
}

/*
 * libcurl guesses at what has no scheme, and says the same of a scheme it has never heard of and of
 * one we forbid; so a look at the URL's beginning decides. 0 or the reason.
 */
static enum ppp_reason check_scheme(const char *url)
{
        size_t n;

        if (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0)
                return PPP_REASON_NONE;
        n = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
        if (n == 0 || strncmp(url + n, "://", 3) != 0)
                return PPP_REASON_BAD_URL;
        return PPP_REASON_BAD_SCHEME;
}

/* The time the request may take; 0: as long as it moves. */
static CURLcode set_timeout(struct transfer *transfer, long timeout_ms)
{
        long stall = timeout_ms ? 0 : (long)(FETCH_STALL_NS / NSEC_PER_SEC);
        long connect = timeout_ms ? timeout_ms : (long)(FETCH_CONNECT_NS / NSEC_PER_MSEC);
        CURLcode code;

        if (transfer->timeout_ms == timeout_ms)
                return CURLE_OK;
        code = sym_curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
        if (code == CURLE_OK && (transfer->timeout_ms == 0 || timeout_ms == 0))
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_LOW_SPEED_TIME, stall);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_CONNECTTIMEOUT_MS, connect);
        if (code == CURLE_OK)
                transfer->timeout_ms = timeout_ms;
        return code;
}

/* Rounded up, so that the deadline has passed when libcurl says so. 0: none; -ETIME: it is over. */
static long timeout_left_ms(const struct ppp_task *task)
{
        uint64_t left;

        if (task->deadline_ns == 0)
                return 0;
        left = task_time_left(task, now_monotonic());
        if (left == 0)
                return -ETIME;
        return (long)MIN((left + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, (uint64_t)INT32_MAX);
}

int transfer_begin(struct transfer *transfer, struct ppp_task *task, const char *url,
                   ppp_sink *sink, void *userdata)
{
        enum ppp_reason reason = check_scheme(url);
        long timeout_ms = timeout_left_ms(task);
        CURLcode code;

        if (reason != PPP_REASON_NONE)
                return task_fail(task, reason, 0);
        if (timeout_ms < 0)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        code = sym_curl_easy_setopt(transfer->easy, CURLOPT_URL, url);
        if (code == CURLE_BAD_FUNCTION_ARGUMENT)        /* longer than libcurl takes */
                return task_fail(task, PPP_REASON_BAD_URL, 0);
        if (code == CURLE_OK)
                code = set_timeout(transfer, timeout_ms);
        if (code != CURLE_OK)
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        transfer->task = task;
        transfer->sink = sink;
        transfer->userdata = userdata;
        transfer->sink_result = 0;
        transfer->socket_errno = 0;
        transfer->status = 0;
        transfer->n_discarded = 0;
        transfer->n_header = 0;
        transfer->head_ended = false;
        transfer->charset = NULL;
        transfer->coding.n = 0;                 /* until its header says otherwise */
        return 0;
}

static int fail_connect(struct transfer *transfer)
{
        long error = 0;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error);
        if (transfer->socket_errno)
                error = transfer->socket_errno;
        return task_fail(transfer->task, PPP_REASON_CONNECT, (int32_t)error);
}

static int fail_certificate(struct transfer *transfer)
{
        long result = 0;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_SSL_VERIFYRESULT, &result);
        return task_fail(transfer->task, PPP_REASON_CERTIFICATE, (int32_t)result);
}

/* Also what libcurl says when an answer is older than HTTP/1.0, or no HTTP at all. */
static int fail_unsupported(struct transfer *transfer)
{
        const char *url = NULL;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
        if (url && check_scheme(url) == PPP_REASON_NONE)
                return task_fail(transfer->task, PPP_REASON_PROTOCOL, CURLE_UNSUPPORTED_PROTOCOL);
        return task_fail(transfer->task, PPP_REASON_BAD_SCHEME, 0);
}

/*
 * libcurl has one code for every time that ran out. That of connecting, when the task's own is not
 * up, is a host that does not answer.
 */
static int fail_timeout(struct transfer *transfer)
{
        struct ppp_task *task = transfer->task;
        curl_off_t resolved = 0, asked = 0;

        if (task->deadline_ns)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &asked);
        if (asked)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        if (resolved)
                return task_fail(task, PPP_REASON_CONNECT, ETIMEDOUT);
        return task_fail(task, PPP_REASON_RESOLVE, 0);
}

/* libcurl's codes become ours here and nowhere else. */
static int fail(struct transfer *transfer, CURLcode code)
{
        struct ppp_task *task = transfer->task;

        switch (code) {
        case CURLE_URL_MALFORMAT:
                return task_fail(task, PPP_REASON_BAD_URL, 0);
        case CURLE_UNSUPPORTED_PROTOCOL:
                return fail_unsupported(transfer);
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
                return task_fail(task, PPP_REASON_RESOLVE, 0);
        case CURLE_COULDNT_CONNECT:
                return fail_connect(transfer);
        case CURLE_OPERATION_TIMEDOUT:
                return fail_timeout(transfer);
        case CURLE_TOO_MANY_REDIRECTS:
                return task_fail(task, PPP_REASON_REDIRECTS, 0);
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        case CURLE_SSL_INVALIDCERTSTATUS:
                return fail_certificate(transfer);
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_SSL_ENGINE_NOTFOUND:
        case CURLE_SSL_ENGINE_SETFAILED:
        case CURLE_SSL_ENGINE_INITFAILED:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_SHUTDOWN_FAILED:
        case CURLE_USE_SSL_FAILED:
                return task_fail(task, PPP_REASON_TLS, (int32_t)code);
        case CURLE_SSL_CACERT_BADFILE:
                return task_fail(task, PPP_REASON_CA_FILE, (int32_t)code);
        case CURLE_BAD_CONTENT_ENCODING:
                return task_fail(task, PPP_REASON_ENCODING, (int32_t)code);
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_HTTP2:
                return task_fail(task, PPP_REASON_PROTOCOL, (int32_t)code);
        case CURLE_OUT_OF_MEMORY:
        case CURLE_ABORTED_BY_CALLBACK: /* ours do so for want of memory only */
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        default:
                return task_fail(task, PPP_REASON_TRANSFER, (int32_t)code);
        }
}

/* libcurl takes a connection that is closed in the middle of a head for the end of an empty answer. */
static bool is_whole(const struct transfer *transfer)
{
        return transfer->head_ended && transfer->status >= 200;
}

int transfer_end(struct transfer *transfer, CURLcode code)
{
        if (transfer->sink_result < 0)
                return transfer->sink_result;
        if (transfer->n_header > FETCH_HEADERS_MAX)
                return fail_answer(transfer, PPP_ANSWER_HEAD_SIZE);
        if (transfer->status == 0)      /* an answer without a body */
                sym_curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->status);
        if (transfer->status >= 400)
                return task_fail(transfer->task, PPP_REASON_HTTP_STATUS, (int32_t)transfer->status);
        if (code == CURLE_OK && !is_whole(transfer))
                code = CURLE_PARTIAL_FILE;
        if (code == CURLE_OK && !content_coding_is_whole(&transfer->coding))
                return task_fail(transfer->task, PPP_REASON_ENCODING, CURLE_BAD_CONTENT_ENCODING);
        return code == CURLE_OK ? 0 : fail(transfer, code);
}

bool transfer_unanswered(struct transfer *transfer)
{
        long status = 0;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
        return status == 0;
}

/*
 * libcurl sends such a request again by itself, but counts these times over all of a handle's
 * requests, and fails every sixth or seventh (7.88). A redirect, which may have come before, is no
 * answer; each request that opened no connection went over a kept one.
 */
bool transfer_is_stale(struct transfer *transfer, CURLcode code)
{
        long n_connects = 0, n_redirects = 0, status = 0;

        if (code != CURLE_SEND_ERROR && code != CURLE_RECV_ERROR)
                return false;
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &n_connects);
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_COUNT, &n_redirects);
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
        return n_connects <= n_redirects &&
               (status == 0 || (n_redirects > 0 && status >= 300 && status < 400));
}

void transfer_set_fresh(struct transfer *transfer, bool fresh)
{
        if (transfer->fresh != fresh)
                sym_curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, (long)fresh);
        transfer->fresh = fresh;
}

int transfer_abandon(struct transfer *transfer)
{
        task_fail(transfer->task, PPP_REASON_CANCELLED, 0);
        return -ECANCELED;
}

/* One multi handle for the life of the transfer: it keeps connections, names and certificates. */
static int make_multi(struct transfer *transfer)
{
        if (transfer->multi)
                return 0;
        transfer->multi = sym_curl_multi_init();
        if (!transfer->multi)
                return -ENOMEM;
        sym_curl_multi_setopt(transfer->multi, CURLMOPT_MAXCONNECTS, BLOCKING_CONNECTIONS);
        return 0;
}

/* Until libcurl is through (0 and its code), the task is cancelled, or libcurl itself fails. */
static int drive(struct transfer *transfer, const struct interrupt *interrupt, CURLcode *ret_code)
{
        struct curl_waitfd cancel = { .fd = interrupt->fd, .events = CURL_WAIT_POLLIN };
        unsigned n_waitfds = interrupt->fd >= 0;
        CURLMcode code = CURLM_OK;
        int running = 1, left;

        while (code == CURLM_OK) {
                if (task_cancelled(transfer->task))
                        return -ECANCELED;
                code = sym_curl_multi_perform(transfer->multi, &running);
                if (code == CURLM_OK && running == 0) {
                        *ret_code = sym_curl_multi_info_read(transfer->multi, &left)->data.result;
                        return 0;
                }
                if (code == CURLM_OK)
                        code = sym_curl_multi_poll(transfer->multi, &cancel, n_waitfds, 1000, NULL);
                if (cancel.revents)
                        interrupt_hear(interrupt);
        }
        return code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

#define STALE 1

/* 0, STALE, or a negative errno after task_fail(). */
static int perform_once(struct transfer *transfer, struct ppp_task *task,
                        const struct interrupt *interrupt, const char *url, ppp_sink *sink, void *userdata)
{
        CURLcode code = CURLE_OK;
        int r;

        r = transfer_begin(transfer, task, url, sink, userdata);
        if (r < 0)
                return r;
        if (sym_curl_multi_add_handle(transfer->multi, transfer->easy) != CURLM_OK)
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        r = drive(transfer, interrupt, &code);
        if (r == 0)
                r = transfer_is_stale(transfer, code) ? STALE : transfer_end(transfer, code);
        else if (r == -ECANCELED)
                r = transfer_abandon(transfer);
        else
                r = task_fail(task, r == -ENOMEM ? PPP_REASON_NO_MEMORY : PPP_REASON_IO, -r);
        sym_curl_multi_remove_handle(transfer->multi, transfer->easy);
        return r;
}

int transfer_perform(struct transfer *transfer, struct ppp_task *task, const struct interrupt *interrupt,
                     const char *url, ppp_sink *sink, void *userdata)
{
        int r;

        if (make_multi(transfer) < 0)
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        r = perform_once(transfer, task, interrupt, url, sink, userdata);
        if (r != STALE)
                return r;
        transfer_set_fresh(transfer, true);
        r = perform_once(transfer, task, interrupt, url, sink, userdata);
        transfer_set_fresh(transfer, false);
        return r == STALE ? task_fail(task, PPP_REASON_TRANSFER, CURLE_RECV_ERROR) : r;
}
