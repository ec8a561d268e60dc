/* `pppctl`, `pppctl help [VERB]`, `VERB --help`: made from the tables of verbs and options. */

#include <stdio.h>

#include "cli/say.h"
#include "cli/verbs.h"
#include "lib/spec.h"

static void show_option(enum option option)
{
        const struct option_info info = option_info(option);
        char left[40];

        snprintf(left, sizeof(left), "%c%c%s--%s%s%s", info.letter ? '-' : ' ', info.letter ?: ' ',
                 info.letter ? ", " : "  ", info.name, info.argument ? " " : "",
                 info.argument ?: "");
        printf("  %-26s %s\n", left, info.help);
}

static void show_options(option_set options)
{
        for (unsigned i = 0; i < _OPTION_N; ++i)
                if (options & OPTION_BIT(i) && option_info(i).help)
                        show_option((enum option)i);
}

void help_show(void)
{
        puts("pppctl runs one workload over many inputs at a chosen level of concurrency,\n"
             "and reports, from the kernel's own counters, what that level cost.\n"
             "\n"
             "usage: pppctl [OPTION...] VERB [ARGUMENT...]\n");
        for (size_t i = 0; verbs[i]; ++i)
                printf("  %-10s %s\n", verbs[i]->name, verbs[i]->what);
        puts("\noptions of all verbs:");
        show_options(OPTIONS_COMMON);
        puts("\nexamples:\n"
             "  pppctl run async                   count the words of four demo pages\n"
             "  pppctl run threads words /etc/services https://example.org/\n"
             "  find . -type f | pppctl run async words --from -\n"
             "  pppctl compare                     the same at every level, and its cost\n"
             "\n"
             "pppctl help VERB shows the help of a verb.");
}

static void show_choice(const char *name, const char *what)
{
        const char *end = strchrnul(what, '\n');

        printf("  %-10s %.*s\n", name, (int)(end - what), what);
        if (*end)
                show_choice("", end + 1);
}

static void show_choices(void)
{
        puts("levels:");
        for (enum level i = 0; i < _LEVEL_N; ++i)
                show_choice(level_name(i), level_info(i)->what);
        puts("\nworkloads:");
        for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                show_choice(workload_name(i), workload_info(i)->what);
        puts("");
}

void help_show_verb(const struct verb *verb)
{
        printf("usage: pppctl %s%s%s\n\n", verb->name, *verb->synopsis ? " " : "", verb->synopsis);
        if (verb->shows_choices)
                show_choices();
        puts(verb->text);
        if (verb->options) {
                puts("\noptions:");
                show_options(verb->options);
        }
        puts("\noptions of all verbs:");
        show_options(OPTIONS_COMMON);
        if (verb->examples)
                printf("\nexamples:\n%s\n", verb->examples);
}

static int run(const struct args *args)
{
        const struct verb *verb;

        if (args->n_operands == 0) {
                help_show();
                return CLI_OK;
        }
        verb = verb_find(args->operands[0]);
        if (!verb)
                return verb_say_unknown(args->operands[0]);
        help_show_verb(verb);
        return CLI_OK;
}

const struct verb verb_help = {
        .name = "help",
        .synopsis = "[VERB]",
        .operands = { OPERAND_VERB },
        .what = "show help about a verb",
        .text = "Shows what a verb does, its options and examples.",
        .examples = "  pppctl help run",
        .run = run,
};
