/* Messages in the journal: their fields, and that the catalog explains each of them. */

#include "tests/unit/test.h"

#include <fcntl.h>

#include "daemon/supervisor/base/log.h"
#include "lib/util.h"

#define CATALOG   "units/pppctl.catalog"
#define ID_DIGITS 32

static char *catalog;

/* The text below "-- ID", up to the next entry; NULL when there is none. The caller frees it. */
static char *entry_of(const char *id)
{
        char head[ID_DIGITS + 8];
        const char *at, *end;

        snprintf(head, sizeof(head), "\n-- %s\n", id);
        at = strstr(catalog, head);
        if (!at)
                return NULL;
        at += strlen(head);
        end = strstr(at, "\n-- ");
        return strndup(at, end ? (size_t)(end - at) : strlen(at));
}

static bool is_message(const char *id)
{
        for (enum message i = MESSAGE_NONE + 1; i < _MESSAGE_N; ++i)
                if (strncmp(message_id(i), id, ID_DIGITS) == 0)
                        return true;
        return false;
}

static void test_ids(void)
{
        test_true(!message_id(MESSAGE_NONE));
        for (enum message i = MESSAGE_NONE + 1; i < _MESSAGE_N; ++i) {
                test_true(message_id(i));
                test_int(strspn(message_id(i), "0123456789abcdef"), ==, ID_DIGITS);
                test_int(strlen(message_id(i)), ==, ID_DIGITS);
                for (enum message k = i + 1; k < _MESSAGE_N; ++k)
                        test_true(!streq(message_id(i), message_id(k)));
        }
}

static void test_each_is_explained(void)
{
        for (enum message i = MESSAGE_NONE + 1; i < _MESSAGE_N; ++i) {
                _cleanup_free_ char *entry = entry_of(message_id(i));
                const char *text;

                if (!entry)
                        test_fail_at(CATALOG " has no entry for message %d, %s", i, message_id(i));
                test_int(strncmp(entry, "Subject: ", 9), ==, 0);
                test_contains(entry, "\nDefined-By: pppctl\n");
                test_contains(entry, "\nDocumentation: man:");
                text = strstr(entry, "\n\n");
                test_true(text && strlen(text) > 80);
        }
}

static void test_nothing_else_is(void)
{
        unsigned n = 0;

        for (const char *at = catalog; (at = strstr(at, "\n-- ")); ++n) {
                at += strlen("\n-- ");
                if (!is_message(at))
                        test_fail_at(CATALOG " explains %.32s, which is no message", at);
        }
        test_int(n, ==, _MESSAGE_N - 1);
}

static const struct log_about about_all = { MESSAGE_JOB_FAILED, 12, "threads", "sum",
                                            "runner-died" };

static bool has(char *const *fields, size_t n, const char *name, size_t n_name)
{
        for (size_t i = 0; i < n; ++i)
                if (strncmp(fields[i], name, n_name) == 0 && fields[i][n_name] == '=')
                        return true;
        return false;
}

/* What the catalog puts in by name has to be there under that name. */
static void test_fields_of_the_catalog(void)
{
        char *fields[LOG_FIELDS_MAX];
        size_t n = supervisor_log_fields(&about_all, LOG_ERR, "text", fields);

        for (const char *at = catalog; (at = strchr(at, '@')); ++at) {
                size_t k = strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");

                if (k == 0 || at[1 + k] != '@' || !has(fields, n, at + 1, k))
                        test_fail_at(CATALOG ": there is no field %.*s", (int)k + 2, at);
                at += k + 1;
        }
        for (size_t i = 0; i < n; ++i)
                free(fields[i]);
}

static void expect_fields(const struct log_about *about, const char *const *expected,
                          size_t n_expected)
{
        char *fields[LOG_FIELDS_MAX];
        size_t n = supervisor_log_fields(about, LOG_NOTICE, "it's 50% done\nsays x", fields);

        test_int(n, ==, n_expected);
        for (size_t i = 0; i < n; ++i) {
                test_str(fields[i], expected[i]);
                free(fields[i]);
        }
}

static void test_fields(void)
{
        static const char *const all[] = {
                "MESSAGE=it's 50% done\nsays x",
                "PRIORITY=5",
                "SYSLOG_IDENTIFIER=pppctl",
                "MESSAGE_ID=38cf567695e84029887cc211b420cc72",
                "PPPCTL_JOB=12",
                "PPPCTL_LEVEL=threads",
                "PPPCTL_WORKLOAD=sum",
                "PPPCTL_REASON=runner-died",
        };
        const struct log_about nothing = { .message = MESSAGE_NONE };

        expect_fields(&about_all, all, ARRAY_SIZE(all));
        expect_fields(&nothing, all, 3);
}

int main(void)
{
        static const struct test_case cases[] = {
                { "IDs", test_ids },
                { "each is explained", test_each_is_explained },
                { "nothing else is", test_nothing_else_is },
                { "fields of the catalog", test_fields_of_the_catalog },
                { "fields", test_fields },
        };
        int r;

        r = read_file_at(AT_FDCWD, CATALOG, &catalog, NULL);
        if (r < 0) {
                fprintf(stderr, "cannot read " CATALOG ": %s; run this in the source tree\n",
                        strerror(-r));
                return EXIT_FAILURE;
        }
        r = test_main("messages", cases, ARRAY_SIZE(cases));
        free(catalog);
        return r;
}
