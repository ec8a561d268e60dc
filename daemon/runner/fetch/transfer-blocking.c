/*
 * A blocking transfer has a multi handle of its own, not curl_easy_perform(): that one waits up to
 * a second at a time and looks at nothing else, while curl_multi_poll() watches a descriptor of
 * ours too, so a cancelled fetch ends at once.
 */

#include "daemon/runner/fetch/transfer.h"
#include "daemon/runner/interrupt.h"

/* The longest time for which libcurl is not called, in milliseconds. */
#define POLL_MAX_MS 1000U

/* One multi handle for the life of the transfer: it keeps connections, names and certificates. */
static int make_multi(struct transfer *transfer)
{
        if (transfer->multi)
                return 0;
        transfer->multi = sym_curl_multi_init();
        if (!transfer->multi)
                return -ENOMEM;
        sym_curl_multi_setopt(transfer->multi, CURLMOPT_MAXCONNECTS,
                              (long)runner_connections(transfer->runner));
        return 0;
}

/* The time until the transfer's limit, rounded up; 0: it has passed. */
static int poll_timeout(const struct transfer *transfer)
{
        uint64_t now;

        if (transfer->until_ns == 0)
                return POLL_MAX_MS;
        now = now_monotonic();
        if (now >= transfer->until_ns)
                return 0;
        return (int)MIN((transfer->until_ns - now) / NSEC_PER_MSEC + 1, (uint64_t)POLL_MAX_MS);
}

/*
 * Runs until libcurl is done (0 and its code); -ETIME, -ECANCELED, or another errno if libcurl
 * itself fails.
 */
static int drive(struct transfer *transfer, const struct interrupt *interrupt, CURLcode *ret_code)
{
        struct curl_waitfd cancel = { .fd = interrupt->fd, .events = CURL_WAIT_POLLIN };
        unsigned n_waitfds = interrupt->fd >= 0;
        CURLMcode code = CURLM_OK;
        int running = 1, left;

        while (code == CURLM_OK) {
                int timeout_ms;

                if (task_cancelled(transfer->get->task))
                        return -ECANCELED;
                code = sym_curl_multi_perform(transfer->multi, &running);
                if (code == CURLM_OK && running == 0) {
                        *ret_code = sym_curl_multi_info_read(transfer->multi, &left)->data.result;
                        return 0;
                }
                timeout_ms = poll_timeout(transfer);
                if (timeout_ms == 0)
                        return -ETIME;
                if (code == CURLM_OK)
                        code = sym_curl_multi_poll(transfer->multi, &cancel, n_waitfds, timeout_ms,
                                                   NULL);
                if (cancel.revents)
                        interrupt_hear(interrupt);
        }
        return code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

#define STALE 3

static int result(struct transfer *transfer, int r, CURLcode code)
{
        switch (r) {
        case 0:
                return transfer_is_stale(transfer, code) ? STALE : transfer_end(transfer, code);
        case -ECANCELED:
                return transfer_abandon(transfer);
        case -ETIME:
                return transfer_time_up(transfer);
        case -ENOMEM:
                return task_fail(transfer->get->task, PPP_REASON_NO_MEMORY, 0);
        default:
                return task_fail(transfer->get->task, PPP_REASON_IO, -r);
        }
}

/*
 * 0, HTTP_FOLLOW, STALE, or a negative errno after task_fail(). With @ret_fd only a connection is
 * made, whose descriptor is returned there.
 */
static int perform_once(struct transfer *transfer, struct http_get *get,
                        const struct interrupt *interrupt, bool fresh, int *ret_fd)
{
        CURLcode code = CURLE_OK;
        int r;

        r = transfer_begin(transfer, get, ret_fd);
        if (r < 0)
                return r;
        if (fresh)
                transfer_set_fresh(transfer);
        if (sym_curl_multi_add_handle(transfer->multi, transfer->easy) != CURLM_OK) {
                r = task_fail(get->task, PPP_REASON_NO_MEMORY, 0);
        } else {
                r = drive(transfer, interrupt, &code);
                r = result(transfer, r, code);
                if (r == 0 && ret_fd) {
                        *ret_fd = transfer_socket(transfer);
                        r = MIN(*ret_fd, 0);
                }
                sym_curl_multi_remove_handle(transfer->multi, transfer->easy);
        }
        transfer_release(transfer);
        return r;
}

int transfer_perform(struct transfer *transfer, struct http_get *get,
                     const struct interrupt *interrupt)
{
        int r;

        if (make_multi(transfer) < 0)
                return task_fail(get->task, PPP_REASON_NO_MEMORY, 0);
        r = perform_once(transfer, get, interrupt, false, NULL);
        if (r == STALE)
                r = perform_once(transfer, get, interrupt, true, NULL);
        return r == STALE ? http_fail(get->task, PPP_FETCH_LOST) : r;
}

int transfer_connect(struct transfer *transfer, struct ppp_task *task,
                     const struct interrupt *interrupt, const char *url, int *ret_fd)
{
        struct http_get get = { .task = task, .url = url };

        if (make_multi(transfer) < 0)
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        return perform_once(transfer, &get, interrupt, false, ret_fd);
}
