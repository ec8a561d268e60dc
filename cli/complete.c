/*
 * `pppctl --complete WORD...`: what the last word may become, for the shells' completions. The
 * words are those after "pppctl", up to the one that is being typed, which may be empty. Each line
 * of the answer is a word, and after a tab what it is. ":files" instead asks for the names of
 * files, and ":nospace" before the words says that more may follow them.
 */

#include "cli/complete.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/client.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/talk.h"
#include "cli/verbs.h"
#include "cli/visible.h"
#include "lib/spec.h"

#define JOBS_SHOWN     50
#define ANSWER_SECONDS 2

/* The command line before the word that is being typed. */
struct line {
        const char *verb_name;   /* NULL: none yet */
        const struct verb *verb; /* NULL: or none of this name */
        size_t n_operands;       /* after it */
        enum option option;      /* whose value it is; _OPTION_N: none's */
        bool only_operands;      /* "--" was there */
};

static void offer(const char *typed, const char *before, const char *word, const char *what)
{
        if (strncmp(word, typed, strlen(typed)) == 0)
                printf("%s%s%s%.*s\n", before, word, what ? "\t" : "",
                       what ? (int)strcspn(what, "\n") : 0, what ?: "");
}

/* The option whose value the next word is; _OPTION_N where this word needs none. */
static enum option option_without_value(const char *word)
{
        enum option option = word[1] == '-' ? option_by_name(word + 2, strlen(word + 2))
                                            : option_by_letter(word[strlen(word) - 1]);

        return option < _OPTION_N && option_info(option).argument ? option : _OPTION_N;
}

static void take_word(struct line *line, const char *word)
{
        if (line->option < _OPTION_N) {
                line->option = _OPTION_N;
        } else if (line->only_operands || word[0] != '-' || !word[1]) {
                if (line->verb_name) {
                        ++line->n_operands;
                } else {
                        line->verb_name = word;
                        line->verb = verb_find(word);
                }
        } else if (streq(word, "--")) {
                line->only_operands = true;
        } else if (!strchr(word, '=')) {
                line->option = option_without_value(word);
        }
}

static void offer_levels(const char *typed, const char *before)
{
        for (enum level i = 0; i < _LEVEL_N; ++i)
                offer(typed, before, level_name(i), level_info(i)->what);
}

static void offer_executors(const char *typed, const char *before, bool with_level)
{
        for (enum executor i = EXECUTOR_NONE + 1; i < _EXECUTOR_N; ++i)
                offer(typed, before, with_level ? executor_infos[i].level : executor_infos[i].name,
                      executor_infos[i].what);
}

/* "serial,thr": the last name of the list. */
static void offer_level_list(const char *typed)
{
        const char *comma = strrchr(typed, ',');
        _cleanup_free_ char *before = strndup(typed, comma ? (size_t)(comma + 1 - typed) : 0);

        puts(":nospace");
        if (before) {
                offer_levels(comma ? comma + 1 : typed, before);
                offer_executors(comma ? comma + 1 : typed, before, true);
        }
}

static void offer_value(enum option option, const char *typed)
{
        switch (option) {
        case OPTION_SOCKET:
        case OPTION_FROM:
        case OPTION_CA_FILE:
        case OPTION_CD:
                puts(":files");
                break;
        case OPTION_LEVELS:
                offer_level_list(typed);
                break;
        case OPTION_EXECUTOR:
                offer_executors(typed, "", false);
                break;
        case OPTION_OUTPUT:
                for (size_t i = 0; output_names[i]; ++i)
                        offer(typed, "", output_names[i], NULL);
                break;
        case OPTION_FORMAT:
                for (size_t i = 0; format_names[i]; ++i)
                        offer(typed, "", format_names[i], NULL);
                break;
        case OPTION_COLOR:
                for (size_t i = 0; color_names[i]; ++i)
                        offer(typed, "", color_names[i], NULL);
                break;
        default:
                break;
        }
}

static void offer_options(const struct verb *verb, const char *typed)
{
        option_set options = OPTIONS_COMMON | (verb ? verb->options : 0);
        char name[64];

        for (enum option i = 0; i < _OPTION_N; ++i) {
                /* Of two names of an option, one is enough. */
                if (!(options & OPTION_BIT(i)) || i == OPTION_TIMEOUT)
                        continue;
                snprintf(name, sizeof(name), "--%s", option_info(i).name);
                offer(typed, "", name, option_info(i).help);
        }
}

