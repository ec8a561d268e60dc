/*
 * A transfer: one request by libcurl, on an easy handle of its own. The most expensive parts are
 * kept from one to the next: the connections (in the multi handle) and the buffer of the heads.
 *
 * Each head is assembled from libcurl's lines as the server sent them, and read as the engine reads
 * its own, so that both accept and refuse the same heads.
 */

#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

#include "daemon/runner/fetch/transfer.h"

#include "daemon/runner/fetch/curl-easy.h"
#include "daemon/runner/fetch/http-cookies.h"
#include "daemon/runner/runner.h"

/* The body of one transfer does not hold up the others on its loop for longer than this. */
#define WORK_NS (200 * NSEC_PER_USEC)

struct fetch_patience fetch_patience = {
        .connect_ns = 30 * NSEC_PER_SEC,
        .stall_ns = 60 * NSEC_PER_SEC,
        .discard_ns = 1 * NSEC_PER_SEC,
};

int fetch_load(struct ppp_task *task)
{
        return curl_load() < 0 ? task_fail(task, PPP_REASON_NO_FETCH, 0) : 0;
}

bool fetch_has_proxy(void)
{
        return curl_easy_has_proxy();
}

/*
 * The server has sent something. libcurl enforces the task's own deadline, and the time for a body
 * that nobody wants is not extended.
 */
static void note_life(struct transfer *transfer)
{
        const struct http_answer *answer = &transfer->answer;

        if (!transfer->get->task->deadline_ns &&
            (answer->head.status < 200 || !http_answer_is_unwanted(answer)))
                transfer->until_ns = now_monotonic() + fetch_patience.stall_ns;
}

/* The task failed, or its sink wants no more. */
static bool stop(struct transfer *transfer, int r)
{
        transfer->result = r;
        return r < 0;
}

static int keep_line(struct transfer *transfer, const char *line, size_t n)
{
        size_t size = MAX(2 * transfer->head_size, transfer->n_head + n);
        char *bigger;

        if (transfer->n_head + n > transfer->head_size) {
                bigger = realloc(transfer->head, size);
                if (!bigger)
                        return task_fail(transfer->get->task, PPP_REASON_NO_MEMORY, 0);
                transfer->head = bigger;
                transfer->head_size = size;
        }
        memcpy(transfer->head + transfer->n_head, line, n);
        transfer->n_head += n;
        return http_answer_check(&transfer->answer, transfer->head, transfer->n_head);
}

/* The head is whole: of an answer, or of a 1xx before it. */
static int end_head(struct transfer *transfer)
{
        int r = http_answer_head(&transfer->answer, transfer->head, transfer->n_head);

        transfer->head_ended = true;
        if (r == 0 && http_answer_is_unwanted(&transfer->answer))
                transfer->until_ns = now_monotonic() + fetch_patience.discard_ns;
        return r;
}

/* HTTP/2 has no status line; libcurl makes one, which is as good as one of HTTP/1.1. */
static int begin_head(struct transfer *transfer, const char *line, size_t n)
{
        static const char http_2[] = "HTTP/2 ", http_1[] = "HTTP/1.1 ";
        size_t n_2 = strlen(http_2);
        int r;

        transfer->n_head = 0;
        transfer->head_ended = false;
        if (n < n_2 || memcmp(line, http_2, n_2) != 0)
                return keep_line(transfer, line, n);
        r = keep_line(transfer, http_1, strlen(http_1));
        return r < 0 ? r : keep_line(transfer, line + n_2, n - n_2);
}

/* Lines after the end of the last head are trailers. */
static int take_line(struct transfer *transfer, const char *line, size_t n)
{
        int r;

        if (transfer->head_ended && transfer->answer.head.status >= 200)
                return http_answer_count(&transfer->answer, n);
        if (transfer->head_ended || transfer->n_head == 0)
                return begin_head(transfer, line, n);
        r = keep_line(transfer, line, n);
        if (r < 0 || (line[0] != '\n' && line[0] != '\r'))
                return r;
        return end_head(transfer);
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
        struct transfer *transfer = userdata;

        note_life(transfer);
        if (n == 0)
                return 0;
        return stop(transfer, take_line(transfer, data, n)) ? CURL_WRITEFUNC_ERROR : n;
}

/* Within libcurl nobody else can run, but the task's time may be up. */
static int check_time(struct transfer *transfer, uint64_t now)
{
        struct ppp_task *task = transfer->get->task;

        if (task_cancelled(task))
                return task_fail(task, PPP_REASON_CANCELLED, 0);
        return task_time_left(task, now) == 0 ? task_fail(task, PPP_REASON_TIMEOUT, 0) : 0;
}

/* Hands on the data that was fed; only for a moment, where others would have to wait. */
static int hand_on(struct transfer *transfer)
{
        uint64_t until = now_monotonic() + WORK_NS;
        int r;

        note_life(transfer);
        while ((r = http_answer_next(&transfer->answer)) == HTTP_MORE) {
                uint64_t now = now_monotonic();

                r = check_time(transfer, now);
                if (r < 0)
                        return r;
                if (transfer->put_off && now >= until)
                        return HTTP_MORE;
        }
        return r;
}

