#include "lib/command.h"

#include <limits.h>

#include "lib/spec-reader.h"

static const char *const input_names[_COMMAND_INPUT_N] = {
        [COMMAND_INPUT_ARGUMENT] = "argument",
        [COMMAND_INPUT_STDIN] = "stdin",
        [COMMAND_INPUT_NONE] = "none",
};

#define MODE_MAX 0777

static void free_strings(char **strings)
{
        for (char **s = strings; s && *s; ++s)
                free(*s);
        free(strings);
}

void command_deinit(struct command *command)
{
        free_strings(command->words);
        free_strings(command->environment);
        free(command->directory);
        *command = (struct command)COMMAND_NULL;
}

/* An array of strings into one that ends with NULL. *@size counts their bytes. */
static int read_strings(struct reader *reader, const char *member, size_t max, const char *hint,
                        char ***ret, size_t *ret_n, size_t *size)
{
        json_t *list = NULL, *v;
        char **strings;
        size_t i;
        int r;

        r = reader_array(reader, member, max, hint, &list);
        if (r < 0 || !list)
                return r;
        strings = *ret = calloc(json_array_size(list) + 1, sizeof(*strings));
        if (!strings)
                return -ENOMEM;
        json_array_foreach(list, i, v) {
                if (!json_is_string(v))
                        return reader_refuse(reader, member, hint, "entry %zu is not a string",
                                             i + 1);
                if (strlen(json_string_value(v)) != json_string_length(v))
                        return reader_refuse(reader, member, "leave the NUL bytes out",
                                             "entry %zu holds a NUL byte, which ends an argument",
                                             i + 1);
                *size += json_string_length(v) + 1;
                strings[i] = strdup(json_string_value(v));
                if (!strings[i])
                        return -ENOMEM;
                ++*ret_n;
        }
        return 0;
}

static int read_words(struct reader *reader, struct command *command, size_t *size)
{
        static const char hint[] = "give the command's words, as in [\"gzip\", \"-9\", \"{}\"]";
        int r;

        r = read_strings(reader, "words", COMMAND_WORDS_MAX, hint, &command->words,
                         &command->n_words, size);
        if (r < 0)
                return r;
        if (!command->words)
                return reader_refuse(reader, "words", hint, "it is missing");
        if (!*command->words[0])
                return reader_refuse(reader, "words", hint, "the first, the program, is empty");
        return 0;
}

static int read_environment(struct reader *reader, struct command *command, size_t *size)
{
        static const char hint[] = "give strings like \"NAME=VALUE\"";
        int r;

        r = read_strings(reader, "environment", COMMAND_ENVIRONMENT_MAX, hint,
                         &command->environment, &command->n_environment, size);
        for (size_t i = 0; i < command->n_environment && r >= 0; ++i)
                if (!strchr(command->environment[i] + !!*command->environment[i], '='))
                        r = reader_refuse(reader, "environment", hint,
                                          "entry %zu has no name and value", i + 1);
        return r;
}

static int read_input(struct reader *reader, struct command *command)
{
        static const char hint[] = "give one of argument, stdin, none";
        const char *name = NULL;
        int r;

        r = reader_string(reader, "input", false, SPEC_NAME_MAX, hint, &name);
        if (r < 0 || !name)
                return r;
        for (enum command_input i = 0; i < _COMMAND_INPUT_N; ++i)
                if (streq(name, input_names[i])) {
                        command->input = i;
                        return 0;
                }
        return reader_refuse(reader, "input", hint, "there is no way \"%.*s\"",
                             utf8_prefix(name, NAME_SHOWN), name);
}

static int read_umask(struct reader *reader, struct command *command)
{
        uint32_t mask = UINT32_MAX;
        int r;

        r = reader_count(reader, "umask", 0, MODE_MAX, &mask);
        command->has_umask = mask != UINT32_MAX;
        command->umask = command->has_umask ? (mode_t)mask : 0;
        return r;
}

static int read_size(struct reader *reader, const char *member, uint64_t *ret)
{
        static const char hint[] = "give a whole number of bytes, 1 or more";
        json_t *v = reader_take(reader, member);

        if (!v)
                return 0;
        if (!json_is_integer(v) || json_integer_value(v) < 1)
                return reader_refuse(reader, member, hint, "it is no size");
        *ret = (uint64_t)json_integer_value(v);
        return 0;
}

