/*
 * The stream decoder: iconv, and the cases that iconv leaves to its callers: text that is cut in
 * the middle of a character, and bytes that form none.
 *
 * Some charsets have states (ISO-2022-*, UTF-7), and the place where iconv continues after bytes
 * that form no character depends on where its input ended. So it is not given the pieces as they
 * come, but always blocks of one size: the result of decoding must not depend on where a network
 * has cut the text.
 */

#include "daemon/runner/workloads/charset.h"

#include <iconv.h>

#include "daemon/runner/workloads/charset-label.h"

#define HELD_MAX   32 /* no charset has a character, or an escape, as long as this */
#define BLOCK_SIZE 4096
#define TEXT_SIZE  16384

static const char replacement[] = "\xEF\xBF\xBD";

struct charset {
        iconv_t iconv;
        size_t unit; /* how many bytes to skip where there is no character */
        size_t n_block;
        char block[BLOCK_SIZE]; /* begins with the first bytes of a character that was cut off */
        size_t n_text;
        char text[TEXT_SIZE];
};

static int open_iconv(const char *name, iconv_t *ret)
{
        iconv_t opened = iconv_open("UTF-8", name);

        if (opened == (iconv_t)-1)
                return errno == EINVAL ? -ENOENT : -errno;
        *ret = opened;
        return 0;
}

/*
 * Opens @name; if it is unknown, the charset that it usually stands for, whose name is then left in
 * @name.
 */
static int open_name(char name[static CHARSET_LABEL_MAX], iconv_t *ret)
{
        int r = open_iconv(name, ret);

        if (r != -ENOENT)
                return r;
        return charset_label_resolve(name) ? open_iconv(name, ret) : -ENOENT;
}

/*
 * A charset's unit is the number of bytes with which iconv says anything but "incomplete" about a
 * letter: 1, 2 or 4.
 */
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
        char name[CHARSET_LABEL_MAX];
        int r;

        r = charset_label_trim(label, name);
        if (r < 0)
                return r;
        charset = malloc(sizeof(*charset));
        if (!charset)
                return -ENOMEM;
        charset->iconv = (iconv_t)-1;
        charset->n_block = charset->n_text = 0;
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

/* Decodes the block up to its end, or to a character that is cut off there, which is kept. */
static void decode_block(struct charset *charset, charset_sink *sink, void *userdata)
{
        char *p = charset->block;
        size_t n = charset->n_block;

        while (n > 0) {
                int r = step(charset, &p, &n);

                if (r == E2BIG) {
                        flush(charset, sink, userdata);
                } else if (r == EINVAL && n < HELD_MAX) {
                        break;
                } else if (r != 0) {
                        size_t skip = MIN(charset->unit, n);

                        replace(charset, sink, userdata);
                        p += skip;
                        n -= skip;
                }
        }
        flush(charset, sink, userdata);
        memmove(charset->block, p, n);
        charset->n_block = n;
}

void charset_feed(struct charset *charset, const void *data, size_t n, charset_sink *sink,
                  void *userdata)
{
        const char *p = data;

        while (n > 0) {
                size_t l = MIN(n, BLOCK_SIZE - charset->n_block);

                memcpy(charset->block + charset->n_block, p, l);
                charset->n_block += l;
                p += l;
                n -= l;
                if (charset->n_block == BLOCK_SIZE)
                        decode_block(charset, sink, userdata);
        }
}

void charset_finish(struct charset *charset, charset_sink *sink, void *userdata)
{
        decode_block(charset, sink, userdata);
        while (step(charset, NULL, NULL) == E2BIG)
                flush(charset, sink, userdata);
        if (charset->n_block > 0)
                replace(charset, sink, userdata);
        flush(charset, sink, userdata);
}
