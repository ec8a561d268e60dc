#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "cli/units.h"
#include "cli/visible.h"

#define BAR_COLUMNS 24
#define BAR_FROM_NS (300 * NSEC_PER_MSEC)
#define LINE_SIZE   512
#define CLEAR_LINE  "\r\033[K"

static struct {
        bool enabled, color, shown;
} bar;

static bool terminal_is_smart(void)
{
        const char *term = getenv("TERM");

        return term && *term && !streq(term, "dumb");
}

bool progress_use_color(enum progress_color color, int fd)
{
        const char *no_color = getenv("NO_COLOR");

        if (color != PROGRESS_COLOR_AUTO)
                return color == PROGRESS_COLOR_ALWAYS;
        return !(no_color && *no_color) && isatty(fd) && terminal_is_smart();
}

void progress_enable(bool quiet, enum progress_color color)
{
        bar.enabled = !quiet && isatty(STDERR_FILENO) && terminal_is_smart();
        bar.color = bar.enabled && progress_use_color(color, STDERR_FILENO);
}

static void format_gauge(const struct progress_state *state, char gauge[BAR_COLUMNS + 3])
{
        size_t full = state->total
                              ? (size_t)((double)state->done / (double)state->total * BAR_COLUMNS)
                              : 0;

        full = MIN(full, (size_t)BAR_COLUMNS);
        gauge[0] = '[';
        memset(gauge + 1, '=', full);
        memset(gauge + 1 + full, ' ', BAR_COLUMNS - full);
        if (full < BAR_COLUMNS)
                gauge[1 + full] = '>';
        gauge[BAR_COLUMNS + 1] = ']';
        gauge[BAR_COLUMNS + 2] = 0;
}

static double seconds_left(const struct progress_state *state)
{
        double per_task = (double)state->elapsed_ns / 1e9 / (double)state->done;

        return per_task * (double)(state->total - state->done);
}

/* Most important first: what does not fit is cut at the right. */
void progress_format(const struct progress_state *state, size_t columns, char *line, size_t size)
{
        char gauge[BAR_COLUMNS + 3], failed[48] = "", left[80] = "", time[UNITS_SIZE],
                                     rate[UNITS_SIZE];
        double seconds = (double)state->elapsed_ns / 1e9;

        format_gauge(state, gauge);
        if (state->failed > 0)
                snprintf(failed, sizeof(failed), ", %" PRIu64 " failed", state->failed);
        if (state->note)
                snprintf(left, sizeof(left), ", %s", state->note);
        else if (state->done > 0 && state->done < state->total && seconds > 0)
                snprintf(left, sizeof(left), "  %s/s, %s left",
                         units_rate((double)state->done / seconds, rate),
                         units_seconds(seconds_left(state), time));
        snprintf(line, MIN(size, columns), "%s %s %" PRIu64 " of %" PRIu64 "%s%s", state->label,
                 gauge, state->done, state->total, failed, left);
}

static size_t terminal_columns(void)
{
        struct winsize ws;

        return ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ? ws.ws_col : 80;
}

void progress_draw(const struct progress_state *state)
{
        char line[LINE_SIZE];

        if (!bar.enabled || state->elapsed_ns < BAR_FROM_NS)
                return;
        progress_format(state, terminal_columns(), line, sizeof(line));
        fputs(bar.color ? CLEAR_LINE "\033[2m" : CLEAR_LINE, stderr);
        visible_put(stderr, line, strlen(line));
        fputs(bar.color ? "\033[0m" : "", stderr);
        (void)fflush(stderr);
        bar.shown = true;
}

void progress_clear(void)
{
        if (!bar.shown)
                return;
        fputs(CLEAR_LINE, stderr);
        (void)fflush(stderr);
        bar.shown = false;
}
