#include "daemon/runner/io/http-head.h"

#include <strings.h>

#define PREFIX "HTTP/"

/* One field, its parts where they lie; the value is NUL-terminated. */
struct field {
        const char *name, *value;
        size_t n_name;
        bool folded;
};

/* What is known of the head while it is read. */
struct reading {
        struct http_head *head;
        bool http_1_0;
        bool close, keep_alive;         /* said by Connection */
};

bool http_head_may_begin(const char *data, size_t n)
{
        return memcmp(data, PREFIX, MIN(n, strlen(PREFIX))) == 0;
}

size_t http_head_find_end(const char *data, size_t n, size_t *scanned)
{
        size_t i = *scanned;
        const char *end;

        while ((end = memchr(data + i, '\n', n - i))) {
                size_t next = (size_t)(end - data) + 1;
                bool cr = next < n && data[next] == '\r';

                if (next + cr == n) {
                        *scanned = next - 1;
                        return 0;
                }
                if (data[next + cr] == '\n')
                        return next + cr + 1;
                i = next;
        }
        *scanned = n;
        return 0;
}

static bool is_digit(char c)
{
        return (unsigned char)(c - '0') < 10;
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

/* "HTTP/1.1 200 OK", where reason and the blank before it may be missing. */
static int read_status_line(const char *line, struct reading *reading)
{
        const char *status;

        if (strncmp(line, PREFIX "1.", strlen(PREFIX "1.")) != 0)
                return -EPROTONOSUPPORT;
        line += strlen(PREFIX "1.");
        if ((*line != '0' && *line != '1') || line[1] != ' ')
                return -EPROTONOSUPPORT;
        reading->http_1_0 = *line == '0';
        status = line + 2;
        if (!is_digit(status[0]) || status[0] == '0' || !is_digit(status[1]) ||
            !is_digit(status[2]) || (status[3] != ' ' && status[3] != 0))
                return -EPROTONOSUPPORT;
        reading->head->status = (unsigned)((status[0] - '0') * 100 + (status[1] - '0') * 10 +
                                           status[2] - '0');
        return 0;
}

/* Moves *@s past the next element of a list, which is @ret, without the blanks around it. */
static bool next_element(const char **s, const char **ret, size_t *ret_n)
{
        const char *begin = *s + strspn(*s, " \t,"), *end = begin + strcspn(begin, ",");

        *s = end;
        while (end > begin && is_blank(end[-1]))
                --end;
        *ret = begin;
        *ret_n = (size_t)(end - begin);
        return end > begin;
}

static bool element_is(const char *element, size_t n, const char *name)
{
        return strlen(name) == n && strncasecmp(element, name, n) == 0;
}

static int read_connection(const struct field *field, struct reading *reading)
{
        const char *s = field->value, *element;
        size_t n;

        while (next_element(&s, &element, &n)) {
                reading->close |= element_is(element, n, "close");
                reading->keep_alive |= element_is(element, n, "keep-alive");
        }
        return 0;
}

/* The same number said again is no contradiction. */
static int read_length(const struct field *field, struct reading *reading)
{
        struct http_head *head = reading->head;
        const char *s = field->value, *element;
        uint64_t length;
        size_t n;

        if (field->folded || !next_element(&s, &element, &n))
                return -EBADMSG;
        do {
                if (parse_u64(element, n, INT64_MAX, &length) < 0 ||
                    (head->has_length && head->length != length))
                        return -EBADMSG;
                head->has_length = true;
                head->length = length;
        } while (next_element(&s, &element, &n));
        return 0;
}

/* "identity" is of RFC 2616 and means nothing. */
static int read_transfer_encoding(const struct field *field, struct reading *reading)
{
        const char *s = field->value, *element;
        size_t n;

        if (field->folded)
                return -EBADMSG;
        while (next_element(&s, &element, &n)) {
                if (reading->head->chunked)
                        return -EBADMSG;
                if (element_is(element, n, "chunked"))
                        reading->head->chunked = true;
                else if (!element_is(element, n, "identity"))
                        return -ENOTSUP;
        }
        return 0;
}

static int read_content_type(const struct field *field, struct reading *reading)
{
        if (!reading->head->content_type)
                reading->head->content_type = field->value;
        return 0;
}

static int read_content_encoding(const struct field *field, struct reading *reading)
{
        if (!reading->head->content_encoding)
                reading->head->content_encoding = field->value;
        return 0;
}

static int read_location(const struct field *field, struct reading *reading)
{
        if (!reading->head->location && *field->value)
                reading->head->location = field->value;
        return 0;
}

static int read_known_field(const struct field *field, struct reading *reading)
{
        static const struct {
                const char *name;
                size_t n;
                int (*read)(const struct field *field, struct reading *reading);
        } known[] = {
#define KNOWN(name, read) { name, sizeof(name) - 1, read }
                KNOWN("Connection", read_connection),
                KNOWN("Content-Encoding", read_content_encoding),
                KNOWN("Content-Length", read_length),
                KNOWN("Content-Type", read_content_type),
                KNOWN("Location", read_location),
                KNOWN("Transfer-Encoding", read_transfer_encoding),
#undef KNOWN
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); ++i)
                if (known[i].n == field->n_name &&
                    strncasecmp(known[i].name, field->name, field->n_name) == 0)
                        return known[i].read(field, reading);
        return 0;
}