/* libcurl takes its buffer back. */
static int put_off(struct transfer *transfer, const char *end)
{
        size_t n = http_answer_left(&transfer->answer);

        if (n > 0) {
                transfer->rest = malloc(n);
                if (!transfer->rest)
                        return task_fail(transfer->get->task, PPP_REASON_NO_MEMORY, 0);
                memcpy(transfer->rest, end - n, n);
                http_answer_move(&transfer->answer, transfer->rest);
        }
        transfer->working = true;
        transfer->put_off(transfer);
        return 0;
}

int transfer_work(struct transfer *transfer)
{
        int r = hand_on(transfer);

        if (r == HTTP_MORE)
                return r;
        transfer->working = false;
        free(transfer->rest);
        transfer->rest = NULL;
        (void)stop(transfer, MIN(r, 0));
        return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct transfer *transfer = userdata;
        int r;

        if (transfer->working) {
                transfer->paused = true;
                return CURL_WRITEFUNC_PAUSE;
        }
        http_answer_feed(&transfer->answer, data, n);
        r = hand_on(transfer);
        if (r == HTTP_MORE)
                r = put_off(transfer, data + n);
        transfer->left = r == HTTP_ENOUGH;
        return stop(transfer, MIN(r, 0)) || transfer->left ? CURL_WRITEFUNC_ERROR : n;
}

static int port_of(const struct sockaddr *address)
{
        switch (address->sa_family) {
        case AF_INET:
                return ntohs(((const struct sockaddr_in *)address)->sin_port);
        case AF_INET6:
                return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
        default:
                return 0;
        }
}

/*
 * libcurl says only from 8.7 on whether it uses a proxy; before that, a port other than the URL's
 * means a proxy. A proxy on the URL's own port cannot be told from the server.
 */
void transfer_opens(struct transfer *transfer, const struct curl_sockaddr *address)
{
        struct http_parts parts;
        uint64_t port = 0;

        if (!curl_easy_has_proxy() || !http_url_cut(transfer->get->url, &parts))
                return;
        if (parts.n_port > 1)
                (void)parse_u64(parts.port + 1, parts.n_port - 1, UINT16_MAX, &port);
        else
                port = parts.n_scheme == 5 ? 443 : 80;
        transfer->by_proxy = port != (uint64_t)port_of(&address->addr);
}

/* libcurl would do the same by itself, but does not say why it failed. */
static curl_socket_t on_open_socket(void *userdata, curlsocktype purpose,
                                    struct curl_sockaddr *address)
{
        struct transfer *transfer = userdata;
        int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

        transfer_opens(transfer, address);
        if (fd >= 0)
                return fd;
        transfer->socket_errno = errno;
        return CURL_SOCKET_BAD;
}

/* The connection is made, including the handshake; the request comes next. */
void transfer_connected(struct transfer *transfer)
{
        note_life(transfer);
}

static int on_connected(void *userdata, char *remote, char *local, int remote_port, int local_port)
{
        transfer_connected(userdata);
        return CURL_PREREQFUNC_OK;
}

int transfer_new(struct runner *runner, size_t buffer_size, struct transfer **ret)
{
        struct transfer *transfer = calloc(1, sizeof(*transfer));

        if (!transfer)
                return -ENOMEM;
        transfer->runner = runner;
        transfer->buffer_size = buffer_size;
        transfer->headers = sym_curl_slist_append(NULL, content_coding_accept);
        if (!transfer->headers) {
                free(transfer);
                return -ENOMEM;
        }
        *ret = transfer;
        return 0;
}

static void free_easy(struct transfer *transfer)
{
        if (transfer->easy)
                sym_curl_easy_cleanup(transfer->easy);
        transfer->easy = NULL;
}

struct transfer *transfer_free(struct transfer *transfer)
{
        if (transfer) {
                free_easy(transfer);
                if (transfer->multi)
                        sym_curl_multi_cleanup(transfer->multi);
                sym_curl_slist_free_all(transfer->headers);
                free(transfer->head);
                free(transfer);
        }
        return NULL;
}

/*
 * Rounded up, so that the deadline has passed when libcurl says so. 0: there is none; -ETIME: it
 * has passed.
 */
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

/*
 * The time that the request may take in all; 0: any time as long as data keeps coming, except for
 * connecting.
 */
static CURLcode set_timeout(CURL *easy, long timeout_ms)
{
        long connect = timeout_ms ?: (long)(fetch_patience.connect_ns / NSEC_PER_MSEC);
        CURLcode code = sym_curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);

        return code != CURLE_OK ? code
                                : sym_curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect);
}

static CURLcode set_callbacks(struct transfer *transfer)
{
        CURL *easy = transfer->easy;
        CURLcode code;

        code = sym_curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
        return code;
}

