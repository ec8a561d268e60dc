#include "cli/command.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/say.h"

#define SEPARATOR ":::"

/* The directories of programs, where the caller's are not for others to know. */
#define PATH_OF_OTHERS "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Strings that a message can hold are UTF-8. */
static bool is_text(const char *string)
{
        json_t *json = json_string(string);

        json_decref(json);
        return json;
}

/* Where ::: is among the operands; their number if it is not. */
static size_t find_separator(const struct args *args)
{
        size_t i = args->n_before;

        while (i < args->n_operands && !streq(args->operands[i], SEPARATOR))
                ++i;
        return i;
}

static int copy_words(char *const *words, size_t n, struct command *command)
{
        command->words = calloc(n + 1, sizeof(*command->words));
        if (!command->words)
                return cli_no_memory();
        for (size_t i = 0; i < n; ++i) {
                if (!is_text(words[i]))
                        return cli_fail(CLI_USAGE,
                                        "word %zu of the command is not in UTF-8, and cannot be "
                                        "sent; give what is not as an input: " SEPARATOR
                                        " INPUT..., or --from FILE",
                                        i + 1);
                command->words[i] = strdup(words[i]);
                if (!command->words[i])
                        return cli_no_memory();
                ++command->n_words;
        }
        return 0;
}

static int choose_words(const struct args *args, const char *call, size_t n_call,
                        struct command *command)
{
        size_t end = find_separator(args);

        if (args->n_before > n_call)
                return cli_fail(CLI_USAGE,
                                "the command goes behind --, and inputs behind " SEPARATOR
                                ", so \"%s\" is too much: pppctl %s -- gzip -9 {} " SEPARATOR
                                " a b",
                                args->operands[n_call], call);
        if (end == args->n_before)
                return cli_fail(CLI_USAGE,
                                "exec needs a command, behind --: pppctl %s -- gzip -9 {}", call);
        return copy_words(args->operands + args->n_before, end - args->n_before, command);
}

static int choose_directory(const char *directory, char **ret)
{
        char *absolute = realpath(directory, NULL);
        struct stat st;

        if (!absolute)
                return cli_fail(CLI_USAGE, "cannot run commands in --cd %s: %s", directory,
                                strerrordesc_np(errno));
        if (stat(absolute, &st) < 0 || !S_ISDIR(st.st_mode) || !is_text(absolute)) {
                bool named = is_text(absolute);

                free(absolute);
                return cli_fail(CLI_USAGE, "cannot run commands in --cd %s: %s", directory,
                                named ? "it is no directory"
                                      : "its name is not in UTF-8, and cannot be sent");
        }
        *ret = absolute;
        return 0;
}

int command_choose(const struct args *args, const char *call, size_t n_call, struct command *ret)
{
        int r;

        *ret = (struct command){
                .shell = args_has(args, OPTION_SHELL),
                .input =
                        args_has(args, OPTION_STDIN) ? COMMAND_INPUT_STDIN : COMMAND_INPUT_ARGUMENT,
                .no_group = args_has(args, OPTION_NO_TASK_CGROUP),
                .output_max = args->output_max,
                .retry_memory = args->retry_memory,
                .kill_after_ns = args->kill_after_ns,
        };
        r = choose_words(args, call, n_call, ret);
        if (r == 0 && args->directory)
                r = choose_directory(args->directory, &ret->directory);
        return r;
}

/* A terminal, or /dev/null as of cron and systemd, is no list. */
static bool is_list(int fd)
{
        struct stat st;

        return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode));
}

/* The only task is called like the command. */
static int open_without_inputs(struct command *command, struct source *source)
{
        _cleanup_free_ char *text = command_line(command);
        char *operands[] = { text, NULL };

        if (!text)
                return cli_no_memory();
        for (char *c = text; *c; ++c)
                if (*c == '\n' || *c == '\r')
                        *c = ' ';
        if (strlen(text) > INPUT_MAX)
                text[utf8_prefix(text, INPUT_MAX)] = 0;
        command->input = COMMAND_INPUT_NONE;
        source->may_be_empty = source->ends_with_nul = false;
        return source_open(source, WORKLOAD_EXEC, NULL, operands, 1);
}

