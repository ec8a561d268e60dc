/* JSON to text: whole, or not at all, wherever memory ends. */

#include "tests/unit/test.h"

#include <stdlib.h>

#include "lib/json-text.h"

static unsigned n_asked, refused; /* allocations of jansson, and which of them it does not get */

static void *allocate(size_t size)
{
        return n_asked++ == refused ? NULL : malloc(size);
}

/* Names and values long enough that a buffer which grows has to grow at each. */
static json_t *make_object(void)
{
        json_t *json = json_object();
        char name[256], value[256];

        for (unsigned i = 0; i < 40; ++i) {
                memset(name, 'a' + (int)(i % 26), sizeof(name));
                snprintf(name + 200, sizeof(name) - 200, "%u", i);
                memset(value, '"', sizeof(value) - 1);
                value[i * 5] = 0;
                test_int(json_object_set_new(json, name, json_pack("[s, i, f]", value, i, 0.2)), ==,
                         0);
        }
        return json;
}

/* The n-th allocation fails and the next is fine, as where others free memory meanwhile. */
static void test_want_of_memory(void)
{
        json_t *json = make_object();
        unsigned n_refused = 0;
        bool done = false;

        for (unsigned n = 0; !done; ++n) {
                char *text;

                test_int(n, <, 1000);
                n_asked = 0;
                refused = n;
                json_set_alloc_funcs(allocate, free);
                text = json_text(json, JSON_COMPACT);
                json_set_alloc_funcs(malloc, free);
                done = n_asked <= n;
                if (text) {
                        json_t *read = json_loads(text, 0, NULL);

                        test_true(read && json_equal(read, json));
                        json_decref(read);
                }
                n_refused += !text;
                free(text);
        }
        test_true(n_refused > 0);
        json_decref(json);
}

static void test_same_as_jansson(void)
{
        static const size_t flags[] = { JSON_COMPACT, JSON_INDENT(2),
                                        JSON_COMPACT | JSON_REAL_PRECISION(3), JSON_SORT_KEYS };
        json_t *json = make_object();

        for (size_t i = 0; i < ARRAY_SIZE(flags); ++i) {
                char *text = json_text(json, flags[i]), *theirs = json_dumps(json, flags[i]);

                test_str(text, theirs);
                free(text);
                free(theirs);
        }
        json_decref(json);
}

static void test_not_an_object(void)
{
        json_t *json = json_string("");
        char *text = json_text(json, JSON_ENCODE_ANY);

        test_str(text, "\"\"");
        free(text);
        json_decref(json);
        json = json_object();
        text = json_text(json, 0);
        test_str(text, "{}");
        free(text);
        json_decref(json);
}

TEST_MAIN("json-text", { "want of memory", test_want_of_memory },
          { "the same text as jansson's", test_same_as_jansson },
          { "empty, or no object", test_not_an_object })
