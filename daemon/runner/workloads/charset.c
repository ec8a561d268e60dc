/*
 * The stream decoder: iconv, with what it leaves to its callers: text cut in the middle of a
 * character, and bytes that are none.
 */

#include "daemon/runner/workloads/charset.h"

#include <ctype.h>
#include <iconv.h>

#define LABEL_MAX 64            /* registered names are 40 at most; a longer one is unknown */
#define HELD_MAX 32             /* no charset has a character, or an escape, as long as this */
#define TEXT_SIZE 16384

static const char replacement[] = "\xEF\xBF\xBD";

struct charset {
        iconv_t iconv;
        size_t unit;            /* how many bytes to skip where there is no character */
        size_t n_held;          /* the first bytes of a character that was cut off */
        char held[HELD_MAX];
        size_t n_text;
        char text[TEXT_SIZE];
};

/* iconv's own syntax is not the server's to use: "//IGNORE" must not pass. */
static bool label_char(char c)
{
        return isalnum((unsigned char)c) || (c && strchr("-_.:+()", c));
}

/* Copies the name out of the label; -ENOENT when no charset is named like that. */
static int label_trim(const char *label, char ret_name[static LABEL_MAX])
{
        static const char around[] = " \t\"'";
        size_t n;

        label += strspn(label, around);
        for (n = 0; label_char(label[n]); ++n)
                if (n + 1 >= LABEL_MAX)
                        return -ENOENT;
        if (label[n + strspn(label + n, around)] != 0)
                return -ENOENT;
        memcpy(ret_name, label, n);
        ret_name[n] = 0;
        return 0;
}

bool charset_is_utf8(const char *label)
{
        static const char *const names[] = { "", "utf-8", "utf8", "utf_8", "x-utf-8" };
        char name[LABEL_MAX];

        if (!label)
                return true;
        if (label_trim(label, name) < 0)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(names); ++i)
                if (strcasecmp(name, names[i]) == 0)
                        return true;
        return false;
}

static int open_iconv(const char *name, iconv_t *ret)
{
        iconv_t opened = iconv_open("UTF-8", name);

        if (opened == (iconv_t)-1)
                return errno == EINVAL ? -ENOENT : -errno;
        *ret = opened;
        return 0;
}

/* Opens @name; if that is unknown, its usual spelling, which is then left in @name. */
static int open_name(char *name, iconv_t *ret)
{
        int r = open_iconv(name, ret);

        if (r != -ENOENT)
                return r;
        if (strncasecmp(name, "x-", 2) == 0)
                memmove(name, name + 2, strlen(name + 2) + 1);
        for (char *c = name; *c; ++c)
                if (*c == '_')
                        *c = '-';
        return name[0] ? open_iconv(name, ret) : -ENOENT;
}

/* A charset's unit is what it takes to say anything but "incomplete" about a letter: 1, 2 or 4. */
static int find_unit(const char *name, size_t *ret)
{
        char letter[] = { 'a', 0, 0, 0 }, out[16];
        iconv_t probe;
        size_t unit;
        int r;

        for (unit = 1; unit < sizeof(letter); unit *= 2) {
                char *in = letter, *to = out;
                size_t n_in = unit, n_to = sizeof(out);
                bool incomplete;

                r = open_iconv(name, &probe);
                if (r < 0)
                        return r;
                incomplete = iconv(probe, &in, &n_in, &to, &n_to) == (size_t)-1 && errno == EINVAL;
                iconv_close(probe);
                if (!incomplete)
                        break;
        }
        *ret = unit;
        return 0;
}

int charset_new(const char *label, struct charset **ret)
{
        _cleanup_(charset_freep) struct charset *charset = NULL;
        char name[LABEL_MAX];
        int r;

        r = label_trim(label, name);
        if (r < 0)
                return r;
        charset = malloc(sizeof(*charset));
        if (!charset)
                return -ENOMEM;
        charset->iconv = (iconv_t)-1;
        charset->n_held = charset->n_text = 0;
        r = open_name(name, &charset->iconv);
        if (r < 0)
                return r;
        r = find_unit(name, &charset->unit);
        if (r < 0)
                return r;
        *ret = steal_ptr(charset);
        return 0;
}

struct charset *charset_free(struct charset *charset)
{
        if (!charset)
                return NULL;
        if (charset->iconv != (iconv_t)-1)
                iconv_close(charset->iconv);
        free(charset);
        return NULL;
}

static void flush(struct charset *charset, charset_sink *sink, void *userdata)
{
        if (charset->n_text > 0)
                sink(userdata, charset->text, charset->n_text);
        charset->n_text = 0;
}

static void replace(struct charset *charset, charset_sink *sink, void *userdata)
{
        size_t n = sizeof(replacement) - 1;

        if (TEXT_SIZE - charset->n_text < n)
                flush(charset, sink, userdata);
        memcpy(charset->text + charset->n_text, replacement, n);
        charset->n_text += n;
}

/* One call of iconv, @in NULL to end the text. Returns 0 or its errno. */
static int step(struct charset *charset, char **in, size_t *n_in)
{
        char *out = charset->text + charset->n_text;
        size_t n_out = TEXT_SIZE - charset->n_text;
        int r = iconv(charset->iconv, in, n_in, &out, &n_out) == (size_t)-1 ? errno : 0;

        charset->n_text = TEXT_SIZE - n_out;
        return r;
}

/* Decodes @p up to its end or to a character that is cut off there; returns how much is left. */
static size_t decode(struct charset *charset, char *p, size_t n, charset_sink *sink, void *userdata)
{
        while (n > 0) {
                int r = step(charset, &p, &n);

                if (r == E2BIG) {
                        flush(charset, sink, userdata);
                } else if (r == EINVAL) {
                        break;
                } else if (r != 0) {
                        size_t skip = MIN(charset->unit, n);

                        replace(charset, sink, userdata);
                        p += skip;
                        n -= skip;
                }
        }
        return n;
}

/* Gives @n more bytes to the character that was cut off, one by one. Returns how many were used. */
static size_t complete(struct charset *charset, const char *p, size_t n, charset_sink *sink,
                       void *userdata)
{
        size_t used = 0;

        while (charset->n_held > 0 && used < n) {
                size_t left;

                charset->held[charset->n_held++] = p[used++];
                left = decode(charset, charset->held, charset->n_held, sink, userdata);
                memmove(charset->held, charset->held + charset->n_held - left, left);
                charset->n_held = left;
                if (left == HELD_MAX) {
                        replace(charset, sink, userdata);
                        charset->n_held = 0;
                }
        }
        return used;
}

void charset_feed(struct charset *charset, const void *data, size_t n, charset_sink *sink,
                  void *userdata)
{
        const char *p = data;
        size_t used = complete(charset, p, n, sink, userdata), left;

        p += used;
        n -= used;
        /* iconv's signature is older than const: it does not write there. */
        left = decode(charset, (char *)p, n, sink, userdata);
        while (left >= HELD_MAX) {
                replace(charset, sink, userdata);
                left = decode(charset, (char *)p + n - left + 1, left - 1, sink, userdata);
        }
        memcpy(charset->held + charset->n_held, p + n - left, left);
        charset->n_held += left;
        flush(charset, sink, userdata);
}

void charset_finish(struct charset *charset, charset_sink *sink, void *userdata)
{
        while (step(charset, NULL, NULL) == E2BIG)
                flush(charset, sink, userdata);
        if (charset->n_held > 0)
                replace(charset, sink, userdata);
        flush(charset, sink, userdata);
}
