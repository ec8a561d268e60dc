#include "cli/verbs.h"

#include <signal.h>
#include <stdio.h>

#include "cli/complete.h"
#include "cli/say.h"
#include "cli/suggest.h"

const struct verb *const verbs[] = {
        &verb_run,      &verb_compare, &verb_list,    &verb_show,  &verb_results, &verb_logs,
        &verb_timeline, &verb_wait,    &verb_cancel,  &verb_pause, &verb_resume,  &verb_rerun,
        &verb_nodes,    &verb_doctor,  &verb_metrics, &verb_talk,  &verb_help,    NULL,
};

const struct verb *verb_find(const char *name)
{
        for (size_t i = 0; verbs[i]; ++i)
                if (streq(verbs[i]->name, name))
                        return verbs[i];
        return NULL;
}

int verb_say_unknown(const char *name)
{
        const char *names[ARRAY_SIZE(verbs)];
        size_t n = 0;

        for (; verbs[n]; ++n)
                names[n] = verbs[n]->name;
        return cli_fail(CLI_USAGE, "there is no verb \"%s\"%s", name,
                        *suggest_text(name, names, n) ? suggest_text(name, names, n)
                                                      : "; pppctl --help lists them");
}

static int run_verb(const struct args *args)
{
        const struct verb *verb = verb_find(args->verb);
        int r;

        if (!verb)
                return verb_say_unknown(args->verb);
        if (args_has(args, OPTION_HELP)) {
                help_show_verb(verb);
                return CLI_OK;
        }
        r = args_check(args, verb->name, verb->options | OPTIONS_COMMON);
        if (r)
                return r;
        progress_enable(args_has(args, OPTION_QUIET), args->color);
        return verb->run(args);
}

int pppctl(int argc, char **argv)
{
        _cleanup_(args_deinit) struct args args = ARGS_NULL;
        int r;

        /* A reader that leaves is an error of write(2), handled where it is met. */
        (void)signal(SIGPIPE, SIG_IGN);
        if (argc > 1 && streq(argv[1], "--complete"))
                return complete(argc - 2, argv + 2);
        r = args_parse(argc, argv, &args);
        if (r)
                return r;
        if (args_has(&args, OPTION_VERSION)) {
                puts("pppctl " PPPCTL_VERSION);
                return CLI_OK;
        }
        if (args.verb)
                return run_verb(&args);
        help_show();
        return CLI_OK;
}
