/*
 * The scout of an origin: which transfer goes first, what it finds out for the others, and where
 * these wait (fetch-origin.h).
 */

#include <limits.h>

#include "daemon/runner/fetch/fetcher.h"

/* A place is free among those that resolve names. */
void scout_resolved(struct transfer *transfer)
{
        struct fetcher *fetcher = transfer->fetcher;

        if (!transfer->resolving)
                return;
        transfer->resolving = false;
        --fetcher->n_resolving;
        if (!fetch_queue_is_empty(&fetcher->held))
                loop_defer(fetcher->loop, &fetcher->turn);
}

/* All requests that wait may try again. */
static void let_in(struct fetcher *fetcher, struct origin *origin)
{
        if (fetch_queue_is_empty(&origin->waiting))
                return;
        fetch_queue_move(&fetcher->queue, &origin->waiting);
        loop_defer(fetcher->loop, &fetcher->turn);
}

/* Requests that waited for the scout need not wait any longer. */
static void scouted(struct transfer *transfer)
{
        scout_resolved(transfer);
        if (!transfer->scouting)
                return;
        transfer->scouting = false;
        transfer->origin->scouting = false;
        let_in(transfer->fetcher, transfer->origin);
}

void scout_enter(struct transfer *transfer, struct origin *origin)
{
        transfer->origin = origin;
        transfer->opened = false;
        if (!origin)
                return;
        transfer->scouting = !origin->known || origin->n_users >= origin->room;
        origin->scouting |= transfer->scouting;
        ++origin->n_users;
        transfer->resolving = transfer->scouting;
        transfer->fetcher->n_resolving += transfer->resolving;
}

/* Notes the address of an http: origin. */
static void learn_address(struct transfer *transfer, const char *remote, int port)
{
        struct origin *origin = transfer->origin;

        if (origin && !origin->secure && !transfer->fetcher->has_proxy)
                origin_set_address(origin, remote, port);
}

void scout_connected(struct transfer *transfer, const char *remote, int port)
{
        struct origin *origin = transfer->origin;

        learn_address(transfer, remote, port);
        if (!transfer->scouting)
                return;
        if (origin->multiplexes && transfer->opened)
                origin->room += ORIGIN_STREAMS;
        origin->known = true;
        scouted(transfer);
}

static void fail_waiting(struct origin *origin, enum ppp_reason reason, int32_t detail)
{
        struct fetch_request *request;

        while ((request = fetch_queue_pop(&origin->waiting)))
                fetch_request_done(request, task_fail(request->get->task, reason, detail));
}

/* Failures that take long, and that everybody who asks at the same time would meet. */
static bool is_shared(enum ppp_reason reason, int32_t detail)
{
        return reason == PPP_REASON_RESOLVE ||
               (reason == PPP_REASON_CONNECT && detail == ETIMEDOUT);
}

/*
 * The first scout did not get through. If the name was resolved it is in libcurl's cache; only a
 * scout whose time was up has found out nothing, and then the next request scouts.
 */
static void scout_failed(struct transfer *transfer)
{
        enum ppp_reason reason = transfer->get->task->reason;
        int32_t detail = transfer->get->task->detail;

        if (is_shared(reason, detail))
                fail_waiting(transfer->origin, reason, detail);
        else
                transfer->origin->known =
                        reason != PPP_REASON_TIMEOUT && reason != PPP_REASON_CANCELLED;
}

/* The first answer shows which protocol it is. */
static void learn_protocol(struct transfer *transfer)
{
        struct origin *origin = transfer->origin;
        long version = 0;

        if (!origin->secure || origin->multiplexes || origin->room == UINT_MAX)
                return;
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_VERSION, &version);
        if (version == CURL_HTTP_VERSION_2_0)
                origin->multiplexes = true;
        else if (version != 0)
                origin->room = UINT_MAX;
}

void scout_leave(struct transfer *transfer)
{
        struct origin *origin = transfer->origin;

        if (!origin)
                return;
        if (transfer->scouting && !origin->known)
                scout_failed(transfer);
        scouted(transfer);
        learn_protocol(transfer);
        --origin->n_users;
        if (!origin->scouting)
                let_in(transfer->fetcher, origin);
        transfer->origin = NULL;
}

struct fetch_queue *scout_find_obstacle(struct fetcher *fetcher, struct origin *origin)
{
        bool room;

        if (!origin)
                return NULL;
        room = origin->n_users < origin->room;
        if (origin->known && room)
                return NULL;
        if (origin->scouting || (!room && !origin->multiplexes))
                return &origin->waiting;
        return fetcher->n_resolving < fetcher->bounds.resolving_max ? NULL : &fetcher->held;
}

bool scout_has_found(const struct fetch_request *request, struct origin *origin)
{
        union http_address address;

        if (!request->may_be_known || !origin)
                return false;
        if (origin_get_address(origin, &address))
                return true;
        origin_extend_address(origin);
        return false;
}

bool fetcher_find_address(struct fetcher *fetcher, const char *url, union http_address *ret)
{
        struct origin *origin = origins_get(&fetcher->origins, url);

        return origin && origin_get_address(origin, ret);
}

void fetcher_forget_address(struct fetcher *fetcher, const char *url)
{
        struct origin *origin = origins_get(&fetcher->origins, url);

        if (origin)
                origin_forget_address(origin);
}
