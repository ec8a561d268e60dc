/*
 * Which way a fetch goes, and one over the ring from its request to the end of its body, as
 * straight-line code on the fiber.
 *
 * The buffer is the loop's and everybody's: it holds what was read last, up to the next wait. So
 * what has to outlive a wait is copied (the beginning of a head, the charset), which a page that
 * comes in one piece never needs.
 */

#include "daemon/runner/io/http-fetch.h"

#include <strings.h>

#include "daemon/runner/io/content-coding.h"
#include "daemon/runner/io/content-type.h"
#include "daemon/runner/io/curl-load.h"
#include "daemon/runner/io/fetch.h"
#include "daemon/runner/io/http-chunks.h"
#include "daemon/runner/io/http-connection.h"
#include "daemon/runner/io/http-head.h"
#include "daemon/runner/runner.h"
#include "lib/answer-fault.h"

/* Only encoded bodies need one: 104 KiB, for as long as the body comes in. */
struct http_coding {
        struct content_coding coding;
        struct http_coding *next;
};

struct http {
        struct loop *loop;
        struct http_pool *pool;
        struct http_coding *codings;    /* free ones, last in first out */
        bool has_proxy;
};

/* How a body ends. */
enum framing {
        FRAMING_NONE,                   /* there is none */
        FRAMING_LENGTH,
        FRAMING_CHUNKS,
        FRAMING_CLOSE,                  /* with the connection */
};

/* One fetch, with its redirects; stands on the fiber's stack. */
struct exchange {
        struct http *http;
        struct ppp_task *task;
        ppp_sink *sink;
        void *userdata;

        /* One request at a time. */
        struct http_url url;
        union http_address address;
        struct http_connection *connection;
        bool reused;                    /* it has had a request before */

        /* What was read last and not used yet, in the loop's buffer or in `kept`. */
        char *data;
        size_t n_data;
        bool answered;                  /* a byte of the answer has come */
        bool is_kept;                   /* `data` is in `kept` */
        char *kept;                     /* a head that came in pieces */
        size_t n_kept, kept_size;
        size_t n_header;                /* bytes of heads and trailers, of all requests */

        struct http_head head;          /* status 0: it has not come */
        bool follow;                    /* it is a redirect */
        char *location;                 /* where to, whole; ours */
        enum framing framing;
        uint64_t left;                  /* FRAMING_LENGTH */
        struct http_chunks chunks;
        bool ended;                     /* the body has */
        size_t n_discarded;

        struct http_coding *coding;     /* NULL: none to undo */
        const char *charset;            /* NULL, in the buffer, or charset_kept */
        char *charset_kept;
};

int http_new(struct loop *loop, struct http **ret)
{
        struct http *http = calloc(1, sizeof(*http));

        if (!http)
                return -ENOMEM;
        if (http_pool_new(loop, &http->pool) < 0) {
                free(http);
                return -ENOMEM;
        }
        http->loop = loop;
        http->has_proxy = fetch_has_proxy();
        *ret = http;
        return 0;
}

struct http *http_free(struct http *http)
{
        struct http_coding *next;

        if (!http)
                return NULL;
        for (struct http_coding *coding = http->codings; coding; coding = next) {
                next = coding->next;
                content_coding_deinit(&coding->coding);
                free(coding);
        }
        http_pool_free(http->pool);
        free(http);
        return NULL;
}

static int fail_memory(struct exchange *x)
{
        return task_fail(x->task, PPP_REASON_NO_MEMORY, 0);
}

static int fail_transfer(struct exchange *x, CURLcode code)
{
        return task_fail(x->task, PPP_REASON_TRANSFER, (int32_t)code);
}

static int fail_protocol(struct exchange *x, CURLcode code)
{
        return task_fail(x->task, PPP_REASON_PROTOCOL, (int32_t)code);
}

static int fail_encoding(struct exchange *x)
{
        return task_fail(x->task, PPP_REASON_ENCODING, CURLE_BAD_CONTENT_ENCODING);
}

