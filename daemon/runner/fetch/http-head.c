#include "daemon/runner/fetch/http-head.h"

#include <strings.h>

#define PREFIX "HTTP/"

/* One field, its parts where they lie; the value is NUL-terminated. */
struct field {
        const char *name, *value;
        size_t n_name;
        bool folded; /* the value goes on in another line */
};

/* The knowledge about the head while it is being read. */
struct reading {
        struct http_head *head;
        bool http_1_0;
        bool lax;               /* something in it others may refuse, or read otherwise */
        bool close, keep_alive; /* said by Connection */
};

/* It does not matter here which version it is, or whether the line is complete: that is checked
 * later. */
bool http_head_may_begin(const char *data, size_t n)
{
        while (n > 0 && strchr(" \t\r\n", *data) && *data) {
                ++data;
                --n;
        }
        return strncasecmp(data, PREFIX, MIN(n, strlen(PREFIX))) == 0;
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
        const char *version, *status;

        if (strncmp(line, PREFIX "1.", strlen(PREFIX "1.")) != 0)
                return PPP_FETCH_STATUS_LINE;
        version = line + strlen(PREFIX "1.");
        if ((*version != '0' && *version != '1') || version[1] != ' ')
                return PPP_FETCH_STATUS_LINE;
        reading->http_1_0 = *version == '0';
        status = version + 1 + strspn(version + 1, " ");
        reading->lax |= status != version + 2;
        if (!is_digit(status[0]) || status[0] == '0' || !is_digit(status[1]) ||
            !is_digit(status[2]) || (status[3] != 0 && !is_blank(status[3])))
                return PPP_FETCH_STATUS_LINE;
        reading->head->status =
                (unsigned)((status[0] - '0') * 100 + (status[1] - '0') * 10 + status[2] - '0');
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
                return PPP_FETCH_LENGTH;
        do {
                if (parse_u64(element, n, INT64_MAX, &length) < 0 ||
                    (head->has_length && head->length != length))
                        return PPP_FETCH_LENGTH;
                head->has_length = true;
                head->length = length;
        } while (next_element(&s, &element, &n));
        return 0;
}

/*
 * chunked said twice is undone once, as everybody does. A coding after it would leave the end of
 * the body to guesses.
 */
