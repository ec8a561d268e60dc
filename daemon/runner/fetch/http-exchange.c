/*
 * The buffer belongs to the transport and is shared by all its users: it holds the bytes that were
 * read last, up to the next wait. So data that has to outlive a wait is copied (the beginning of a
 * head, the charset), which a page that comes in one piece never needs.
 */

#include "daemon/runner/fetch/http-exchange.h"

#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/fetch/http-chunks.h"
#include "daemon/runner/fetch/http-cookies.h"

/* How a body ends. */
enum framing {
        FRAMING_NONE, /* there is none */
        FRAMING_LENGTH,
        FRAMING_CHUNKS,
        FRAMING_CLOSE, /* with the connection */
};

/* It is on the stack of the fiber or thread that fetches. */
struct exchange {
        struct http_transport *transport;
        struct http_get *get;
        struct ppp_task *task;
        const struct http_url *url;
        struct http_connection *connection;
        bool reused; /* it has had a request before */

        /*
         * The bytes that were read last and not used yet, in the transport's buffer or in `kept`.
         */
        char *data;
        size_t n_data;
        bool answered; /* a byte of the answer has come */
        bool is_kept;  /* `data` is in `kept` */
        char *kept;    /* a head that came in pieces */
        size_t n_kept, kept_size;
        const char *piece_end; /* of the body's piece at hand, at or before `data` */

        struct http_answer answer;
        enum framing framing;
        uint64_t left; /* FRAMING_LENGTH */
        struct http_chunks chunks;
        size_t n_extra;    /* of chunks.n_extra, that were counted */
        bool ended;        /* the body has */
        uint64_t leave_ns; /* when a body that nobody wants is left; 0: not set */
};

static int fail_memory(struct exchange *x)
{
        return task_fail(x->task, PPP_REASON_NO_MEMORY, 0);
}

/* A wait or a system call on a connection ended with @error. */
static int fail_io(struct exchange *x, int error)
{
        switch (error) {
        case -ECANCELED:
                return task_fail(x->task, PPP_REASON_CANCELLED, 0);
        case -ETIME:
                return http_fail_time(x->task);
        case -ENOMEM:
                return fail_memory(x);
        default:
                return http_fail(x->task, PPP_FETCH_LOST);
        }
}

/* A time limit of connecting, while the task's own time is not up, means that the host does not
 * answer. */
static int fail_connect(struct exchange *x, int error)
{
        if (error == -ETIME && x->task->deadline_ns == 0)
                error = -ETIMEDOUT;
        switch (error) {
        case -ECANCELED:
        case -ETIME:
        case -ENOMEM:
                return fail_io(x, error);
        default:
                return task_fail(x->task, PPP_REASON_CONNECT, -error);
        }
}

static int breathe(struct exchange *x)
{
        int r = x->transport->ops->breathe(x->transport, x->task);

        return r < 0 ? fail_io(x, r) : 0;
}

static void drop_connection(struct exchange *x)
{
        if (x->connection)
                http_connection_close(x->connection);
        x->connection = NULL;
}

static int open_connection(struct exchange *x)
{
        const struct http_transport_ops *ops = x->transport->ops;
        int r;

        x->reused = false;
        if (!x->url->is_address)
                return ops->reach(x->transport, x->task, x->get->url, &x->connection);
        r = ops->connect(x->transport, x->task, &x->url->address, &x->connection);
        return r < 0 ? fail_connect(x, r) : 0;
}

/* Takes a connection, a new one if @fresh. 0 or a negative errno after task_fail(). */
static int get_connection(struct exchange *x, bool fresh)
{
        int r;

        x->connection = fresh ? NULL : http_transport_take(x->transport, x->url);
        x->reused = x->connection;
        if (x->reused)
                return 0;
        r = open_connection(x);
        if (r == 0)
                http_connection_name(x->connection, x->url);
        return r;
}

/* GET, Host, and the fields that are the same in each request. */
static const char request_tail[] = "\r\nUser-Agent: " FETCH_USER_AGENT "\r\nAccept: */*\r\n";
static const char cookie_name[] = "\r\nCookie: ";

static size_t request_size(const struct exchange *x, const char *cookie)
{
        return strlen("GET / HTTP/1.1\r\nHost: ") + x->url->n_path + x->url->n_authority +
               strlen(request_tail) + strlen(content_coding_accept) + strlen("\r\n\r\n") +
               (cookie ? strlen(cookie_name) + strlen(cookie) : 0);
}