/* A wait or a system call on a connection ended with @error; @code says which call. */
static int fail_io(struct exchange *x, int error, CURLcode code)
{
        switch (error) {
        case -ECANCELED:
                return task_fail(x->task, PPP_REASON_CANCELLED, 0);
        case -ETIME:
                return task_fail(x->task, PPP_REASON_TIMEOUT, 0);
        case -ENOMEM:
                return fail_memory(x);
        default:
                return fail_transfer(x, code);
        }
}

/* The task's own time if it has one; else @otherwise from now on, or since the loop's last turn. */
static void limit_begin(struct exchange *x, struct http_limit *limit, uint64_t otherwise_ns)
{
        struct loop *loop = x->http->loop;
        uint64_t at_ns = x->task->deadline_ns ?: loop->turned_ns + otherwise_ns;

        http_limit_begin(limit, loop, x->task, at_ns);
}

static void drop_connection(struct exchange *x)
{
        if (x->connection)
                http_connection_close(x->connection);
        x->connection = NULL;
}

/* 0, or the negative errno of connecting. */
static int connect_to(struct exchange *x)
{
        struct http_limit limit;
        int r;

        limit_begin(x, &limit, FETCH_CONNECT_NS);
        r = http_connection_open(x->http->pool, &x->address, &limit, &x->connection);
        http_limit_end(&limit);
        if (r == -ETIME && x->task->deadline_ns == 0)
                r = -ETIMEDOUT;
        return r;
}

static int get_connection(struct exchange *x, bool fresh)
{
        x->connection = fresh ? NULL : http_pool_take(x->http->pool, &x->address);
        x->reused = x->connection != NULL;
        return x->connection ? 0 : connect_to(x);
}

/* GET, Host, and the fields that are the same in each request. */
static const char request_tail[] = "\r\nUser-Agent: " FETCH_USER_AGENT "\r\nAccept: */*\r\n";

static size_t request_size(const struct exchange *x)
{
        return strlen("GET / HTTP/1.1\r\nHost: ") + x->url.n_path + x->url.n_authority +
               strlen(request_tail) + strlen(content_coding_accept) + strlen("\r\n\r\n");
}

static size_t write_request(const struct exchange *x, char *to)
{
        char *begin = to;

        to = mempcpy(to, "GET ", 4);
        if (x->url.path[0] != '/')
                *to++ = '/';
        to = mempcpy(to, x->url.path, x->url.n_path);
        to = mempcpy(to, " HTTP/1.1\r\nHost: ", 17);
        to = mempcpy(to, x->url.host, x->url.n_authority);
        to = mempcpy(to, request_tail, strlen(request_tail));
        to = mempcpy(to, content_coding_accept, strlen(content_coding_accept));
        to = mempcpy(to, "\r\n\r\n", 4);
        return (size_t)(to - begin);
}

static int send_request(struct exchange *x)
{
        char *request = http_connection_request(x->connection, request_size(x));
        struct http_limit limit;
        int r;

        if (!request)
                return -ENOMEM;
        limit_begin(x, &limit, FETCH_STALL_NS);
        r = http_connection_ask(x->connection, write_request(x, request), &limit);
        http_limit_end(&limit);
        return r;
}

static int await_data(struct exchange *x)
{
        struct http_limit limit;
        int r;

        limit_begin(x, &limit, FETCH_STALL_NS);
        r = http_connection_await_data(x->connection, &limit);
        http_limit_end(&limit);
        return r;
}

/* A server that sends as fast as we read must not keep the loop. */
static int breathe(struct exchange *x)
{
        struct loop *loop = x->http->loop;
        uint64_t now = loop_breathe(loop, now_monotonic());

        if (task_cancelled(x->task))
                return -ECANCELED;
        return task_time_left(x->task, now) == 0 ? -ETIME : 0;
}

/* The next piece into the buffer: its size, 0 at the end, or a negative errno. */
static ssize_t receive(struct exchange *x)
{
        ssize_t l;
        int r;

        for (;;) {
                l = http_connection_recv(x->connection, x->http->pool->buffer, HTTP_BUFFER_SIZE);
                if (l != -EAGAIN && l != -EINTR)
                        break;
                r = await_data(x);
                if (r < 0)
                        return r;
        }
        x->data = x->http->pool->buffer;
        x->n_data = (size_t)MAX(l, (ssize_t)0);
        x->is_kept = false;
        x->answered |= l > 0;
        return l;
}