static void offer_job(const char *typed, json_t *job)
{
        json_t *spec = json_object_get(job, "spec");
        _cleanup_free_ char *shown = NULL;
        char number[24], what[256];

        snprintf(number, sizeof(number), "%" PRIu64, job_number(job));
        snprintf(what, sizeof(what), "%s %s %s", job_text(job, "state"), job_text(spec, "level"),
                 job_text(spec, "workload"));
        shown = visible_text(what);
        offer(typed, "", number, shown);
}

/* Where no daemon answers there are none; a shell shows no error. */
static void offer_jobs(const struct args *args, const char *typed)
{
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        bool continues = true;

        /* The user is at the keyboard: a daemon that does not answer is not waited for longer. */
        (void)alarm(ANSWER_SECONDS);
        if (pppd_open(&pppd, args) ||
            pppd_call(&pppd, "list the jobs", "List", json_pack("{s:i}", "limit", JOBS_SHOWN), true,
                      -EBADF))
                return;
        while (continues) {
                _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;

                if (pppd_receive(&pppd, &reply))
                        return;
                continues = reply.continues;
                if (json_is_object(json_object_get(reply.parameters, "job")))
                        offer_job(typed, json_object_get(reply.parameters, "job"));
        }
}

static void offer_verbs(const char *typed)
{
        for (size_t i = 0; verbs[i]; ++i)
                offer(typed, "", verbs[i]->name, verbs[i]->what);
}

static void offer_operand(const struct args *args, enum operand operand, const char *typed)
{
        switch (operand) {
        case OPERAND_NONE:
                break;
        case OPERAND_LEVEL:
                offer_levels(typed, "");
                break;
        case OPERAND_WORKLOAD:
                for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                        offer(typed, "", workload_name(i), workload_info(i)->what);
                break;
        case OPERAND_INPUT:
                puts(":files");
                break;
        case OPERAND_JOB:
        case OPERAND_JOBS:
                offer_jobs(args, typed);
                break;
        case OPERAND_VERB:
                offer_verbs(typed);
                break;
        case OPERAND_CHAPTER:
                for (size_t i = 0; talk_chapters[i]; ++i)
                        offer(typed, "", talk_chapters[i]->name, talk_chapters[i]->title);
                break;
        }
}

/* Inputs and jobs may be many. */
static enum operand operand_at(const struct verb *verb, size_t i)
{
        for (size_t k = 0; k < VERB_OPERANDS_MAX && verb->operands[k] != OPERAND_NONE; ++k)
                if (k == i || verb->operands[k] == OPERAND_INPUT ||
                    verb->operands[k] == OPERAND_JOBS)
                        return verb->operands[k];
        return OPERAND_NONE;
}

static void offer_word(const struct args *args, const struct line *line, const char *typed)
{
        const char *value = strchr(typed, '=');
        enum option option = line->option;

        if (option < _OPTION_N) {
                offer_value(option, streq(typed, "=") ? "" : typed);
        } else if (line->only_operands || typed[0] != '-') {
                if (line->verb)
                        offer_operand(args, operand_at(line->verb, line->n_operands), typed);
                else if (!line->verb_name)
                        offer_verbs(typed);
        } else if (!value) {
                offer_options(line->verb, typed);
        } else {
                option = option_by_name(typed + 2, (size_t)(value - typed - 2));
                if (option < _OPTION_N)
                        offer_value(option, value + 1);
        }
}

/* Some shells make "--option", "=" and "value" of "--option=value". */
static int drop_equals(int n_words, char **words)
{
        int n = 0;

        for (int i = 0; i < n_words; ++i)
                if (!streq(words[i], "="))
                        words[n++] = words[i];
        return n;
}

int complete(int n_words, char **words)
{
        _cleanup_(args_deinit) struct args args = ARGS_NULL;
        struct line line = { .option = _OPTION_N };
        const char *typed = n_words > 0 ? words[n_words - 1] : "";
        int n = drop_equals(n_words - 1, words);

        for (int i = 0; i < n; ++i)
                take_word(&line, words[i]);
        /* For the daemon that it names. What is wrong with the line is told when it is run. */
        (void)args_parse(n + 1, words - 1, &args);
        offer_word(&args, &line, typed);
        return CLI_OK;
}
