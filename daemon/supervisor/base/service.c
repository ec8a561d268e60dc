#include "daemon/supervisor/base/service.h"

#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/base/notify.h"

#define STATUS_USEC UINT64_C(500000)

static void tell(const char *text)
{
        int r = notify_send(text, true);

        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot tell systemd \"%.*s\": %s",
                               (int)strcspn(text, "\n"), text, strerror(-r));
}

static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *si,
                          void *userdata)
{
        struct service *service = userdata;

        supervisor_log(LOG_INFO, "stopping (%s)", si->ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
        service->stop(service);
        return 0;
}

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *si,
                            void *userdata)
{
        struct service *service = userdata;

        service->reload(service);
        return 0;
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct service *service = userdata;
        int r;

        if (service->check(service))
                tell("WATCHDOG=1");
        r = sd_event_source_set_time_relative(source, service->watchdog_usec);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int init_watchdog(struct service *service, sd_event *event)
{
        uint64_t usec;
        int r;

        r = sd_watchdog_enabled(1, &usec);
        if (r <= 0)
                return r;
        service->watchdog_usec = MAX(usec / 2, 1U);
        return sd_event_add_time_relative(event, &service->watchdog_source, CLOCK_MONOTONIC, 0,
                                          1000, on_watchdog, service);
}

static int on_status(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct service *service = userdata;
        char text[96];

        snprintf(text, sizeof(text), "STATUS=%u %s running, %u queued", service->n_running,
                 service->n_running == 1 ? "job" : "jobs", service->n_queued);
        /* This does not wait for room: by then the status would be outdated. */
        (void)notify_send(text, false);
        return 0;
}

int service_init(struct service *service, sd_event *event, void (*stop)(struct service *),
                 void (*reload)(struct service *), bool (*check)(struct service *))
{
        int r;

        *service = (struct service){ .stop = stop, .reload = reload, .check = check };
        r = sd_event_add_signal(event, &service->term_source, SIGTERM, on_stop_signal, service);
        if (r >= 0)
                r = sd_event_add_signal(event, &service->int_source, SIGINT, on_stop_signal,
                                        service);
        if (r >= 0)
                r = sd_event_add_signal(event, &service->hup_source, SIGHUP, on_reload_signal,
                                        service);
        if (r >= 0)
                r = sd_event_add_time(event, &service->status_source, CLOCK_MONOTONIC, 0, 0,
                                      on_status, service);
        if (r >= 0)
                r = sd_event_source_set_enabled(service->status_source, SD_EVENT_OFF);
        return r < 0 ? r : init_watchdog(service, event);
}

void service_deinit(struct service *service)
{
        service->term_source = sd_event_source_disable_unref(service->term_source);
        service->int_source = sd_event_source_disable_unref(service->int_source);
        service->hup_source = sd_event_source_disable_unref(service->hup_source);
        service->watchdog_source = sd_event_source_disable_unref(service->watchdog_source);
        service->status_source = sd_event_source_disable_unref(service->status_source);
}

void service_set_ready(struct service *service)
{
        tell("READY=1");
}

void service_set_reloading(struct service *service)
{
        char text[64];

        snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
                 (unsigned long long)(now_monotonic() / NSEC_PER_USEC));
        tell(text);
}

void service_set_stopping(struct service *service)
{
        tell("STOPPING=1");
}

void service_set_status(struct service *service, unsigned n_running, unsigned n_queued)
{
        int armed = SD_EVENT_OFF;

        service->n_running = n_running;
        service->n_queued = n_queued;
        if (!service->status_source || !getenv("NOTIFY_SOCKET"))
                return;
        (void)sd_event_source_get_enabled(service->status_source, &armed);
        if (armed == SD_EVENT_OFF &&
            sd_event_source_set_time_relative(service->status_source, STATUS_USEC) >= 0)
                (void)sd_event_source_set_enabled(service->status_source, SD_EVENT_ONESHOT);
}