static int make_room(struct exchange *x, size_t n)
{
        size_t size = MAX(2 * x->kept_size, MAX(n, (size_t)4096));
        char *bigger;

        if (n <= x->kept_size)
                return 0;
        bigger = realloc(x->kept, size);
        if (!bigger)
                return -ENOMEM;
        x->kept = bigger;
        x->kept_size = size;
        return 0;
}

/* What a wait would overwrite. */
static int keep_data(struct exchange *x)
{
        x->n_kept = x->n_data;
        if (x->is_kept) {
                memmove(x->kept, x->data, x->n_data);
                return 0;
        }
        if (make_room(x, x->n_data) < 0)
                return -ENOMEM;
        if (x->n_data > 0)
                memcpy(x->kept, x->data, x->n_data);
        return 0;
}

/* What was read, behind what was kept, if that is anything. */
static int join_data(struct exchange *x)
{
        if (x->n_kept == 0)
                return 0;
        if (make_room(x, x->n_kept + x->n_data) < 0)
                return -ENOMEM;
        memcpy(x->kept + x->n_kept, x->data, x->n_data);
        x->data = x->kept;
        x->n_data += x->n_kept;
        x->is_kept = true;
        return 0;
}

static int fail_answer(struct exchange *x, enum ppp_answer_fault fault)
{
        return task_fail(x->task, answer_fault_reason(fault), (int32_t)fault);
}

/* The connection ended where an answer, or the rest of one, should have come. */
static int fail_end(struct exchange *x)
{
        return fail_transfer(x, x->answered ? CURLE_PARTIAL_FILE : CURLE_GOT_NOTHING);
}

/* What has come of a head but is not all of it. More than may come of heads in all is too much. */
static int check_part(struct exchange *x, const char *data, size_t n)
{
        if (!http_head_may_begin(data, n))
                return fail_protocol(x, CURLE_UNSUPPORTED_PROTOCOL);
        if (n + x->n_header > FETCH_HEADERS_MAX)
                return fail_answer(x, PPP_ANSWER_HEAD_SIZE);
        return 0;
}

/* Reads on until the head is whole: its size, at the front of x->data. */
static ssize_t find_head(struct exchange *x)
{
        size_t scanned = 0;

        for (;;) {
                size_t n = http_head_find_end(x->data, x->n_data, &scanned);
                int r = check_part(x, x->data, n ?: x->n_data);
                ssize_t l;

                if (r < 0 || n > 0)
                        return r < 0 ? r : (ssize_t)n;
                if (keep_data(x) < 0)
                        return fail_memory(x);
                l = receive(x);
                if (l <= 0)
                        return l < 0 ? fail_io(x, (int)l, CURLE_RECV_ERROR) : fail_end(x);
                if (join_data(x) < 0)
                        return fail_memory(x);
        }
}

/* The head of the answer proper: others (1xx) may come before it. */
static int read_head(struct exchange *x)
{
        do {
                ssize_t n = find_head(x);
                int fault;

                if (n < 0)
                        return (int)n;
                fault = http_head_read(x->data, (size_t)n, &x->head);
                x->data += n;
                x->n_data -= (size_t)n;
                x->n_header += (size_t)n;
                if (fault)
                        return fail_answer(x, fault);
        } while (x->head.status < 200 && x->head.status != 101);
        /* Another protocol, which we did not ask for. */
        return x->head.status == 101 ? fail_answer(x, PPP_ANSWER_UPGRADE) : 0;
}

static int fail_connect(struct exchange *x, int error)
{
        switch (error) {
        case -ECANCELED:
        case -ETIME:
        case -ENOMEM:
                return fail_io(x, error, CURLE_COULDNT_CONNECT);
        default:
                return task_fail(x->task, PPP_REASON_CONNECT, -error);
        }
}

