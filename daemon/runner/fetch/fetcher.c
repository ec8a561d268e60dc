#include "daemon/runner/fetch/fetcher.h"

#include "daemon/runner/runner.h"

/*
 * A large receive buffer takes a page in one recv(2), but each transfer in flight has its own: they
 * have this many bytes in all, and each has a size within these limits.
 */
#define BUFFERS_TOTAL (8 * 1024 * 1024)
#define BUFFER_MIN    (8 * 1024)
#define BUFFER_MAX    (128 * 1024)

/* How often a request that a server did not take is tried on a connection of its own. */
#define REFUSED_MAX 2

static void fetcher_turn(struct loop_deferred *deferred);

int fetcher_new(struct loop *loop, const struct fetcher_bounds *bounds, struct fetcher **ret)
{
        struct fetcher *fetcher = calloc(1, sizeof(*fetcher));
        size_t share = BUFFERS_TOTAL / MAX(loop->window, 1U);

        assert(bounds->resolving_max > 0);
        if (!fetcher)
                return -ENOMEM;
        fetcher->loop = loop;
        fetcher->bounds = *bounds;
        fetcher->turn.run = fetcher_turn;
        TAILQ_INIT(&fetcher->working);
        fetcher->buffer_size = MIN(MAX(share, (size_t)BUFFER_MIN), (size_t)BUFFER_MAX);
        fetch_queue_init(&fetcher->queue);
        fetch_queue_init(&fetcher->held);
        origins_init(&fetcher->origins);
        fetcher->has_proxy = fetch_has_proxy();
        *ret = fetcher;
        return 0;
}

struct fetcher *fetcher_free(struct fetcher *fetcher)
{
        struct transfer *next;

        if (!fetcher)
                return NULL;
        assert(fetch_queue_is_empty(&fetcher->queue) && fetch_queue_is_empty(&fetcher->held) &&
               !fetcher->in_flight);
        loop_undefer(fetcher->loop, &fetcher->turn);
        for (struct transfer *t = fetcher->idle; t; t = next) {
                next = t->next;
                transfer_free(t);
        }
        if (fetcher->multi) {
                sym_curl_multi_cleanup(fetcher->multi);
                curl_ring_deinit(&fetcher->driver);
        }
        origins_deinit(&fetcher->origins);
        free(fetcher);
        return NULL;
}

static void on_acted(struct curl_ring *driver)
{
        struct fetcher *fetcher = container_of(driver, struct fetcher, driver);

        loop_defer(fetcher->loop, &fetcher->turn);
}

/* 0, or a negative errno: no fetch can be done, but a later one may try again. */
static int fetcher_start(struct fetcher *fetcher)
{
        long window = (long)fetcher->loop->window;

        if (fetcher->multi)
                return 0;
        fetcher->multi = sym_curl_multi_init();
        if (!fetcher->multi)
                return -ENOMEM;
        curl_ring_init(&fetcher->driver, &fetcher->loop->ring, fetcher->multi, on_acted);
        sym_curl_multi_setopt(fetcher->multi, CURLMOPT_MAXCONNECTS, window);
        sym_curl_multi_setopt(fetcher->multi, CURLMOPT_MAX_CONCURRENT_STREAMS,
                              (long)ORIGIN_STREAMS);
        if (fetcher->bounds.connections_max)
                sym_curl_multi_setopt(fetcher->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                                      (long)fetcher->bounds.connections_max);
        return 0;
}

/* The name is known by now. */
static curl_socket_t on_open_socket(void *userdata, curlsocktype purpose,
                                    struct curl_sockaddr *address)
{
        struct transfer *transfer = userdata;
        int fd = curl_ring_open_socket(&transfer->fetcher->driver, address);

        scout_resolved(transfer);
        transfer->opened = true;
        transfer_opens(transfer, address);
        if (fd >= 0)
                return fd;
        transfer->socket_errno = -fd;
        return CURL_SOCKET_BAD;
}

static int on_close_socket(void *userdata, curl_socket_t fd)
{
        curl_ring_close_socket(userdata, fd);
        return 0;
}

/* The connection is made, including the handshake; the request comes next. */
static int on_connected(void *userdata, char *remote, char *local, int remote_port, int local_port)
{
        struct transfer *transfer = userdata;

        transfer_connected(transfer);
        scout_connected(transfer, remote, remote_port);
        return CURL_PREREQFUNC_OK;
}

static void on_put_off(struct transfer *transfer)
{
        TAILQ_INSERT_TAIL(&transfer->fetcher->working, transfer, link);
        loop_defer(transfer->fetcher->loop, &transfer->fetcher->turn);
}

static int make_transfer(struct fetcher *fetcher, struct transfer **ret)
{
        int r;

        r = transfer_new(fetcher->loop->runner, fetcher->buffer_size, ret);
        if (r < 0)
                return r;
        (*ret)->fetcher = fetcher;
        (*ret)->put_off = on_put_off;
        return 0;
}