static int read_transfer_encoding(const struct field *field, struct reading *reading)
{
        struct http_head *head = reading->head;
        const char *s = field->value, *element;
        size_t n;

        if (field->folded)
                return PPP_FETCH_AMBIGUOUS;
        while (next_element(&s, &element, &n)) {
                size_t n_before = head->transfer_codings.n;

                if (element_is(element, n, "chunked")) {
                        head->chunked = true;
                        continue;
                }
                coding_list_add(&head->transfer_codings, element, n);
                if (head->transfer_codings.fault)
                        return head->transfer_codings.fault;
                if (head->chunked && head->transfer_codings.n > n_before)
                        return PPP_FETCH_AMBIGUOUS;
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
        coding_list_add(&reading->head->content_codings, field->value, strlen(field->value));
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

/* Whether @c cannot be part of a name. */
static bool is_noise(char c)
{
        return (unsigned char)c <= ' ' || c == 0x7f;
}

static bool sounds_like(const char *name, size_t n, const char *wanted)
{
        for (size_t i = 0; i < n; ++i) {
                if (is_noise(name[i]))
                        continue;
                if (!*wanted || (name[i] | 0x20) != (*wanted++ | 0x20))
                        return false;
        }
        return !*wanted;
}

/* Whether somebody could take @name for that of a field that says where the body ends. */
static bool may_frame(const char *name, size_t n)
{
        return sounds_like(name, n, "Content-Length") || sounds_like(name, n, "Transfer-Encoding");
}

static bool begins_framing(const char *text, const char *end)
{
        const char *colon = memchr(text, ':', (size_t)(end - text));

        return colon && may_frame(text, (size_t)(colon - text));
}

static bool is_clean(const char *name, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                if (is_noise(name[i]))
                        return false;
        return n > 0;
}

/* Turns each CR from @at to @end, where the line ends, into a blank if it can be nothing else. */
static int replace_cr(char *at, char *end, struct reading *reading)
{
        char *last = end;

        if (!memchr(at, '\r', (size_t)(end - at)))
                return 0;
        reading->lax = true;
        while (last > at && last[-1] == '\r')
                *--last = ' ';
        if (last == at)
                return PPP_FETCH_AMBIGUOUS;
        for (char *c = at; c < last; ++c) {
                if (*c != '\r')
                        continue;
                if (c[1] == '\r' || begins_framing(c + 1, last))
                        return PPP_FETCH_AMBIGUOUS;
                *c = ' ';
        }
        return 0;
}

/*
 * Makes one line of the text at *@s, NUL-terminated, and moves *@s past it. A line that begins with
 * a blank continues the one before (obs-fold; a blank replaces the line's end), which is allowed
 * only if @may_fold. *@ret_folded: the continuation holds more than blanks. Returns 0 or a fault.
 */
static int take_line(char **s, char *end, bool may_fold, struct reading *reading, char **ret,
                     bool *ret_folded)
{
        char *line = *s, *stop;
        int fault;

        *ret_folded = false;
        for (char *at = line;; at = *s) {
                const char *text = at;

                stop = memchr(at, '\n', (size_t)(end - at));
                *s = stop + 1;
                *stop = ' ';
                if (stop > at && stop[-1] == '\r')
                        *--stop = ' ';
                if (memchr(at, 0, (size_t)(stop - at)))
                        return PPP_FETCH_HEADER_LINE;
                fault = replace_cr(at, stop, reading);
                if (fault)
                        return fault;
                while (at > line && text < stop && is_blank(*text))
                        ++text;
                if (at > line && begins_framing(text, stop))
                        return PPP_FETCH_AMBIGUOUS;
                *ret_folded |= at > line && text < stop;
                if (*s >= end || !is_blank(**s))
                        break;
                if (!may_fold)
                        return PPP_FETCH_HEADER_LINE;
        }
        while (stop > line && is_blank(stop[-1]))
                --stop;
        *stop = 0;
        *ret = line;
        return 0;
}

static int read_field(char *line, bool folded, struct reading *reading)
{
        char *colon = strchr(line, ':');
        struct field field = { .name = line, .folded = folded };

        if (!colon)
                return PPP_FETCH_HEADER_LINE;
        field.n_name = (size_t)(colon - line);
        while (field.n_name > 0 && is_blank(line[field.n_name - 1]))
                --field.n_name;
        field.value = colon + 1 + strspn(colon + 1, " \t");
        if (line + field.n_name < colon || !is_clean(line, field.n_name)) {
                if (may_frame(line, field.n_name))
                        return PPP_FETCH_AMBIGUOUS;
                reading->lax = true;
                if (!is_clean(line, field.n_name))
                        return 0;
        }
        return read_known_field(&field, reading);
}

/*
 * An answer with both chunked and a length, or with chunked in HTTP/1.0, may have been
 * misunderstood on the way.
 */
static int finish(struct reading *reading)
{
        struct http_head *head = reading->head;

        if (head->has_length && head->transfer_codings.n > 0 && !head->chunked)
                return PPP_FETCH_AMBIGUOUS;
        head->persistent =
                !reading->lax && !reading->close && (!reading->http_1_0 || reading->keep_alive);
        if (head->chunked && (head->has_length || reading->http_1_0))
                head->persistent = false;
        return 0;
}

int http_head_read(char *data, size_t n, struct http_head *ret)
{
        struct reading reading = { .head = ret };
        char *s = data, *end = data + n, *line;
        bool folded;
        int fault;

        *ret = (struct http_head){ 0 };
        fault = take_line(&s, end, false, &reading, &line, &folded);
        if (!fault)
                fault = read_status_line(line, &reading);
        while (!fault && s < end) {
                fault = take_line(&s, end, true, &reading, &line, &folded);
                if (!fault && !*line)
                        break;
                if (!fault)
                        fault = read_field(line, folded, &reading);
        }
        return fault ?: finish(&reading);
}