int command_open_source(const struct args *args, struct command *command, struct source *source)
{
        size_t separator = find_separator(args);
        const char *from = args->from;

        source->may_be_empty = true;
        source->ends_with_nul = args_has(args, OPTION_NULL);
        if (separator < args->n_operands && args->n_operands - separator > 1)
                return source_open(source, WORKLOAD_EXEC, from, args->operands + separator + 1,
                                   args->n_operands - separator - 1);
        if (separator < args->n_operands && !from) {
                source->is_empty = true;
                return 0;
        }
        if (!from && is_list(STDIN_FILENO))
                from = "-";
        if (from)
                return source_open(source, WORKLOAD_EXEC, from, NULL, 0);
        if (command->input == COMMAND_INPUT_STDIN)
                return cli_fail(CLI_USAGE,
                                "--stdin gives each command its input, and there is none; list "
                                "them with --from FILE or behind " SEPARATOR);
        return open_without_inputs(command, source);
}

/* A variable replaces an earlier one of its name. */
static int set_variable(struct command *command, const char *variable)
{
        size_t n_name = strcspn(variable, "=") + 1, i = 0;
        char *copy = strdup(variable);

        if (!copy)
                return cli_no_memory();
        while (i < command->n_environment &&
               strncmp(command->environment[i], variable, n_name) != 0)
                ++i;
        free(command->environment[i]);
        command->environment[i] = copy;
        command->n_environment = MAX(command->n_environment, i + 1);
        return 0;
}

static int add_option(struct command *command, const char *option)
{
        _cleanup_free_ char *variable = NULL;
        const char *value;

        if (!is_text(option))
                return cli_fail(CLI_USAGE,
                                "--env: the variable is not in UTF-8, and cannot be sent");
        if (strchr(option, '='))
                return set_variable(command, option);
        value = getenv(option);
        if (value && !is_text(value))
                return cli_fail(CLI_USAGE,
                                "--env %s: its value is not in UTF-8, and cannot be sent", option);
        if (!value)
                return cli_fail(CLI_USAGE,
                                "--env %s: there is no such variable here; give its value: --env "
                                "%s=VALUE",
                                option, option);
        if (asprintf(&variable, "%s=%s", option, value) < 0)
                return cli_no_memory();
        return set_variable(command, variable);
}

static int add_own(struct command *command, bool quiet)
{
        for (char **variable = environ; *variable; ++variable) {
                int r = 0;

                if (is_text(*variable) && strchr(*variable + !!**variable, '='))
                        r = set_variable(command, *variable);
                else if (!quiet)
                        cli_note("the variable %.*s is not in UTF-8, and commands run without it",
                                 (int)strcspn(*variable, "="), *variable);
                if (r)
                        return r;
        }
        return 0;
}

static int surround_environment(const struct args *args, bool own, struct command *command)
{
        size_t n = args->n_environment + 1;
        int r;

        for (char **variable = environ; own && *variable; ++variable)
                ++n;
        command->environment = calloc(n + 1, sizeof(*command->environment));
        if (!command->environment)
                return cli_no_memory();
        r = own ? add_own(command, args_has(args, OPTION_QUIET))
                : set_variable(command, PATH_OF_OTHERS);
        for (size_t i = 0; i < args->n_environment && r == 0; ++i)
                r = add_option(command, args->environment[i]);
        return r;
}

/* Without changing it, even for a moment: proc(5), since Linux 4.7. */
static void read_umask(struct command *command)
{
        _cleanup_free_ char *text = NULL;
        const char *line;
        unsigned mask;

        if (read_file_at(AT_FDCWD, "/proc/self/status", &text, NULL) < 0 ||
            !(line = strstr(text, "\nUmask:")) || sscanf(line, "\nUmask: %o", &mask) != 1)
                return;
        command->has_umask = true;
        command->umask = mask & 0777;
}

static int surround_directory(struct command *command)
{
        if (command->directory)
                return 0;
        command->directory = getcwd(NULL, 0);
        if (!command->directory)
                return cli_fail(CLI_FAILED,
                                "cannot run commands in the working directory: %s; name another "
                                "with --cd",
                                strerrordesc_np(errno));
        if (is_text(command->directory))
                return 0;
        return cli_fail(CLI_USAGE, "the name of the working directory is not in UTF-8, and cannot "
                                   "be sent; work in another one, or name one with --cd");
}

int command_surround(const struct args *args, const struct pppd *pppd, struct command *command)
{
        bool own = pppd_is_own(pppd);
        int r = surround_environment(args, own, command);

        if (r || !own)
                return r;
        read_umask(command);
        return surround_directory(command);
}
