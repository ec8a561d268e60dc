#include "daemon/web/server.h"

#include <microhttpd.h>
#include <sys/epoll.h>

#include "daemon/web/scrape.h"

#define IDLE_SECONDS      120U         /* a connection without a request is closed after that */
#define CONNECTION_MEMORY (16U * 1024) /* for the headers of a request and of its answer */

struct request {
        struct MHD_Connection *connection;
        bool postponed; /* its answer waits for due_ns, or has waited */
        uint64_t due_ns;
        struct request *next; /* in the queue of those that wait */
};

struct server {
        sd_event_source *readable; /* libmicrohttpd's epoll has something */
        sd_event_source *timer;    /* the first request is due, or a connection has idled */
        sd_event_source *again;    /* libmicrohttpd could not do everything in one turn */

        struct MHD_Daemon *daemon;
        const struct pages *pages;
        struct MHD_Response *responses[N_PAGES];
        struct scrape *scrape;      /* NULL: demo pages */
        struct MHD_Response *index; /* of what scrape serves */
        struct MHD_Response *not_found;
        struct MHD_Response *not_allowed;

        uint64_t delay_ns;
        struct request *first, **tail;
};

static int set_timer(struct server *server, uint64_t due_ns)
{
        int r;

        if (due_ns == UINT64_MAX)
                return sd_event_source_set_enabled(server->timer, SD_EVENT_OFF);
        r = sd_event_source_set_time(server->timer, due_ns / NSEC_PER_USEC + 1);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(server->timer, SD_EVENT_ONESHOT);
}

static uint64_t idle_until(struct server *server)
{
        MHD_UNSIGNED_LONG_LONG ms;

        if (MHD_get_timeout(server->daemon, &ms) != MHD_YES)
                return UINT64_MAX;
        return now_monotonic() + ms * NSEC_PER_MSEC;
}

static void resume_due(struct server *server, uint64_t now)
{
        while (server->first && server->first->due_ns <= now) {
                struct request *request = server->first;

                server->first = request->next;
                MHD_resume_connection(request->connection);
        }
        if (!server->first)
                server->tail = &server->first;
}

/* One turn of libmicrohttpd; what it leaves undone gets another after the other event sources. */
static int server_turn(struct server *server)
{
        uint64_t idle;
        int r;

        resume_due(server, now_monotonic());
        if (MHD_run(server->daemon) != MHD_YES)
                return -EIO;
        idle = idle_until(server);
        r = sd_event_source_set_enabled(server->again,
                                        idle <= now_monotonic() ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        if (r < 0)
                return r;
        return set_timer(server, server->first ? MIN(server->first->due_ns, idle) : idle);
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        return server_turn(userdata);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        return server_turn(userdata);
}

static int on_again(sd_event_source *source, void *userdata)
{
        return server_turn(userdata);
}

static enum MHD_Result postpone(struct server *server, struct request *request, uint64_t due_ns)
{
        request->due_ns = due_ns;
        request->next = NULL;
        *server->tail = request;
        server->tail = &request->next;
        request->postponed = true;
        MHD_suspend_connection(request->connection);
        return MHD_YES;
}

static enum MHD_Result answer(struct server *server, struct request *request, const char *url)
{
        const struct page *page = pages_find(server->pages, url);

        if (!page)
                return MHD_queue_response(request->connection, MHD_HTTP_NOT_FOUND,
                                          server->not_found);
        if (page != &server->pages->pages[0] && server->delay_ns > 0 && !request->postponed)
                return postpone(server, request, now_monotonic() + server->delay_ns);
        return MHD_queue_response(request->connection, MHD_HTTP_OK,
                                  server->responses[page - server->pages->pages]);
}

static const char openmetrics[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";
static const char plain[] = "text/plain; charset=utf-8";
static const char html[] = "text/html; charset=utf-8";

static int response_new(const char *text, size_t n, const char *type,
                        enum MHD_ResponseMemoryMode mode, struct MHD_Response **ret)
{
        struct MHD_Response *response;

        response = MHD_create_response_from_buffer(n, (void *)text, mode);
        if (!response)
                return -ENOMEM;
        *ret = response;
        if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) != MHD_YES)
                return -ENOMEM;
        return 0;
}

static void response_free(struct MHD_Response *response)
{
        if (response)
                MHD_destroy_response(response);
}
DEFINE_CLEANUP(struct MHD_Response *, response_free)

/* Called when pppd has answered, or will not. */
static enum MHD_Result answer_metrics(struct server *server, struct request *request)
{
        _cleanup_(response_freep) struct MHD_Response *response = NULL;
        const char *text, *why;
        int r;

        if (!request->postponed) {
                scrape_ask(server->scrape);
                return postpone(server, request, UINT64_MAX);
        }
        text = scrape_text(server->scrape, &why);
        r = response_new(text ?: why, strlen(text ?: why), text ? openmetrics : plain,
                         MHD_RESPMEM_MUST_COPY, &response);
        if (r < 0)
                return MHD_NO;
        return MHD_queue_response(request->connection,
                                  text ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, response);
}

static int on_scraped(void *userdata)
{
        struct server *server = userdata;

        for (struct request *request = server->first; request; request = request->next)
                request->due_ns = 0;
        return server_turn(server);
}

static enum MHD_Result answer_scrape(struct server *server, struct request *request,
                                     const char *url)
{
        if (streq(url, "/metrics"))
                return answer_metrics(server, request);
        if (streq(url, "/"))
                return MHD_queue_response(request->connection, MHD_HTTP_OK, server->index);
        return MHD_queue_response(request->connection, MHD_HTTP_NOT_FOUND, server->not_found);
}

