#include "lib/template.h"

#include <inttypes.h>
#include <stdio.h>

/* A text that grows. */
struct text {
        char *data;
        size_t n, size;
        bool failed; /* there was no memory */
};

static void text_add(struct text *text, const char *data, size_t n)
{
        if (text->n + n + 1 > text->size) {
                size_t size = MAX(2 * text->size, text->n + n + 1);
                char *larger = realloc(text->data, size);

                if (!larger) {
                        text->failed = true;
                        return;
                }
                text->data = larger;
                text->size = size;
        }
        memcpy(text->data + text->n, data, n);
        text->n += n;
        text->data[text->n] = 0;
}

/* As one word of a shell, whatever is in it. */
static void text_add_quoted(struct text *text, const char *data, size_t n)
{
        text_add(text, "'", 1);
        while (n > 0) {
                const char *quote = memchr(data, '\'', n);
                size_t n_plain = quote ? (size_t)(quote - data) : n;

                text_add(text, data, n_plain);
                if (!quote)
                        break;
                text_add(text, "'\\''", 4);
                data += n_plain + 1;
                n -= n_plain + 1;
        }
        text_add(text, "'", 1);
}

struct part {
        const char *data;
        size_t n;
};

static struct part without_directory(struct part path)
{
        const char *slash = memrchr(path.data, '/', path.n);
        size_t skip = slash ? (size_t)(slash + 1 - path.data) : 0;

        return (struct part){ path.data + skip, path.n - skip };
}

/* "." stands for the directory of a name without one. */
static struct part directory_of(struct part path)
{
        const char *slash = memrchr(path.data, '/', path.n);

        if (!slash)
                return (struct part){ ".", 1 };
        return (struct part){ path.data, MAX((size_t)(slash - path.data), (size_t)1) };
}

/* A name that begins with its only dot has no extension, nor has one that ends with it. */
static struct part without_extension(struct part path)
{
        struct part name = without_directory(path);
        const char *dot = memrchr(name.data, '.', name.n);

        if (!dot || dot == name.data || dot + 1 == name.data + name.n)
                return path;
        return (struct part){ path.data, (size_t)(dot - path.data) };
}

enum placeholder {
        PLACEHOLDER_INPUT,
        PLACEHOLDER_NO_EXTENSION,
        PLACEHOLDER_NO_DIRECTORY,
        PLACEHOLDER_DIRECTORY,
        PLACEHOLDER_NEITHER,
        _PLACEHOLDER_OF_INPUT,
        PLACEHOLDER_TASK = _PLACEHOLDER_OF_INPUT,
        PLACEHOLDER_SLOT,
        _PLACEHOLDER_N,
};

static const char *const placeholders[_PLACEHOLDER_N] = {
        [PLACEHOLDER_INPUT] = "{}",         [PLACEHOLDER_NO_EXTENSION] = "{.}",
        [PLACEHOLDER_NO_DIRECTORY] = "{/}", [PLACEHOLDER_DIRECTORY] = "{//}",
        [PLACEHOLDER_NEITHER] = "{/.}",     [PLACEHOLDER_TASK] = "{#}",
        [PLACEHOLDER_SLOT] = "{%}",
};

/* The one that @at begins with; _PLACEHOLDER_N: none. */
static enum placeholder placeholder_at(const char *at)
{
        enum placeholder i = 0;

        while (i < _PLACEHOLDER_N && strncmp(at, placeholders[i], strlen(placeholders[i])) != 0)
                ++i;
        return i;
}

static struct part part_of_input(enum placeholder placeholder, struct part input)
{
        switch (placeholder) {
        case PLACEHOLDER_NO_EXTENSION:
                return without_extension(input);
        case PLACEHOLDER_NO_DIRECTORY:
                return without_directory(input);
        case PLACEHOLDER_DIRECTORY:
                return directory_of(input);
        case PLACEHOLDER_NEITHER:
                return without_extension(without_directory(input));
        default:
                return input;
        }
}

static void add_value(struct text *text, enum placeholder placeholder,
                      const struct template_values *values, bool quoted)
{
        struct part part = { values->input, values->n_input };
        char number[24];

        if (placeholder >= _PLACEHOLDER_OF_INPUT) {
                snprintf(number, sizeof(number), "%" PRIu64,
                         placeholder == PLACEHOLDER_TASK ? values->task : values->slot);
                text_add(text, number, strlen(number));
                return;
        }
        if (!values->input)
                return;
        part = part_of_input(placeholder, part);
        if (quoted)
                text_add_quoted(text, part.data, part.n);
        else
                text_add(text, part.data, part.n);
}

static void add_word(struct text *text, const char *word, const struct template_values *values,
                     bool quoted)
{
        text_add(text, "", 0);
        while (*word) {
                const char *brace = strchrnul(word, '{');
                enum placeholder placeholder;

                text_add(text, word, (size_t)(brace - word));
                if (!*brace)
                        return;
                placeholder = placeholder_at(brace);
                if (placeholder == _PLACEHOLDER_N) {
                        text_add(text, brace, 1);
                        word = brace + 1;
                } else {
                        add_value(text, placeholder, values, quoted);
                        word = brace + strlen(placeholders[placeholder]);
                }
        }
}

bool template_has_input(const struct command *command)
{
        for (size_t i = 0; i < command->n_words; ++i)
                for (const char *at = command->words[i]; (at = strchr(at, '{')); ++at)
                        if (placeholder_at(at) < _PLACEHOLDER_OF_INPUT)
                                return true;
        return false;
}

void template_free(char **arguments)
{
        for (char **argument = arguments; argument && *argument; ++argument)
                free(*argument);
        free(arguments);
}

static void add_script(struct text *script, const struct command *command,
                       const struct template_values *values, bool adds_input)
{
        for (size_t i = 0; i < command->n_words; ++i) {
                if (i > 0)
                        text_add(script, " ", 1);
                add_word(script, command->words[i], values, true);
        }
        if (adds_input && values->input) {
                text_add(script, " ", 1);
                text_add_quoted(script, values->input, values->n_input);
        }
}

/* The @n words of a command that is not for a shell. False: there was no memory. */
static bool expand_words(const struct command *command, const struct template_values *values,
                         bool adds_input, char **words)
{
        for (size_t i = 0; i < command->n_words + (adds_input && values->input); ++i) {
                struct text word = { .data = NULL };

                add_word(&word, i < command->n_words ? command->words[i] : "{}", values, false);
                words[i] = word.data;
                if (word.failed)
                        return false;
        }
        return true;
}

static bool expand_script(const struct command *command, const struct template_values *values,
                          bool adds_input, char **words)
{
        struct text script = { .data = NULL };

        words[0] = strdup("/bin/sh");
        words[1] = words[0] ? strdup("-c") : NULL;
        if (!words[1])
                return false;
        add_script(&script, command, values, adds_input);
        words[2] = script.data;
        return !script.failed;
}

int template_expand(const struct command *command, const struct template_values *values,
                    bool adds_input, char ***ret)
{
        size_t n = command->shell ? 3 : command->n_words + 1;
        char **words = calloc(n + 1, sizeof(*words));

        if (!words)
                return -ENOMEM;
        if (command->shell ? !expand_script(command, values, adds_input, words)
                           : !expand_words(command, values, adds_input, words)) {
                template_free(words);
                return -ENOMEM;
        }
        *ret = words;
        return 0;
}
