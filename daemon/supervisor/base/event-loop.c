#include "daemon/supervisor/base/event-loop.h"

#include <inttypes.h>

#include "daemon/supervisor/base/log.h"

#define LOGGED_NS (250 * NSEC_PER_MSEC)

/* A process has one loop, just as it has one log. */
static struct {
        const char *doing;
        uint64_t longest_ns;
        struct log_limit log;
} loop;

void event_loop_doing(const char *what)
{
        loop.doing = what;
}

uint64_t event_loop_longest_ns(void)
{
        return loop.longest_ns;
}

static void note(uint64_t ns)
{
        loop.longest_ns = MAX(loop.longest_ns, ns);
        if (ns >= LOGGED_NS)
                supervisor_log_limited(&loop.log, LOG_NOTICE,
                                       "the event loop was busy for %" PRIu64 " ms with: %s",
                                       ns / NSEC_PER_MSEC, loop.doing);
}

static int dispatch(sd_event *event)
{
        uint64_t began_ns = now_monotonic();
        int r;

        loop.doing = "an event of a job, a child or a timer";
        r = sd_event_dispatch(event);
        note(now_monotonic() - began_ns);
        return r;
}

int event_loop_run(sd_event *event)
{
        int r, code;

        while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
                r = sd_event_prepare(event);
                if (r == 0)
                        r = sd_event_wait(event, UINT64_MAX);
                if (r > 0)
                        r = dispatch(event);
                if (r < 0)
                        return r;
        }
        r = sd_event_get_exit_code(event, &code);
        return r < 0 ? r : code;
}

int event_loop_arm(sd_event *event, sd_event_source **source, uint64_t usec,
                   sd_event_time_handler_t handler, void *userdata)
{
        int r;

        if (!*source)
                return sd_event_add_time_relative(event, source, CLOCK_MONOTONIC, usec, 1000,
                                                  handler, userdata);
        r = sd_event_source_set_time_relative(*source, usec);
        return r < 0 ? r : sd_event_source_set_enabled(*source, SD_EVENT_ONESHOT);
}
