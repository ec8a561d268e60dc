/* The words of a command, with their placeholders replaced. */

#include "lib/template.h"
#include "tests/unit/test.h"

static char **expand(struct command *command, const char *input)
{
        const struct template_values values = { input, input ? strlen(input) : 0, 12, 3 };
        char **words = NULL;

        for (command->n_words = 0; command->words[command->n_words];)
                ++command->n_words;
        test_int(template_expand(command, &values, !template_has_input(command), &words), ==, 0);
        return words;
}

/* One word, whatever the input. */
static void check_word(const char *word, const char *input, const char *expected)
{
        struct command command = { .words = (char *[]){ (char *)word, NULL } };
        char **words = expand(&command, input);

        test_str(words[0], expected);
        template_free(words);
}

static void test_placeholders(void)
{
        static const struct {
                const char *word, *input, *expected;
        } cases[] = {
                { "{}", "a b", "a b" },
                { "-o{}x{}", "a", "-oaxa" },
                { "{.}", "dir/a.tar.gz", "dir/a.tar" },
                { "{.}.webp", "a.png", "a.webp" },
                { "{.}", "dir.d/a", "dir.d/a" },
                { "{.}", ".profile", ".profile" },
                { "{.}", "dir/.profile", "dir/.profile" },
                { "{.}", "a.", "a." },
                { "{/}", "/usr/lib/a.so", "a.so" },
                { "{/}", "a", "a" },
                { "{/}", "dir/", "" },
                { "{//}", "/usr/lib/a.so", "/usr/lib" },
                { "{//}", "/a", "/" },
                { "{//}", "a", "." },
                { "{/.}", "/usr/lib/a.so", "a" },
                { "{/.}", "a.b/c", "c" },
                { "{}-{#}-{%}", "x", "x-12-3" },
                { "{}{x}{", "a", "a{x}{" },
                { "{{}}", "a", "{a}" },
                { "{..}{}", "a", "{..}a" },
                { "{}", "{}", "{}" },
                { "{}", "", "" },
                { "{} \xff\n'", "\xfe\"", "\xfe\" \xff\n'" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
                check_word(cases[i].word, cases[i].input, cases[i].expected);
}

/* Without a placeholder for it the input is the last word, and only then. */
static void test_added(void)
{
        struct command plain = { .words = (char *[]){ (char *)"wc", (char *)"{#}", NULL } };
        struct command placed = { .words = (char *[]){ (char *)"wc", (char *)"{/}", NULL } };
        char **words = expand(&plain, "d/a");

        test_str(words[1], "12");
        test_str(words[2], "d/a");
        test_true(!words[3]);
        template_free(words);
        words = expand(&placed, "d/a");
        test_str(words[1], "a");
        test_true(!words[2]);
        template_free(words);
        words = expand(&plain, NULL);
        test_true(!words[2]);
        template_free(words);
        words = expand(&placed, NULL);
        test_str(words[1], "");
        template_free(words);
}

static void check_script(char *const *words, const char *input, const char *expected)
{
        struct command command = { .words = (char **)words, .shell = true };
        char **arguments = expand(&command, input);

        test_str(arguments[0], "/bin/sh");
        test_str(arguments[1], "-c");
        test_str(arguments[2], expected);
        test_true(!arguments[3]);
        template_free(arguments);
}

/* The script is the user's; what comes from the list is data. */
static void test_shell(void)
{
        char *placed[] = { (char *)"wc -l <", (char *)"{}", (char *)"> {.}.$n", NULL };
        char *plain[] = { (char *)"echo", NULL };

        check_script(placed, "a b", "wc -l < 'a b' > 'a b'.$n");
        check_script(plain, "; rm -rf /", "echo '; rm -rf /'");
        check_script(plain, "it's '", "echo 'it'\\''s '\\'''");
        check_script(plain, "$(id)\n`id`", "echo '$(id)\n`id`'");
        check_script(plain, NULL, "echo");
        check_script(plain, "", "echo ''");
}

TEST_MAIN("template", { "placeholders", test_placeholders }, { "the input is added", test_added },
          { "shell", test_shell })