/* An answer before the body was read also closes the connection: the body is not read. */
static enum MHD_Result on_headers(struct server *server, struct MHD_Connection *connection,
                                  const char *method, struct request **ret)
{
        struct request *request;

        if (!streq(method, MHD_HTTP_METHOD_GET) && !streq(method, MHD_HTTP_METHOD_HEAD))
                return MHD_queue_response(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                                          server->not_allowed);
        request = calloc(1, sizeof(*request));
        if (!request)
                return MHD_NO;
        request->connection = connection;
        *ret = request;
        return MHD_YES;
}

/*
 * Called when a request's headers have been read, for each piece of its body, when it has been
 * read to its end, and, if that suspended it, again when it is resumed.
 */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *body, size_t *n_body, void **context)
{
        if (!*context)
                return on_headers(userdata, connection, method, (struct request **)context);
        if (*n_body > 0) {
                *n_body = 0;
                return MHD_YES;
        }
        if (((struct server *)userdata)->scrape)
                return answer_scrape(userdata, *context, url);
        return answer(userdata, *context, url);
}

static void on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
        free(*context);
        *context = NULL;
}

static int response_of(const char *text, const char *type, struct MHD_Response **ret)
{
        return response_new(text, strlen(text), type, MHD_RESPMEM_PERSISTENT, ret);
}

static int make_responses(struct server *server)
{
        static const char index[] =
                "<!DOCTYPE html>\n"
                "<html lang=\"en\"><meta charset=\"utf-8\"><title>pppd</title>\n"
                "<h1>pppd</h1>\n"
                "<p>This is pppd-web " PPPCTL_VERSION ", which shows how pppd is doing.\n"
                "<ul><li><a href=\"/metrics\">/metrics</a>: numbers about the daemon and all jobs\n"
                "it ever ran, as OpenMetrics text, for Prometheus and similar programs</ul>\n"
                "<p>Jobs are seen and run with <code>pppctl</code>.\n";
        static const char not_found[] = "There is no such page here; / lists the pages.\n";
        static const char not_allowed[] = "Pages can only be read: use GET or HEAD.\n";
        int r = 0;

        for (size_t i = 0; i < N_PAGES && server->pages && r == 0; ++i)
                r = response_new(server->pages->pages[i].html, server->pages->pages[i].n_html, html,
                                 MHD_RESPMEM_PERSISTENT, &server->responses[i]);
        if (r == 0)
                r = response_of(index, html, &server->index);
        if (r == 0)
                r = response_of(not_found, plain, &server->not_found);
        if (r == 0)
                r = response_of(not_allowed, plain, &server->not_allowed);
        if (r < 0)
                return r;
        if (MHD_add_response_header(server->not_allowed, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") !=
            MHD_YES)
                return -ENOMEM;
        return 0;
}

static int start_daemon(struct server *server, const struct server_options *options)
{
        server->daemon =
                MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
                                 NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET,
                                 options->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
                                 options->n_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
                                 IDLE_SECONDS, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                                 MHD_OPTION_END);
        return server->daemon ? 0 : -EIO;
}

static int watch(struct server *server, sd_event *event)
{
        const union MHD_DaemonInfo *info;
        int r;

        info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info)
                return -EIO;
        r = sd_event_add_io(event, &server->readable, info->epoll_fd, EPOLLIN, on_readable, server);
        if (r < 0)
                return r;
        /* accuracy 1 us: the default would let a request wait for up to 250 ms more */
        r = sd_event_add_time(event, &server->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer,
                              server);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &server->again, on_again, server);
        if (r < 0)
                return r;
        r = sd_event_source_set_exit_on_failure(server->readable, true);
        if (r >= 0)
                r = sd_event_source_set_exit_on_failure(server->timer, true);
        if (r >= 0)
                r = sd_event_source_set_exit_on_failure(server->again, true);
        return r;
}

int server_new(sd_event *event, const struct pages *pages, const struct server_options *options,
               struct server **ret)
{
        _cleanup_(server_freep) struct server *server = calloc(1, sizeof(*server));
        int r;

        if (!server)
                return -ENOMEM;
        server->pages = pages;
        server->delay_ns = options->delay_ns;
        server->tail = &server->first;
        r = make_responses(server);
        if (r < 0)
                return r;
        if (options->socket) {
                r = scrape_new(event, options->socket, on_scraped, server, &server->scrape);
                if (r < 0)
                        return r;
        }
        r = start_daemon(server, options);
        if (r < 0)
                return r;
        r = watch(server, event);
        if (r < 0)
                return r;
        *ret = steal_ptr(server);
        return 0;
}

struct server *server_free(struct server *server)
{
        if (!server)
                return NULL;
        sd_event_source_disable_unref(server->readable);
        sd_event_source_disable_unref(server->timer);
        sd_event_source_disable_unref(server->again);
        /* libmicrohttpd aborts the process if it is stopped with connections suspended. */
        if (server->daemon) {
                resume_due(server, UINT64_MAX);
                MHD_stop_daemon(server->daemon);
        }
        for (size_t i = 0; i < N_PAGES; ++i)
                response_free(server->responses[i]);
        scrape_free(server->scrape);
        response_free(server->index);
        response_free(server->not_found);
        response_free(server->not_allowed);
        free(server);
        return NULL;
}
