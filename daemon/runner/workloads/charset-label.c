#include "daemon/runner/workloads/charset-label.h"

#include <ctype.h>
#include <stdio.h>

/* Sorted by the name to use; the other names are without "x-" and with "-" for "_". */
static const struct {
        const char *name, *label;
} aliases[] = {
        { "BIG5", "csbig5" },
        { "CP949", "csksc56011987" },
        { "CP949", "iso-ir-149" },
        { "CP949", "korean" },
        { "CP949", "ks-c-5601-1987" },
        { "CP949", "ks-c-5601-1989" },
        { "CP949", "ks-c-5601" },
        { "CP949", "ksc-5601" },
        { "CP949", "ksc5601" },
        { "GB18030", "gb18030-2000" },
        { "GBK", "chinese" },
        { "GBK", "csiso58gb231280" },
        { "GBK", "gb-2312" },
        { "GBK", "gb-2312-80" },
        { "GBK", "iso-ir-58" },
        { "ISO-8859-15", "csisolatin9" },
        { "ISO-8859-15", "l9" },
        { "ISO-8859-6", "csiso88596e" },
        { "ISO-8859-6", "csiso88596i" },
        { "ISO-8859-6", "iso-8859-6-e" },
        { "ISO-8859-6", "iso-8859-6-i" },
        { "ISO-8859-7", "sun-eu-greek" },
        { "ISO-8859-8", "csiso88598e" },
        { "ISO-8859-8", "csiso88598i" },
        { "ISO-8859-8", "iso-8859-8-e" },
        { "ISO-8859-8", "iso-8859-8-i" },
        { "ISO-8859-8", "logical" },
        { "ISO-8859-8", "visual" },
        { "KOI8-R", "koi" },
        { "MACINTOSH", "mac-roman" },
        { "MACINTOSH", "macroman" },
        { "MAC-UK", "mac-ukrainian" },
        { "UTF-16BE", "unicodefffe" },
        { "UTF-16BE", "utf-16-be" },
        { "UTF-16LE", "iso-10646-ucs-2" },
        { "UTF-16LE", "unicodefeff" },
        { "UTF-16LE", "utf-16-le" },
};

/* The text before a number in names of one family, and the one that iconv has there. */
static const struct {
        const char *name, *prefix;
} families[] = {
        { "CP", "windows-" },     { "CP", "windows" },   { "CP", "win-" }, { "CP", "win" },
        { "CP", "ibm-" },         { "CP", "dos-" },      { "CP", "cp-" },  { "CP", "ms-" },
        { "ISO-8859-", "8859-" }, { "LATIN", "latin-" },
};

/* A server may not use iconv's own syntax: "//IGNORE" must not pass. */
static bool label_char(char c)
{
        return isalnum((unsigned char)c) || (c && strchr("-_.:+()", c));
}

int charset_label_trim(const char *label, char ret[static CHARSET_LABEL_MAX])
{
        static const char around[] = " \t\"'";
        size_t n;

        label += strspn(label, around);
        for (n = 0; label_char(label[n]); ++n)
                if (n + 1 >= CHARSET_LABEL_MAX)
                        return -ENOENT;
        if (label[n + strspn(label + n, around)] != 0)
                return -ENOENT;
        memcpy(ret, label, n);
        ret[n] = 0;
        return 0;
}

/* In lower case, without "x-", with "-" for "_". False: nothing is left. */
static bool normalize(char *name)
{
        if (strncasecmp(name, "x-", 2) == 0)
                memmove(name, name + 2, strlen(name + 2) + 1);
        for (char *c = name; *c; ++c)
                *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
        return name[0];
}

static bool resolve_family(char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(families); ++i) {
                size_t n = strlen(families[i].prefix);
                char number[8];

                if (strncmp(name, families[i].prefix, n) != 0 || !name[n] ||
                    strlen(name + n) >= sizeof(number) || name[n + strspn(name + n, "0123456789")])
                        continue;
                strcpy(number, name + n);
                snprintf(name, CHARSET_LABEL_MAX, "%s%s", families[i].name, number);
                return true;
        }
        return false;
}

bool charset_label_resolve(char name[static CHARSET_LABEL_MAX])
{
        if (!normalize(name))
                return false;
        if (streq(name, "x-big5")) /* of x-x-big5, which is listed */
                return normalize(name);
        for (size_t i = 0; i < ARRAY_SIZE(aliases); ++i)
                if (streq(aliases[i].label, name)) {
                        strcpy(name, aliases[i].name);
                        return true;
                }
        (void)resolve_family(name);
        return true;
}

bool charset_is_utf8(const char *label)
{
        static const char *const names[] = {
                "",
                "utf-8",
                "utf8",
                "utf-8-sig",
                "utf8mb4",
                "cp65001",
                "unicode-1-1-utf-8",
                "unicode11utf8",
                "unicode20utf8",
        };
        char name[CHARSET_LABEL_MAX];

        if (!label)
                return true;
        if (charset_label_trim(label, name) < 0)
                return false;
        if (name[0] && !normalize(name))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(names); ++i)
                if (streq(name, names[i]))
                        return true;
        return false;
}

static const struct {
        const char *text, *name;
        size_t n;
} marks[] = {
        { "\xEF\xBB\xBF", "UTF-8", 3 },
        { "\xFF\xFE", "UTF-16LE", 2 },
        { "\xFE\xFF", "UTF-16BE", 2 },
};

/* Their mark begins like that of UTF-16, and no browser reads them. */
static bool is_wider(const char *label)
{
        static const char *const names[] = { "utf-32", "utf32", "ucs-4", "ucs4" };
        char name[CHARSET_LABEL_MAX];

        if (!label || charset_label_trim(label, name) < 0 || !normalize(name))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(names); ++i)
                if (strncmp(name, names[i], strlen(names[i])) == 0)
                        return true;
        return false;
}

const char *charset_of_mark(const char *text, size_t n, const char *label, size_t *ret_n)
{
        for (size_t i = 0; i < ARRAY_SIZE(marks); ++i)
                if (n >= marks[i].n && memcmp(text, marks[i].text, marks[i].n) == 0) {
                        if (marks[i].n == 2 && is_wider(label))
                                return NULL;
                        *ret_n = marks[i].n;
                        return marks[i].name;
                }
        return NULL;
}

bool charset_may_be_mark(const char *text, size_t n)
{
        for (size_t i = 0; i < ARRAY_SIZE(marks); ++i)
                if (n < marks[i].n && memcmp(text, marks[i].text, n) == 0)
                        return true;
        return false;
}
