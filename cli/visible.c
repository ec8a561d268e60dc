#include "cli/visible.h"

#include "lib/json-text.h"

size_t utf8_decode(const char *s, size_t n, uint32_t *ret)
{
        static const struct {
                unsigned char from, to, second_from, second_to;
                unsigned char length;
        } forms[] = {
                { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
                { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
                { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
                { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
        };
        const unsigned char *p = (const unsigned char *)s;

        if (p[0] < 0x80) {
                *ret = p[0];
                return 1;
        }
        for (size_t i = 0; i < ARRAY_SIZE(forms); ++i) {
                size_t length = forms[i].length;
                uint32_t c = p[0] & (0x7fU >> length);

                if (p[0] < forms[i].from || p[0] > forms[i].to)
                        continue;
                if (n < length || p[1] < forms[i].second_from || p[1] > forms[i].second_to)
                        return 0;
                for (size_t k = 1; k < length; ++k) {
                        if ((p[k] & 0xc0) != 0x80)
                                return 0;
                        c = c << 6 | (p[k] & 0x3fU);
                }
                *ret = c;
                return length;
        }
        return 0;
}

/*
 * Unicode's control and format characters, its separators of lines and paragraphs, and the fillers
 * and selectors that are shown as nothing. The two joiners U+200C and U+200D are not among them:
 * words of Persian and Hindi are written with these.
 */
bool is_hidden(uint32_t c)
{
        static const struct {
                uint32_t from, to;
        } ranges[] = {
                { 0x0000, 0x001f },   { 0x007f, 0x009f },   { 0x00ad, 0x00ad },
                { 0x034f, 0x034f },   { 0x061c, 0x061c },   { 0x115f, 0x1160 },
                { 0x17b4, 0x17b5 },   { 0x180b, 0x180f },   { 0x200b, 0x200b },
                { 0x200e, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f },
                { 0x3164, 0x3164 },   { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },
                { 0xfff0, 0xfffb },   { 0xfffe, 0xffff },   { 0x1bca0, 0x1bca3 },
                { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
        };

        if (c >= 0x20 && c < 0x7f)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(ranges) && ranges[i].from <= c; ++i)
                if (c <= ranges[i].to)
                        return true;
        return false;
}

static void put_escape(FILE *file, uint32_t c)
{
        static const char letters[] = "\a\b\t\n\v\f\r", names[] = "abtnvfr";

        if (c >= '\a' && c <= '\r')
                fprintf(file, "\\%c", names[strchr(letters, (int)c) - letters]);
        else if (c < 0x100)
                fprintf(file, "\\x%02x", c);
        else if (c < 0x10000)
                fprintf(file, "\\u%04x", c);
        else
                fprintf(file, "\\U%08x", c);
}

static void put(FILE *file, const char *text, size_t n, bool lines)
{
        size_t length;

        for (size_t i = 0; i < n; i += length) {
                uint32_t c = (unsigned char)text[i];

                length = utf8_decode(text + i, n - i, &c);
                if (length > 0 && (!is_hidden(c) || (lines && c == '\n')))
                        (void)fwrite_unlocked(text + i, 1, length, file);
                else
                        put_escape(file, c);
                length = MAX(length, (size_t)1);
        }
}

void visible_put(FILE *file, const char *text, size_t n)
{
        put(file, text, n, false);
}

void visible_put_lines(FILE *file, const char *text)
{
        put(file, text, strlen(text), true);
}

char *visible_text(const char *text)
{
        char *visible = NULL;
        size_t n;
        FILE *file = open_memstream(&visible, &n);

        if (!file)
                return NULL;
        visible_put(file, text, strlen(text));
        if (fclose(file) == 0)
                return visible;
        free(visible);
        return NULL;
}

/* Past U+FFFF JSON takes surrogates. */
void visible_put_json_escape(FILE *file, uint32_t c)
{
        if (c < 0x10000)
                fprintf(file, "\\u%04x", c);
        else
                fprintf(file, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                        0xdc00 + ((c - 0x10000) & 0x3ff));
}

/* 0.2, not 0.20000000000000001. */
#define PRECISION JSON_REAL_PRECISION(15)

/* Outside of its strings JSON is printable ASCII, but for the newlines of an indented text. */
static void put_json(FILE *file, const char *text)
{
        size_t n = strlen(text), length;

        for (size_t i = 0; i < n; i += length) {
                uint32_t c = (unsigned char)text[i];

                length = MAX(utf8_decode(text + i, n - i, &c), (size_t)1);
                if (c != '\n' && is_hidden(c))
                        visible_put_json_escape(file, c);
                else
                        (void)fwrite_unlocked(text + i, 1, length, file);
        }
}

char *visible_json(json_t *json, size_t flags)
{
        _cleanup_free_ char *plain = json_text(json, flags | JSON_ENCODE_ANY | PRECISION);
        char *text = NULL;
        size_t n;
        FILE *file = plain ? open_memstream(&text, &n) : NULL;

        if (!file)
                return NULL;
        put_json(file, plain);
        if (fclose(file) == 0)
                return text;
        free(text);
        return NULL;
}