static int take_transfer(struct fetcher *fetcher, struct transfer **ret)
{
        if (!fetcher->idle)
                return make_transfer(fetcher, ret);
        *ret = fetcher->idle;
        fetcher->idle = fetcher->idle->next;
        return 0;
}

static void put_idle(struct fetcher *fetcher, struct transfer *transfer)
{
        transfer->next = fetcher->idle;
        fetcher->idle = transfer;
}

static void link_in_flight(struct fetcher *fetcher, struct transfer *transfer)
{
        transfer->previous = NULL;
        transfer->next = fetcher->in_flight;
        if (transfer->next)
                transfer->next->previous = transfer;
        fetcher->in_flight = transfer;
}

static void unlink_in_flight(struct fetcher *fetcher, struct transfer *transfer)
{
        if (transfer->next)
                transfer->next->previous = transfer->previous;
        if (transfer->previous)
                transfer->previous->next = transfer->next;
        else
                fetcher->in_flight = transfer->next;
}

/* Takes a transfer back from libcurl, which is done with it or has to give it up. */
static struct fetch_request *take_back(struct fetcher *fetcher, struct transfer *transfer)
{
        transfer->request->transfer = NULL;
        if (transfer->working)
                TAILQ_REMOVE(&fetcher->working, transfer, link);
        scout_leave(transfer);
        sym_curl_multi_remove_handle(fetcher->multi, transfer->easy);
        transfer_release(transfer);
        unlink_in_flight(fetcher, transfer);
        put_idle(fetcher, transfer);
        return transfer->request;
}

/*
 * A server that closes an HTTP/2 connection says from which request on it takes no more. Requests
 * that it did not take are to be sent again; libcurl (7.88) tries the same connection, then fails
 * them.
 */
static bool is_refused(struct transfer *transfer, CURLcode code)
{
        if (transfer_is_stale(transfer, code))
                return transfer->request->n_refused < REFUSED_MAX;
        switch (code) {
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
                return transfer->origin && transfer->origin->multiplexes &&
                       transfer->request->n_refused < REFUSED_MAX && transfer_unanswered(transfer);
        default:
                return false;
        }
}

static int end(struct transfer *transfer, CURLcode code)
{
        struct fetch_request *request = transfer->request;
        int r;

        r = transfer_end(transfer, code);
        if (r != 0 || !request->connect_only)
                return r;
        request->fd = transfer_socket(transfer);
        return MIN(request->fd, 0);
}

/* A transfer whose body is still being handed on is kept until that is done. */
static void transfer_done(struct fetcher *fetcher, struct transfer *transfer, CURLcode code)
{
        struct fetch_request *request;
        bool refused;
        int result;

        transfer->ended = transfer->working && code == CURLE_OK;
        if (transfer->ended)
                return;
        refused = is_refused(transfer, code);
        result = refused ? 0 : end(transfer, code);
        request = take_back(fetcher, transfer);
        if (!refused) {
                fetch_request_done(request, result);
                return;
        }
        ++request->n_refused;
        fetch_queue_push(&fetcher->queue, request);
        loop_defer(fetcher->loop, &fetcher->turn);
}

/*
 * Where the server multiplexes, requests wait for a connection that is being opened instead of
 * opening more; where it does not, waiting would open them one after the other.
 */
static void set_options(struct transfer *transfer, const struct fetch_request *request,
                        const struct origin *origin)
{
        CURL *easy = transfer->easy;

        sym_curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
        sym_curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
        sym_curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
        sym_curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, &transfer->fetcher->driver);
        sym_curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
        sym_curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
        if (origin && origin->multiplexes)
                sym_curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
        if (request->n_refused > 0)
                transfer_set_fresh(transfer);
}

static int hand_over(struct fetcher *fetcher, struct transfer *transfer,
                     struct fetch_request *request, struct origin *origin)
{
        int r;

        r = transfer_begin(transfer, request->get, request->connect_only);
        if (r < 0)
                return r;
        set_options(transfer, request, origin);
        if (sym_curl_multi_add_handle(fetcher->multi, transfer->easy) != CURLM_OK) {
                transfer_release(transfer);
                return task_fail(request->get->task, PPP_REASON_NO_MEMORY, 0);
        }
        transfer->request = request;
        request->transfer = transfer;
        link_in_flight(fetcher, transfer);
        scout_enter(transfer, origin);
        return 0;
}

/* 0: libcurl has it; else a negative errno after task_fail(). */
static int begin(struct fetcher *fetcher, struct fetch_request *request, struct origin *origin)
{
        struct transfer *transfer;
        int r;

        if (take_transfer(fetcher, &transfer) < 0)
                return task_fail(request->get->task, PPP_REASON_NO_MEMORY, 0);
        r = hand_over(fetcher, transfer, request, origin);
        if (r < 0)
                put_idle(fetcher, transfer);
        return r;
}