static size_t write_request(const struct exchange *x, const char *cookie, char *to)
{
        const struct http_url *url = x->url;
        char *begin = to;

        to = mempcpy(to, "GET ", 4);
        if (url->path[0] != '/')
                *to++ = '/';
        to = mempcpy(to, url->path, url->n_path);
        to = mempcpy(to, " HTTP/1.1\r\nHost: ", 17);
        to = mempcpy(to, url->host, url->n_authority);
        to = mempcpy(to, request_tail, strlen(request_tail));
        to = mempcpy(to, content_coding_accept, strlen(content_coding_accept));
        if (cookie) {
                to = mempcpy(to, cookie_name, strlen(cookie_name));
                to = mempcpy(to, cookie, strlen(cookie));
        }
        to = mempcpy(to, "\r\n\r\n", 4);
        return (size_t)(to - begin);
}

static int send_request(struct exchange *x)
{
        _cleanup_free_ char *cookie = NULL;
        char *request;

        if (http_cookies_header(x->get->cookies, x->get->url, &cookie) < 0)
                return -ENOMEM;
        request = http_connection_request(x->connection, request_size(x, cookie));
        if (!request)
                return -ENOMEM;
        return x->transport->ops->ask(x->connection, x->task, write_request(x, cookie, request));
}

/* How long one wait may take; a body that nobody wants has its time in all. */
static uint64_t patience(struct exchange *x)
{
        uint64_t now;

        if (!x->answer.head.status || !http_answer_is_unwanted(&x->answer))
                return http_stall_patience(x->task);
        now = now_monotonic();
        if (!x->leave_ns)
                x->leave_ns = now + fetch_patience.discard_ns;
        return x->leave_ns > now ? x->leave_ns - now : 0;
}