/* The server has closed, or lost, a connection it kept: it has not seen the request. */
static bool is_stale(const struct exchange *x, ssize_t l)
{
        return x->reused && !x->answered && (l == 0 || l == -ECONNRESET || l == -EPIPE);
}

/* The request, up to the first piece of its answer: 1, 0 at an end without, or a negative errno. */
static ssize_t ask(struct exchange *x, CURLcode *ret_code)
{
        int r;

        *ret_code = CURLE_SEND_ERROR;
        r = send_request(x);
        if (r < 0)
                return r;
        *ret_code = CURLE_RECV_ERROR;
        return receive(x);
}

/* Whether a request can be made at all shows here: UNREACHABLE is what fetch_by_name() looks at. */
#define UNREACHABLE 2

static int begin(struct exchange *x)
{
        CURLcode code;
        ssize_t l;
        int r;

        r = get_connection(x, false);
        if (r == 0) {
                l = ask(x, &code);
                if (is_stale(x, l)) {
                        drop_connection(x);
                        r = get_connection(x, true);
                        l = r == 0 ? ask(x, &code) : l;
                }
        }
        if (r < 0 && !x->url.is_address && r != -ECANCELED && r != -ETIME)
                return UNREACHABLE;
        if (r < 0)
                return fail_connect(x, r);
        if (l <= 0)
                return l < 0 ? fail_io(x, (int)l, code) : fail_end(x);
        return read_head(x);
}

static int take_coding(struct exchange *x, const struct coding_list *list)
{
        struct http_coding *coding = x->http->codings;

        if (coding)
                x->http->codings = coding->next;
        else
                coding = calloc(1, sizeof(*coding));
        if (!coding)
                return fail_memory(x);
        x->coding = coding;
        return content_coding_begin(&coding->coding, list) < 0 ? fail_memory(x) : 0;
}

static void put_coding(struct exchange *x)
{
        if (x->coding) {
                x->coding->next = x->http->codings;
                x->http->codings = x->coding;
        }
        x->coding = NULL;
}

static void note_charset(struct exchange *x)
{
        const char *type = x->head.content_type;
        size_t n;

        x->charset = type ? content_type_charset(type, &n) : NULL;
        if (x->charset)
                ((char *)x->charset)[n] = 0;
}

static enum framing find_framing(const struct http_head *head)
{
        if (http_head_is_bodiless(head))
                return FRAMING_NONE;
        if (head->chunked)
                return FRAMING_CHUNKS;
        return head->has_length ? FRAMING_LENGTH : FRAMING_CLOSE;
}

/* What the head says of the body, before what is read next overwrites it. */
static int begin_body(struct exchange *x)
{
        struct http_head *head = &x->head;

        x->framing = find_framing(head);
        x->left = head->length;
        x->chunks = (struct http_chunks)HTTP_CHUNKS_NULL;
        x->ended = x->framing == FRAMING_NONE || (x->framing == FRAMING_LENGTH && x->left == 0);
        x->follow = head->status >= 300 && head->status < 400 && head->location;
        if (x->follow)
                return http_url_resolve(&x->url, head->location, &x->location) < 0 ?
                       fail_memory(x) : 0;
        if (head->status >= 400)
                return 0;
        note_charset(x);
        coding_list_append(&head->content_codings, &head->transfer_codings);
        return head->content_codings.n > 0 && !head->content_codings.fault ?
               take_coding(x, &head->content_codings) : 0;
}

/* Enough of a body nobody wants: its connection is not worth the rest. */
#define ENOUGH 1

static int discard(struct exchange *x, size_t n)
{
        x->n_discarded += n;
        return x->n_discarded > FETCH_DISCARD_MAX ? ENOUGH : 0;
}

static int decode(struct exchange *x, const char *data, size_t n)
{
        struct ppp_chunk chunk = { .charset = x->charset };
        int r, k;

        content_coding_feed(&x->coding->coding, data, n);
        while ((r = content_coding_next(&x->coding->coding, &chunk.data, &chunk.size)) > 0) {
                k = chunk.size > 0 ? x->sink(x->userdata, &chunk) : 0;
                if (k < 0)
                        return k;
        }
        switch (r) {
        case 0:
                return 0;
        case -ENOMEM:
                return fail_memory(x);
        case -EOVERFLOW:
                return fail_answer(x, PPP_ANSWER_TRAILING);
        default:
                return fail_encoding(x);
        }
}

