/*
 * A fiber that waits for libcurl: it leaves a request with the fetcher, and is woken when that is
 * done.
 */

#include "daemon/runner/fetch/fetcher.h"

static void wake(struct fetch_request *request)
{
        if (!request->woken)
                loop_wake(request->fetcher->loop, request->fiber);
        request->woken = true;
}

void fetch_request_done(struct fetch_request *request, int result)
{
        request->result = result;
        request->done = true;
        wake(request);
}

static void time_passed(struct fetch_request *request)
{
        struct transfer *transfer = request->transfer;

        if (!transfer || !transfer->until_ns || now_monotonic() < transfer->until_ns)
                wake(request);
        else
                fetcher_give_up(request->fetcher, transfer, transfer_time_up(transfer));
}

/*
 * The job is gone. Requests of other jobs may wait for what this one has begun on behalf of all:
 * the next of them becomes the scout.
 */
static void request_dropped(struct fetch_request *request)
{
        struct transfer *transfer = request->transfer;

        if (transfer) {
                fetcher_give_up(request->fetcher, transfer, transfer_abandon(transfer));
                return;
        }
        fetch_queue_remove(request);
        fetch_request_done(request, task_fail(request->get->task, PPP_REASON_CANCELLED, 0));
}

static void request_passed(struct loop_deadline *deadline)
{
        struct fetch_request *request = container_of(deadline, struct fetch_request, deadline);

        if (request->done)
                return;
        if (task_cancelled(request->get->task))
                request_dropped(request);
        else
                time_passed(request);
}

/* The time that a transfer has may change at any moment: the fiber looks at it now and then. */
static uint64_t next_look(const struct fetch_request *request)
{
        uint64_t at_ns = now_monotonic() + MIN(fetch_patience.discard_ns, fetch_patience.stall_ns);

        if (request->transfer && request->transfer->until_ns)
                return MIN(at_ns, request->transfer->until_ns);
        return at_ns;
}

static int do_request(struct fetcher *fetcher, struct fetch_request *request)
{
        struct ppp_task *task = request->get->task;

        if (task_cancelled(task)) /* nobody would end it any more */
                return task_fail(task, PPP_REASON_CANCELLED, 0);
        request->deadline.passed = request_passed;
        request->fetcher = fetcher;
        request->fiber = loop_current(fetcher->loop);
        fetch_queue_push(&fetcher->queue, request);
        loop_defer(fetcher->loop, &fetcher->turn);
        while (!request->done) {
                loop_deadline_add(fetcher->loop, &request->deadline, task, next_look(request));
                loop_suspend(fetcher->loop);
                loop_deadline_remove(fetcher->loop, &request->deadline);
                request->woken = false;
        }
        return request->result;
}

int fetcher_fetch(struct fetcher *fetcher, struct http_get *get)
{
        struct fetch_request request = { .get = get, .fd = -EBADF };

        return do_request(fetcher, &request);
}

int fetcher_connect(struct fetcher *fetcher, struct ppp_task *task, const char *url,
                    bool may_be_known, int *ret_fd)
{
        struct http_get get = { .task = task, .url = url };
        struct fetch_request request = {
                .get = &get,
                .fd = -EBADF,
                .connect_only = true,
                .may_be_known = may_be_known,
        };
        int r;

        r = do_request(fetcher, &request);
        *ret_fd = request.fd;
        return r;
}