/* 0, -ENOMEM, or -EINVAL: a URL longer than libcurl takes. */
static int set_request(struct transfer *transfer, long timeout_ms)
{
        const struct http_get *get = transfer->get;
        _cleanup_free_ char *cookie = NULL;
        CURLcode code;

        code = sym_curl_easy_setopt(transfer->easy, CURLOPT_URL, get->url);
        if (code == CURLE_BAD_FUNCTION_ARGUMENT)
                return -EINVAL;
        if (code == CURLE_OK)
                code = set_timeout(transfer->easy, timeout_ms);
        if (code == CURLE_OK)
                code = set_callbacks(transfer);
        if (code == CURLE_OK)
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_ONLY,
                                            (long)transfer->connect_only);
        if (code == CURLE_OK && get->cookies) {
                if (http_cookies_header(get->cookies, get->url, &cookie) < 0)
                        return -ENOMEM;
                code = sym_curl_easy_setopt(transfer->easy, CURLOPT_COOKIE, cookie);
        }
        return code == CURLE_OK ? 0 : -ENOMEM;
}

static void reset(struct transfer *transfer, struct http_get *get, bool connect_only)
{
        transfer->get = get;
        transfer->connect_only = connect_only;
        transfer->result = 0;
        transfer->left = false;
        transfer->by_proxy = false;
        transfer->socket_errno = 0;
        transfer->n_head = 0;
        transfer->head_ended = false;
        transfer->until_ns = 0;
        transfer->working = transfer->paused = transfer->ended = false;
        http_answer_init(&transfer->answer, get, NULL);
        transfer->answer.transfer_undone = true;
}

int transfer_begin(struct transfer *transfer, struct http_get *get, bool connect_only)
{
        enum ppp_reason reason = transfer_check_scheme(get->url);
        long timeout_ms = timeout_left_ms(get->task);
        int r;

        if (reason != PPP_REASON_NONE)
                return task_fail(get->task, reason, 0);
        if (timeout_ms < 0)
                return task_fail(get->task, PPP_REASON_TIMEOUT, 0);
        reset(transfer, get, connect_only);
        r = curl_easy_new(transfer->runner, transfer->buffer_size, &transfer->easy);
        if (r == 0)
                r = set_request(transfer, timeout_ms);
        if (r == 0)
                return 0;
        free_easy(transfer);
        return task_fail(get->task,
                         r == -EINVAL    ? PPP_REASON_BAD_URL
                         : r == -ENOTSUP ? PPP_REASON_NO_FETCH
                                         : PPP_REASON_NO_MEMORY,
                         0);
}

void transfer_release(struct transfer *transfer)
{
        transfer->working = false;
        free(transfer->rest);
        transfer->rest = NULL;
        free_easy(transfer);
        transfer->get = NULL;
}

/*
 * libcurl takes a connection that is closed in the middle of a head for the end of an empty answer.
 */
static bool is_whole(const struct transfer *transfer)
{
        return transfer->head_ended && transfer->answer.head.status >= 200;
}

int transfer_end(struct transfer *transfer, CURLcode code)
{
        int r = transfer->result;

        if (transfer->connect_only)
                return code == CURLE_OK ? 0 : transfer_fail(transfer, code);
        if (r == 0 && code == CURLE_OK && !is_whole(transfer))
                code = CURLE_PARTIAL_FILE;
        if (r == 0 && code != CURLE_OK && !transfer->left)
                r = transfer_fail(transfer, code);
        return http_answer_end(&transfer->answer, r);
}

int transfer_time_up(struct transfer *transfer)
{
        bool unwanted = is_whole(transfer) && http_answer_is_unwanted(&transfer->answer);
        return http_answer_end(&transfer->answer,
                               unwanted ? 0 : http_fail_time(transfer->get->task));
}

int transfer_abandon(struct transfer *transfer)
{
        return http_answer_end(&transfer->answer,
                               task_fail(transfer->get->task, PPP_REASON_CANCELLED, 0));
}

int transfer_socket(struct transfer *transfer)
{
        curl_socket_t fd = CURL_SOCKET_BAD;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_ACTIVESOCKET, &fd);
        if (fd == CURL_SOCKET_BAD)
                return task_fail(transfer->get->task, PPP_REASON_CONNECT, 0);
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? task_fail(transfer->get->task, PPP_REASON_CONNECT, errno) : fd;
}

bool transfer_unanswered(struct transfer *transfer)
{
        return transfer->n_head == 0;
}

bool transfer_is_stale(struct transfer *transfer, CURLcode code)
{
        long n_connects = 0;

        if ((code != CURLE_SEND_ERROR && code != CURLE_RECV_ERROR) || transfer->n_head > 0)
                return false;
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &n_connects);
        return n_connects == 0;
}

void transfer_set_fresh(struct transfer *transfer)
{
        sym_curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, 1L);
}