/* A piece of the body, its framing undone. */
static int deliver(struct exchange *x, const char *data, size_t n)
{
        struct ppp_chunk chunk = { data, n, x->charset };

        if (n == 0)
                return 0;
        if (x->follow || x->head.status >= 400)
                return discard(x, n);
        if (x->head.content_codings.fault)
                return fail_answer(x, x->head.content_codings.fault);
        if (x->coding)
                return decode(x, data, n);
        return MIN(x->sink(x->userdata, &chunk), 0);
}

static int feed_chunks(struct exchange *x)
{
        int r = 0;

        while (r == 0 && x->n_data > 0 && !http_chunks_ended(&x->chunks)) {
                const char *piece;
                size_t n;
                ssize_t l = http_chunks_next(&x->chunks, x->data, x->n_data, &piece, &n);

                if (l < 0)
                        return fail_transfer(x, CURLE_RECV_ERROR);
                if (x->n_header + x->chunks.n_extra > FETCH_HEADERS_MAX)
                        return fail_answer(x, PPP_ANSWER_HEAD_SIZE);
                x->data += l;
                x->n_data -= (size_t)l;
                r = deliver(x, piece, n);
        }
        x->ended = http_chunks_ended(&x->chunks);
        return r;
}

static int feed_plain(struct exchange *x, size_t n)
{
        const char *data = x->data;

        x->data += n;
        x->n_data -= n;
        return deliver(x, data, n);
}

/* What has come of the body. 0, ENOUGH, or a negative errno. */
static int feed(struct exchange *x)
{
        size_t n;

        switch (x->framing) {
        case FRAMING_LENGTH:
                n = (size_t)MIN(x->left, (uint64_t)x->n_data);
                x->left -= n;
                x->ended = x->left == 0;
                return feed_plain(x, n);
        case FRAMING_CHUNKS:
                return feed_chunks(x);
        case FRAMING_CLOSE:
                return feed_plain(x, x->n_data);
        case FRAMING_NONE:
                break;
        }
        return 0;
}

/* It lies in the head, which the next piece may overwrite. */
static int keep_charset(struct exchange *x)
{
        if (!x->charset || x->is_kept || x->charset == x->charset_kept)
                return 0;
        x->charset = x->charset_kept = strdup(x->charset);
        return x->charset ? 0 : -ENOMEM;
}

/* The next piece of the body, or its end. */
static int read_more(struct exchange *x)
{
        ssize_t l;
        int r;

        if (keep_charset(x) < 0)
                return fail_memory(x);
        r = breathe(x);
        l = r < 0 ? r : receive(x);
        if (l < 0)
                return fail_io(x, (int)l, CURLE_RECV_ERROR);
        if (l == 0 && x->framing != FRAMING_CLOSE)
                return fail_end(x);
        x->ended = l == 0;
        return 0;
}

static int read_body(struct exchange *x)
{
        int r;

        for (;;) {
                r = x->ended ? 0 : feed(x);
                if (r != 0 || x->ended)
                        return r;
                r = read_more(x);
                if (r < 0)
                        return r;
        }
}

/* Nothing of the answer is left on the connection and nothing beyond it has come. */
static bool may_keep(const struct exchange *x)
{
        return x->ended && x->n_data == 0 && x->head.persistent && x->framing != FRAMING_CLOSE;
}

static void end_connection(struct exchange *x)
{
        if (x->connection && may_keep(x))
                http_connection_keep(steal_ptr(x->connection));
        drop_connection(x);
}

/* A redirect is to be followed. */
#define FOLLOW 1

/* An error that the server told counts more than how its page came to an end. */
static int result(struct exchange *x, int r)
{
        struct ppp_task *task = x->task;

        if (r < 0 && task->reason == PPP_REASON_CANCELLED)
                return r;
        if (x->head.status >= 400)
                return task_fail(task, PPP_REASON_HTTP_STATUS, (int32_t)x->head.status);
        if (r < 0)
                return r;
        if (x->follow)
                return FOLLOW;
        if (x->coding && !content_coding_is_whole(&x->coding->coding))
                return fail_encoding(x);
        return 0;
}

