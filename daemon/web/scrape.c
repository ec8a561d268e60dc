#include "daemon/web/scrape.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lib/patience.h"
#include "lib/varlink.h"

#define ANSWER_USEC (5 * NSEC_PER_SEC / NSEC_PER_USEC)

struct scrape {
        const char *socket;
        int (*answered)(void *userdata);
        void *userdata;

        struct varlink varlink; /* fd -EBADF: no call is under way */
        sd_event *event;
        sd_event_source *io;
        sd_event_source *timer; /* enabled while a call is under way, or failed as it was started */

        struct varlink_message message; /* the last answer: holds @text */
        const char *text;
        char *why; /* why there is no text; NULL: out of memory */
};

static bool is_asking(const struct scrape *scrape)
{
        int enabled = SD_EVENT_OFF;

        return sd_event_source_get_enabled(scrape->timer, &enabled) > 0;
}

static void forget(struct scrape *scrape)
{
        varlink_message_deinit(&scrape->message);
        scrape->message = (struct varlink_message)VARLINK_MESSAGE_NULL;
        scrape->text = NULL;
        free(scrape->why);
        scrape->why = NULL;
}

_printf_(2, 3) static void fail(struct scrape *scrape, const char *format, ...)
{
        va_list ap;
        char *why;

        va_start(ap, format);
        if (vasprintf(&why, format, ap) < 0)
                why = NULL;
        va_end(ap);
        forget(scrape);
        if (why && asprintf(&scrape->why, "cannot get the metrics of pppd at %s: %s\n",
                            scrape->socket, why) < 0)
                scrape->why = NULL;
        free(why);
        fprintf(stderr, "pppd-web: %s", scrape->why ?: "out of memory\n");
}

static void hang_up(struct scrape *scrape)
{
        scrape->io = sd_event_source_disable_unref(scrape->io);
        varlink_deinit(&scrape->varlink);
        scrape->varlink.fd = -EBADF;
}

static int conclude(struct scrape *scrape)
{
        int r;

        hang_up(scrape);
        r = sd_event_source_set_enabled(scrape->timer, SD_EVENT_OFF);
        return r < 0 ? r : scrape->answered(scrape->userdata);
}

/* Takes @message over when it is the answer. */
static void take(struct scrape *scrape, struct varlink_message *message)
{
        const json_t *parameters = json_object_get(message->json, "parameters");
        const char *error = json_string_value(json_object_get(message->json, "error"));
        const char *text = json_string_value(json_object_get(parameters, "openmetrics"));

        if (error) {
                const char *why = json_string_value(json_object_get(parameters, "why"));

                fail(scrape, "it answered %s%s%s", error, why ? ": " : "", why ?: "");
        } else if (!text) {
                fail(scrape, "its answer is not understood; is it of the same version as pppd-web "
                             "(" PPPCTL_VERSION ")?");
        } else {
                forget(scrape);
                scrape->message = *message;
                scrape->text = text;
                *message = (struct varlink_message)VARLINK_MESSAGE_NULL;
        }
}

/* VARLINK_E_AGAIN while there is no whole answer; else there is one, or a reason why not. */
static int receive(struct scrape *scrape)
{
        _cleanup_(varlink_message_deinit) struct varlink_message message = VARLINK_MESSAGE_NULL;
        const char *why = NULL;
        int r;

        r = varlink_receive(&scrape->varlink, &message, &why);
        if (r == 0)
                take(scrape, &message);
        else if (r == VARLINK_E_EOF)
                fail(scrape, "it closed the connection");
        else if (r == VARLINK_E_INVALID)
                fail(scrape, "its answer is no Varlink: %s", why);
        else if (r < 0)
                fail(scrape, "%s", strerror(-r));
        return r;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct scrape *scrape = userdata;
        int r = 0;

        if (varlink_wants_write(&scrape->varlink))
                r = varlink_flush(&scrape->varlink);
        if (r >= 0 && !varlink_wants_write(&scrape->varlink))
                r = sd_event_source_set_io_events(source, EPOLLIN);
        if (r < 0) {
                fail(scrape, "%s", strerror(-r));
                return conclude(scrape);
        }
        return receive(scrape) == VARLINK_E_AGAIN ? 0 : conclude(scrape);
}

/* The time is up, or the call failed as it was started. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct scrape *scrape = userdata;

        if (scrape->varlink.fd >= 0)
                fail(scrape, "it does not answer; see its log (journalctl -u pppd)");
        return conclude(scrape);
}

static int call(struct scrape *scrape)
{
        int r, fd;

        r = varlink_connect(scrape->socket, SOCK_NONBLOCK, &fd);
        if (r < 0)
                return r;
        varlink_init_consume(&scrape->varlink, fd);
        r = varlink_call(&scrape->varlink, "io.pppctl.Jobs.Metrics", NULL, false, NULL, 0);
        if (r < 0)
                return r;
        r = sd_event_add_io(scrape->event, &scrape->io, fd,
                            EPOLLIN | (varlink_wants_write(&scrape->varlink) ? EPOLLOUT : 0), on_io,
                            scrape);
        return r < 0 ? r : sd_event_source_set_exit_on_failure(scrape->io, true);
}

void scrape_ask(struct scrape *scrape)
{
        int r;

        if (is_asking(scrape))
                return;
        r = call(scrape);
        if (r < 0) {
                fail(scrape, "%s%s", strerror(-r),
                     r == -EACCES ? "; the user that runs pppd-web must be in the socket's group"
                                  : "");
                hang_up(scrape);
        }
        r = sd_event_source_set_time_relative(scrape->timer, r < 0 ? 0 : patience(ANSWER_USEC));
        if (r >= 0)
                r = sd_event_source_set_enabled(scrape->timer, SD_EVENT_ONESHOT);
        assert(r >= 0);
}

const char *scrape_text(const struct scrape *scrape, const char **ret_why)
{
        *ret_why = scrape->why ?: "out of memory\n";
        return scrape->text;
}

int scrape_new(sd_event *event, const char *socket, int (*answered)(void *userdata), void *userdata,
               struct scrape **ret)
{
        _cleanup_(scrape_freep) struct scrape *scrape = calloc(1, sizeof(*scrape));
        int r;

        if (!scrape)
                return -ENOMEM;
        *scrape = (struct scrape){
                .socket = socket,
                .answered = answered,
                .userdata = userdata,
                .varlink = { .fd = -EBADF },
                .event = sd_event_ref(event),
                .message = VARLINK_MESSAGE_NULL,
        };
        r = sd_event_add_time(event, &scrape->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer,
                              scrape);
        if (r >= 0)
                r = sd_event_source_set_enabled(scrape->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_exit_on_failure(scrape->timer, true);
        if (r < 0)
                return r;
        *ret = steal_ptr(scrape);
        return 0;
}

struct scrape *scrape_free(struct scrape *scrape)
{
        if (!scrape)
                return NULL;
        hang_up(scrape);
        forget(scrape);
        sd_event_source_disable_unref(scrape->timer);
        sd_event_unref(scrape->event);
        free(scrape);
        return NULL;
}