/* The next piece into the buffer: its size, 0 at the end, or a negative errno. */
static ssize_t receive(struct exchange *x)
{
        const struct http_transport_ops *ops = x->transport->ops;
        ssize_t l;
        int r;

        for (;;) {
                l = ops->recv(x->connection, x->transport->buffer, HTTP_BUFFER_SIZE);
                if (l != -EAGAIN && l != -EINTR)
                        break;
                r = ops->await_data(x->connection, x->task, patience(x));
                if (r < 0)
                        return r;
        }
        x->data = x->transport->buffer;
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

/* A wait would overwrite the bytes that were read. */
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

/* Appends the bytes that were read to those that were kept, if any were. */
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

/*
 * A body is being handed on, and another fiber may be using the buffer when this one continues: so
 * the rest of the piece, and all bytes read behind it, are moved out of it.
 */
static int breathe_in_mid_piece(struct http_answer *answer)
{
        struct exchange *x = container_of(answer, struct exchange, answer);
        size_t n_left, n;
        int r;

        if (!x->transport->ops->is_due(x->transport))
                return 0;
        if (!x->is_kept) {
                n_left = http_answer_left(answer);
                n = n_left + (size_t)(x->data - x->piece_end) + x->n_data;
                if (make_room(x, n) < 0)
                        return fail_memory(x);
                if (n > 0)
                        memcpy(x->kept, x->piece_end - n_left, n);
                http_answer_move(answer, x->kept);
                x->data = x->kept + n - x->n_data;
                x->piece_end = x->kept + n_left;
                x->is_kept = true;
                r = http_answer_keep(answer);
                if (r < 0)
                        return r;
        }
        return breathe(x);
}

/* The connection ended where an answer, or the rest of one, should have come. */
static int fail_end(struct exchange *x)
{
        return http_fail(x->task, x->answered ? PPP_FETCH_CUT_SHORT : PPP_FETCH_NO_ANSWER);
}

/* Reads on until the head is whole: its size, at the front of x->data. */
static ssize_t find_head(struct exchange *x)
{
        size_t scanned = 0;

        for (;;) {
                size_t n = http_head_find_end(x->data, x->n_data, &scanned);
                ssize_t l;
                int r;

                if (n > 0)
                        return (ssize_t)n;
                r = http_answer_check(&x->answer, x->data, x->n_data);
                if (r < 0)
                        return r;
                if (keep_data(x) < 0)
                        return fail_memory(x);
                l = receive(x);
                if (l <= 0)
                        return l < 0 ? fail_io(x, (int)l) : fail_end(x);
                if (join_data(x) < 0)
                        return fail_memory(x);
        }
}

/* The head of the answer proper: others (1xx) may come before it. */
static int read_head(struct exchange *x)
{
        do {
                ssize_t n = find_head(x);
                int r;

                if (n < 0)
                        return (int)n;
                r = http_answer_head(&x->answer, x->data, (size_t)n);
                x->data += n;
                x->n_data -= (size_t)n;
                if (r < 0)
                        return r;
        } while (x->answer.head.status < 200);
        return 0;
}

/* The server has closed, or lost, a connection it kept: it has not seen the request. */
static bool is_stale(const struct exchange *x, ssize_t l)
{
        return x->reused && !x->answered && (l == 0 || l == -ECONNRESET || l == -EPIPE);
}

/*
 * Sends the request and reads up to the first piece of its answer: returns 1, 0 if the connection
 * ends without one, or a negative errno.
 */
static ssize_t ask(struct exchange *x)
{
        int r;
        r = send_request(x);
        return r < 0 ? r : receive(x);
}

static int begin(struct exchange *x)
{
        ssize_t l;
        int r;

        r = get_connection(x, false);
        if (r < 0)
                return r;
        l = ask(x);
        if (is_stale(x, l)) {
                drop_connection(x);
                r = get_connection(x, true);
                if (r < 0)
                        return r;
                l = ask(x);
        }
        if (l <= 0)
                return l < 0 ? fail_io(x, (int)l) : fail_end(x);
        return read_head(x);
}

static enum framing find_framing(const struct http_head *head)
{
        if (http_head_is_bodiless(head))
                return FRAMING_NONE;
        if (head->chunked)
                return FRAMING_CHUNKS;
        return head->has_length ? FRAMING_LENGTH : FRAMING_CLOSE;
}

static void begin_body(struct exchange *x)
{
        const struct http_head *head = &x->answer.head;

        x->framing = find_framing(head);
        x->left = head->length;
        x->chunks = (struct http_chunks)HTTP_CHUNKS_NULL;
        x->ended = x->framing == FRAMING_NONE || (x->framing == FRAMING_LENGTH && x->left == 0);
}

static int feed_chunks(struct exchange *x)
{
        int r = 0;

        while (r == 0 && x->n_data > 0 && !http_chunks_ended(&x->chunks)) {
                const char *piece;
                size_t n;
                ssize_t l = http_chunks_next(&x->chunks, x->data, x->n_data, &piece, &n);

                if (l < 0)
                        return http_fail(x->task, PPP_FETCH_CHUNKS);
                r = http_answer_count(&x->answer, x->chunks.n_extra - x->n_extra);
                if (r < 0)
                        return r;
                x->n_extra = x->chunks.n_extra;
                x->data += l;
                x->n_data -= (size_t)l;
                x->piece_end = piece + n;
                r = http_answer_body(&x->answer, piece, n);
        }
        x->ended = http_chunks_ended(&x->chunks);
        return r;
}

static int feed_plain(struct exchange *x, size_t n)
{
        const char *data = x->data;

        x->data += n;
        x->n_data -= n;
        x->piece_end = x->data;
        return http_answer_body(&x->answer, data, n);
}

/* Hands on the part of the body that has come. 0, HTTP_ENOUGH, or a negative errno. */
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

/* Reads the next piece of the body, or its end. */
static int read_more(struct exchange *x)
{
        ssize_t l;
        int r;

        if (!x->is_kept) {
                r = http_answer_keep(&x->answer);
                if (r < 0)
                        return r;
        }
        r = breathe(x);
        if (r < 0)
                return r;
        l = receive(x);
        if (l < 0)
                return fail_io(x, (int)l);
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

/* Whether no byte of the answer is left on the connection and nothing beyond it has come. */
static bool may_keep(const struct exchange *x)
{
        return x->ended && x->n_data == 0 && x->answer.head.persistent &&
               x->framing != FRAMING_CLOSE;
}

static void end_connection(struct exchange *x)
{
        if (x->connection && may_keep(x))
                http_connection_keep(steal_ptr(x->connection));
        drop_connection(x);
}

int http_exchange(struct http_transport *transport, struct http_get *get,
                  const struct http_url *url)
{
        struct exchange x = {
                .transport = transport,
                .get = get,
                .task = get->task,
                .url = url,
                .data = transport->buffer,
        };
        int r;

        http_answer_init(&x.answer, get, breathe_in_mid_piece);
        r = begin(&x);
        if (r == 0) {
                begin_body(&x);
                r = read_body(&x);
        }
        end_connection(&x);
        r = http_answer_end(&x.answer, r);
        free(x.kept);
        return r;
}