/* One request to x->url at x->address: 0, FOLLOW, UNREACHABLE, or a negative errno. */
static int exchange(struct exchange *x)
{
        int r;

        x->head = (struct http_head){ 0 };
        x->answered = x->ended = x->follow = false;
        x->n_discarded = 0;
        r = begin(x);
        if (r == UNREACHABLE)
                return r;
        if (r == 0)
                r = begin_body(x);
        if (r == 0)
                r = read_body(x);
        end_connection(x);
        r = result(x, r);
        put_coding(x);
        return r;
}

static int fetch_by_curl(struct exchange *x, const char *url, unsigned redirects_max,
                         bool may_be_direct)
{
        struct loop *loop = x->http->loop;

        if (!loop->fetcher && fetcher_new(loop, &loop->fetcher) < 0)
                return fail_memory(x);
        return fetcher_fetch(loop->fetcher, x->task, url, redirects_max, may_be_direct, x->sink,
                             x->userdata);
}

static bool find_address(struct exchange *x, const char *url)
{
        struct fetcher *fetcher = x->http->loop->fetcher;

        return fetcher && fetcher_find_address(fetcher, url, &x->address);
}

/* A host may have more addresses than the one that was reached last: libcurl tries them all. */
static int fetch_by_name(struct exchange *x, const char *url, unsigned redirects_max)
{
        int r = FETCH_DIRECT;

        if (!find_address(x, url))
                r = fetch_by_curl(x, url, redirects_max, true);
        if (r != FETCH_DIRECT)
                return r;
        r = find_address(x, url) ? exchange(x) : UNREACHABLE;
        if (r != UNREACHABLE)
                return r;
        fetcher_forget_address(x->http->loop->fetcher, url);
        return fetch_by_curl(x, url, redirects_max, false);
}

/* 0, FOLLOW, or a negative errno. */
static int fetch_one(struct exchange *x, const char *url, unsigned redirects_max)
{
        bool has_proxy = x->http->has_proxy;

        if (!http_url_split(url, &x->url))
                return fetch_by_curl(x, url, redirects_max, false);
        if (!x->url.is_address)
                return has_proxy ? fetch_by_curl(x, url, redirects_max, false) :
                                   fetch_by_name(x, url, redirects_max);
        if (has_proxy && !http_address_is_loopback(&x->url.address))
                return fetch_by_curl(x, url, redirects_max, false);
        x->address = x->url.address;
        return exchange(x);
}

static int check_redirect(struct exchange *x, const char *url, unsigned n_left)
{
        size_t n = http_url_scheme(url);

        if (n_left == 0)
                return task_fail(x->task, PPP_REASON_REDIRECTS, 0);
        if ((n == 4 && strncasecmp(url, "http", n) == 0) ||
            (n == 5 && strncasecmp(url, "https", n) == 0))
                return 0;
        return task_fail(x->task, PPP_REASON_BAD_SCHEME, 0);
}

static int follow(struct exchange *x, const char *url)
{
        _cleanup_free_ char *at = NULL;

        for (unsigned n_left = FETCH_REDIRECTS_MAX;; --n_left) {
                int r = fetch_one(x, at ?: url, n_left);

                if (r != FOLLOW)
                        return r;
                r = check_redirect(x, x->location, n_left);
                if (r < 0)
                        return r;
                free(at);
                at = steal_ptr(x->location);
        }
}

int http_fetch(struct http *http, struct ppp_task *task, const char *url, ppp_sink *sink,
               void *userdata)
{
        struct exchange x = {
                .http = http, .task = task, .sink = sink, .userdata = userdata,
                .data = http->pool->buffer,
        };
        int r;

        if (task->deadline_ns && task_time_left(task, now_monotonic()) == 0)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        r = follow(&x, url);
        free(x.location);
        free(x.kept);
        free(x.charset_kept);
        return r;
}