/* A blank in a name, above all before the colon, would let two readers see two different fields. */
static bool is_name(const char *name, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f)
                        return false;
        return n > 0;
}

/*
 * Makes one line of the text at *@s, NUL-terminated, and moves *@s past it. A line that begins with
 * a blank goes on with the one before (obs-fold; a blank takes the place of the line's end), which
 * only @may_fold. NULL: a CR or a NUL within it, or a fold where there may be none.
 */
static char *take_line(char **s, char *end, bool may_fold, bool *ret_folded)
{
        char *line = *s, *stop;

        *ret_folded = false;
        for (char *at = line;; at = stop) {
                stop = memchr(at, '\n', (size_t)(end - at));
                *s = stop + 1;
                if (stop > at && stop[-1] == '\r')
                        *--stop = ' ';
                if (memchr(at, '\r', (size_t)(stop - at)) || memchr(at, 0, (size_t)(stop - at)))
                        return NULL;
                if (*s >= end || !is_blank(**s))
                        break;
                if (!may_fold)
                        return NULL;
                *ret_folded = true;
                memset(stop, ' ', (size_t)(*s - stop));
        }
        while (stop > line && is_blank(stop[-1]))
                --stop;
        *stop = 0;
        return line;
}

static int read_field(char *line, bool folded, struct reading *reading)
{
        char *colon = strchr(line, ':');
        struct field field;

        if (!colon || !is_name(line, (size_t)(colon - line)))
                return -EBADMSG;
        field = (struct field){ line, colon + 1 + strspn(colon + 1, " \t"), (size_t)(colon - line),
                                folded };
        return read_known_field(&field, reading);
}

/* Who says chunked and a length, or chunked in HTTP/1.0, may have been misunderstood on the way. */
static void finish(struct reading *reading)
{
        struct http_head *head = reading->head;

        head->persistent = !reading->close && (!reading->http_1_0 || reading->keep_alive);
        if (head->chunked && (head->has_length || reading->http_1_0))
                head->persistent = false;
}

int http_head_read(char *data, size_t n, struct http_head *ret)
{
        struct reading reading = { .head = ret };
        char *s = data, *end = data + n;
        bool folded;
        int r = 0;

        *ret = (struct http_head){ 0 };
        for (char *line; r == 0 && s < end; ) {
                bool first = s == data;

                line = take_line(&s, end, !first, &folded);
                if (!line)
                        return -EBADMSG;
                if (first)
                        r = read_status_line(line, &reading);
                else if (*line || folded)
                        r = read_field(line, folded, &reading);
                else
                        break;
        }
        if (r == 0)
                finish(&reading);
        return r;
}