static int start(struct fetcher *fetcher, struct ppp_task *task)
{
        int r;

        r = fetch_load(task);
        if (r < 0)
                return r;
        return fetcher_start(fetcher) < 0 ? task_fail(task, PPP_REASON_NO_MEMORY, 0) : 0;
}

static void dispatch(struct fetcher *fetcher, struct fetch_request *request)
{
        struct origin *origin = origins_get(&fetcher->origins, request->get->url);
        struct fetch_queue *obstacle;
        int r;

        if (scout_has_found(request, origin)) {
                fetch_request_done(request, FETCH_KNOWN);
                return;
        }
        obstacle = scout_find_obstacle(fetcher, origin);
        if (obstacle) {
                fetch_queue_push(obstacle, request);
                return;
        }
        r = start(fetcher, request->get->task);
        if (r == 0)
                r = begin(fetcher, request, origin);
        if (r < 0)
                fetch_request_done(request, r);
}

static void begin_queued(struct fetcher *fetcher)
{
        struct fetch_request *request;

        while ((request = fetch_queue_pop(&fetcher->queue)))
                dispatch(fetcher, request);
        while (fetcher->n_resolving < fetcher->bounds.resolving_max &&
               (request = fetch_queue_pop(&fetcher->held)))
                dispatch(fetcher, request);
}

static void end_done(struct fetcher *fetcher)
{
        CURLMsg *message;
        int left;

        while ((message = sym_curl_multi_info_read(fetcher->multi, &left))) {
                struct transfer *transfer;

                sym_curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
                transfer_done(fetcher, transfer, message->data.result);
        }
}

/*
 * Fibers that were woken will mostly ask for the next page, so the ring is told of their sockets
 * after they have run, all at once. It is put off only once, since other fibers may keep the loop
 * busy.
 */
static bool put_off_arming(struct fetcher *fetcher)
{
        fetcher->arm_later = fetcher->loop->ready && !fetcher->arm_later;
        return fetcher->arm_later;
}

static void give_up(struct fetcher *fetcher, struct transfer *transfer)
{
        int result = transfer_abandon(transfer);

        fetch_request_done(take_back(fetcher, transfer), result);
}

/*
 * A connection over HTTP/2 stays open for others, and libcurl (7.88) tells the server that a
 * request is withdrawn only when it next uses the connection. So a connection that nobody else uses
 * is closed.
 */
void fetcher_give_up(struct fetcher *fetcher, struct transfer *transfer, int result)
{
        sym_curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 1L);
        fetch_request_done(take_back(fetcher, transfer), result);
        /* libcurl tells the ring in its next turn what it waits for now. */
        loop_defer(fetcher->loop, &fetcher->turn);
}

/*
 * Gives a moment to the transfer whose turn it is, once in each turn of the loop, so that
 * everything else continues.
 */
static void work(struct fetcher *fetcher)
{
        struct transfer *transfer = TAILQ_FIRST(&fetcher->working);

        if (!transfer)
                return;
        TAILQ_REMOVE(&fetcher->working, transfer, link);
        if (transfer_work(transfer) == HTTP_MORE)
                TAILQ_INSERT_TAIL(&fetcher->working, transfer, link);
        else if (transfer->result < 0)
                fetcher_give_up(fetcher, transfer, transfer_end(transfer, CURLE_WRITE_ERROR));
        else if (transfer->ended)
                transfer_done(fetcher, transfer, CURLE_OK);
        else if (transfer->paused) {
                transfer->paused = false;
                sym_curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
        }
        if (!TAILQ_EMPTY(&fetcher->working))
                loop_defer(fetcher->loop, &fetcher->turn);
}

static void fetcher_turn(struct loop_deferred *deferred)
{
        struct fetcher *fetcher = container_of(deferred, struct fetcher, turn);
        bool again;

        begin_queued(fetcher);
        if (!fetcher->multi)
                return;
        curl_ring_run_due(&fetcher->driver);
        work(fetcher);
        end_done(fetcher);
        again = put_off_arming(fetcher);
        if (!again)
                curl_ring_arm(&fetcher->driver);
        if (again || fetcher->driver.due)
                loop_defer(fetcher->loop, &fetcher->turn);
}

static void cancel_queue(struct fetch_queue *queue)
{
        struct fetch_request *request;

        while ((request = fetch_queue_pop(queue)))
                fetch_request_done(request, task_fail(request->get->task, PPP_REASON_CANCELLED, 0));
}

/* Requests that wait for a scout are back in the queue when the scout is taken back. */
void fetcher_cancel_all(struct fetcher *fetcher)
{
        while (fetcher->in_flight)
                give_up(fetcher, fetcher->in_flight);
        cancel_queue(&fetcher->queue);
        cancel_queue(&fetcher->held);
}
