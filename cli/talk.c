/* `pppctl talk`: the levels of concurrency, shown on this machine, chapter by chapter. */

#include "cli/talk.h"

#include <poll.h>
#include <stdio.h>
#include <termios.h>

#include "cli/say.h"
#include "cli/signals.h"
#include "cli/suggest.h"
#include "cli/timeline-jobs.h"
#include "cli/verbs.h"

#define WIDTH_MAX 100 /* of text: longer lines are hard to read */

const struct talk_chapter *const talk_chapters[] = {
        &talk_serial, &talk_machines, &talk_processes, &talk_threads, &talk_lock,
        &talk_async,  &talk_loop,     &talk_scaling,   &talk_levels,  NULL,
};

#define N_CHAPTERS (ARRAY_SIZE(talk_chapters) - 1)

static const char *const questions[][2] = {
        { "Which level fits my own work?", "pppctl compare words --from FILE" },
        { "What did a job cost, and what limited it?", "pppctl show JOB" },
        { "What can this machine limit and measure?", "pppctl doctor" },
};

static int find(const char *name, const struct talk_chapter **ret)
{
        const char *names[N_CHAPTERS];

        for (size_t i = 0; i < N_CHAPTERS; ++i) {
                names[i] = talk_chapters[i]->name;
                if (streq(name, names[i])) {
                        *ret = talk_chapters[i];
                        return 0;
                }
        }
        return cli_fail(CLI_USAGE, "there is no chapter \"%s\"%s", name,
                        *suggest_text(name, names, N_CHAPTERS)
                                ? suggest_text(name, names, N_CHAPTERS)
                                : "; pppctl talk --list names them");
}

static int list(struct output *output)
{
        for (size_t i = 0; i < N_CHAPTERS; ++i)
                output_line(output, "%-10s %s", talk_chapters[i]->name, talk_chapters[i]->title);
        return output_finish(output);
}

/* Waits for a key, without the terminal's line. Returns 0, or CLI_INTERRUPTED. */
static int read_key(int signal_fd, char *ret)
{
        struct pollfd fds[] = {
                { .fd = STDIN_FILENO, .events = POLLIN },
                { .fd = signal_fd, .events = POLLIN },
        };
        struct termios before, raw;
        int r = 0;

        *ret = 'q';
        if (tcgetattr(STDIN_FILENO, &before) < 0)
                return 0;
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
                ;
        if (fds[1].revents)
                r = CLI_INTERRUPTED;
        else if (read(STDIN_FILENO, ret, 1) <= 0)
                *ret = 'q';
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
        return r;
}

/* Between two chapters. *ret_on: whether the reader wants the next one. */
static int turn_page(struct talk *talk, const struct talk_chapter *next, bool *ret_on)
{
        char key;
        int r;

        *ret_on = true;
        if (!talk->pauses)
                return 0;
        if (!output_flush(&talk->output))
                return output_finish(&talk->output);
        fprintf(stderr, "\n-- any key: %s, q: end -- ", next->title);
        r = read_key(talk->pppd.signal_fd, &key);
        fputs("\r\033[K", stderr);
        *ret_on = r == 0 && key != 'q' && key != 'Q';
        return r;
}

static void ask_questions(struct talk *talk)
{
        talk_gap(talk);
        for (size_t i = 0; i < ARRAY_SIZE(questions); ++i)
                talk_line(talk, "%-43s %s", questions[i][0], questions[i][1]);
}

static int show_all(struct talk *talk, json_t *pages)
{
        bool on = true;
        int r = 0;

        for (size_t i = 0; r == 0 && on && i < N_CHAPTERS; ++i) {
                if (i > 0)
                        r = turn_page(talk, talk_chapters[i], &on);
                if (r == 0 && on)
                        r = talk_show(talk, talk_chapters[i], (unsigned)i + 1, N_CHAPTERS);
                if (r == 0 && on && json_array_append_new(pages, talk_page_json(talk)) < 0)
                        r = cli_no_memory();
        }
        if (r == 0 && on)
                ask_questions(talk);
        return r;
}

static int show_one(struct talk *talk, const char *name, json_t *pages)
{
        const struct talk_chapter *chapter;
        int r = find(name, &chapter);

        if (r == 0)
                r = talk_show(talk, chapter, 1, 1);
        if (r == 0 && json_array_append_new(pages, talk_page_json(talk)) < 0)
                r = cli_no_memory();
        return r;
}

static int print_json(struct talk *talk, json_t *pages)
{
        json_t *all = json_pack("{s:s, s:s, s:O}", "schema", "io.pppctl.talk", "version",
                                PPPCTL_VERSION, "chapters", pages);

        int r = all ? output_json(&talk->output, all, JSON_COMPACT) : cli_no_memory();

        json_decref(all);
        return r;
}

static int show(struct talk *talk, const struct args *args)
{
        json_t *pages = json_array();
        int r;

        if (!pages)
                return cli_no_memory();
        r = args->n_operands > 0 ? show_one(talk, args->operands[0], pages) : show_all(talk, pages);
        if (r == 0 && talk->json)
                r = print_json(talk, pages);
        json_decref(pages);
        return r ? r : output_finish(&talk->output);
}

static int run(const struct args *args)
{
        _cleanup_close_ int signal_fd = -EBADF;
        const struct talk_chapter *chapter;
        struct talk talk = {
                .args = args,
                .pppd = PPPD_NULL,
                .json = args_has(args, OPTION_JSON),
                .color = progress_use_color(args->color, STDOUT_FILENO),
                .width = MIN(timeline_width(), (size_t)WIDTH_MAX),
        };
        int r = 0;

        talk.pauses = !talk.json && !args_has(args, OPTION_NO_PAUSE) && isatty(STDIN_FILENO) &&
                      isatty(STDOUT_FILENO);
        output_init(&talk.output, false);
        if (args_has(args, OPTION_LIST))
                return list(&talk.output);
        if (args->n_operands > 1)
                return cli_fail(CLI_USAGE,
                                "talk takes one chapter, or none for all: \"%s\" is too much",
                                args->operands[1]);
        if (args->n_operands > 0)
                r = find(args->operands[0], &chapter);
        if (r == 0)
                r = pppd_open(&talk.pppd, args);
        if (r == 0)
                r = signals_open(&signal_fd);
        talk.pppd.signal_fd = signal_fd;
        talk.pppd.return_ns = PPPD_RETURN_NS;
        talk.pppd.quiet = true;
        if (r == 0)
                r = show(&talk, args);
        talk_page_deinit(&talk);
        pppd_close(&talk.pppd);
        return r;
}

const struct verb verb_talk = {
        .name = "talk",
        .synopsis = "[CHAPTER]",
        .operands = { OPERAND_CHAPTER },
        .what = "show what each level is good for, on this machine",
        .text = "Runs small jobs at every level, chapter by chapter, prints what they measured, "
                "and\n"
                "says in a line what that shows, or that it does not hold on this machine. All\n"
                "chapters take less than a minute. On a terminal it waits for a key between them.\n"
                "It needs no network, no configuration and no root; what is missing (io_uring,\n"
                "Redis, controllers of cgroups) is named where it would be used.",
        .examples = "  pppctl talk\n"
                    "  pppctl talk async\n"
                    "  pppctl talk --json | jq '.chapters[].facts'",
        .options = OPTION_BIT(OPTION_LIST) | OPTION_BIT(OPTION_NO_PAUSE) |
                   OPTION_BIT(OPTION_ASCII) | OPTION_BIT(OPTION_JSON),
        .run = run,
};