static int read_members(struct reader *reader, struct command *command)
{
        static const char *const known[] = {
                "words",        "shell",     "input",    "directory",  "environment",
                "umask",        "no_output", "no_group", "output_max", "kill_after_seconds",
                "retry_memory", NULL
        };
        size_t size = 0;
        int r;

        r = read_words(reader, command, &size);
        if (r >= 0)
                r = reader_bool(reader, "shell", &command->shell);
        if (r >= 0)
                r = read_input(reader, command);
        if (r >= 0)
                r = reader_path(reader, "directory", &command->directory);
        if (r >= 0)
                r = read_environment(reader, command, &size);
        if (r >= 0)
                r = read_umask(reader, command);
        if (r >= 0)
                r = reader_bool(reader, "no_output", &command->no_output);
        if (r >= 0)
                r = reader_bool(reader, "no_group", &command->no_group);
        if (r >= 0)
                r = read_size(reader, "output_max", &command->output_max);
        if (r >= 0)
                r = reader_seconds(reader, "kill_after_seconds", &command->kill_after_ns);
        if (r >= 0)
                r = reader_count(reader, "retry_memory", COMMAND_RETRY_MEMORY_MIN,
                                 COMMAND_RETRY_MEMORY_MAX, &command->retry_memory);
        if (r >= 0 && size > COMMAND_SIZE_MAX)
                r = reader_refuse(reader, NULL, "leave out variables that it does not need",
                                  "its words and its environment are %zu bytes, more than the "
                                  "512 KiB that they may be",
                                  size);
        return r < 0 ? r : reader_finish(reader, "Command", known);
}

int command_from_json(json_t *json, const char *path, struct command *ret, struct fault *fault)
{
        struct reader reader = { json, path, fault, 0 };
        struct command command = COMMAND_NULL;
        int r;

        if (!json_is_object(json))
                return reader_refuse(&reader, NULL, "give an object", "it is not an object");
        r = read_members(&reader, &command);
        if (r < 0) {
                command_deinit(&command);
                return reader_end(&reader, r);
        }
        *ret = command;
        return 0;
}

static json_t *strings_to_json(char *const *strings, size_t n)
{
        json_t *list = json_array();

        for (size_t i = 0; list && i < n; ++i)
                if (json_array_append_new(list, json_string(strings[i])) < 0) {
                        json_decref(list);
                        list = NULL;
                }
        return list;
}

json_t *command_to_json(const struct command *command)
{
        json_t *json = json_object();
        int r = json ? 0 : -1;

        if (r == 0)
                r = json_object_set_new(json, "words",
                                        strings_to_json(command->words, command->n_words));
        if (r == 0 && command->shell)
                r = json_object_set_new(json, "shell", json_true());
        if (r == 0 && command->input != COMMAND_INPUT_ARGUMENT)
                r = json_object_set_new(json, "input", json_string(input_names[command->input]));
        if (r == 0 && command->directory)
                r = json_object_set_new(json, "directory", json_string(command->directory));
        if (r == 0 && command->environment)
                r = json_object_set_new(json, "environment",
                                        strings_to_json(command->environment,
                                                        command->n_environment));
        if (r == 0 && command->has_umask)
                r = json_object_set_new(json, "umask", json_integer(command->umask));
        if (r == 0 && command->no_output)
                r = json_object_set_new(json, "no_output", json_true());
        if (r == 0 && command->no_group)
                r = json_object_set_new(json, "no_group", json_true());
        if (r == 0 && command->output_max)
                r = json_object_set_new(json, "output_max",
                                        json_integer((json_int_t)command->output_max));
        if (r == 0 && command->kill_after_ns)
                r = json_object_set_new(json, "kill_after_seconds",
                                        json_real((double)command->kill_after_ns / 1e9));
        if (r == 0 && command->retry_memory)
                r = json_object_set_new(json, "retry_memory", json_integer(command->retry_memory));
        if (r == 0)
                return json;
        json_decref(json);
        return NULL;
}

char *command_line(const struct command *command)
{
        size_t size = 1, at = 0;
        char *text;

        for (size_t i = 0; i < command->n_words; ++i)
                size += strlen(command->words[i]) + 1;
        text = malloc(size);
        if (!text)
                return NULL;
        for (size_t i = 0; i < command->n_words; ++i) {
                if (i > 0)
                        text[at++] = ' ';
                at = (size_t)(stpcpy(text + at, command->words[i]) - text);
        }
        text[at] = 0;
        return text;
}
