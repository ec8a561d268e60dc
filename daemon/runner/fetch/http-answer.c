#include "daemon/runner/fetch/http-answer.h"

#include <strings.h>

#include "daemon/runner/fetch/content-type.h"
#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/fetch/http-cookies.h"
#include "daemon/runner/fetch/http-url.h"
#include "daemon/runner/fetch/retry-after.h"
#include "lib/fetch-error.h"

/* Even a charset that is slow to decode takes no millisecond for so much. */
#define PIECE_SIZE (16 * 1024)

int http_fail(struct ppp_task *task, enum ppp_fetch_error error)
{
        return task_fail(task, fetch_error_reason(error), (int32_t)error);
}

int http_fail_time(struct ppp_task *task)
{
        return task->deadline_ns ? task_fail(task, PPP_REASON_TIMEOUT, 0)
                                 : http_fail(task, PPP_FETCH_SILENCE);
}

void http_codings_deinit(struct http_codings *codings)
{
        struct http_coding *next;

        for (struct http_coding *coding = codings->first; coding; coding = next) {
                next = coding->next;
                content_coding_deinit(&coding->coding);
                free(coding);
        }
        codings->first = NULL;
}

void http_answer_init(struct http_answer *answer, struct http_get *get,
                      int (*breathe)(struct http_answer *answer))
{
        *answer = (struct http_answer){ .get = get, .breathe = breathe };
        get->location = NULL;
}

static int fail_memory(const struct http_answer *answer)
{
        return task_fail(answer->get->task, PPP_REASON_NO_MEMORY, 0);
}

static int fail_answer(const struct http_answer *answer, enum ppp_fetch_error error)
{
        return http_fail(answer->get->task, error);
}
int http_answer_count(struct http_answer *answer, size_t n)
{
        answer->n_head += n;
        return answer->n_head > FETCH_HEADERS_MAX ? fail_answer(answer, PPP_FETCH_HEAD_SIZE) : 0;
}

int http_answer_check(struct http_answer *answer, const char *data, size_t n)
{
        if (!http_head_may_begin(data, n))
                return fail_answer(answer, PPP_FETCH_NOT_HTTP);
        return n + answer->n_head > FETCH_HEADERS_MAX ? fail_answer(answer, PPP_FETCH_HEAD_SIZE)
                                                      : 0;
}

static int take_coding(struct http_answer *answer, const struct coding_list *list)
{
        struct http_codings *codings = answer->get->codings;
        struct http_coding *coding = codings->first;

        if (coding)
                codings->first = coding->next;
        else
                coding = calloc(1, sizeof(*coding));
        if (!coding)
                return fail_memory(answer);
        answer->coding = coding;
        return content_coding_begin(&coding->coding, list) < 0 ? fail_memory(answer) : 0;
}

static void put_coding(struct http_answer *answer)
{
        struct http_codings *codings = answer->get->codings;

        if (!answer->coding)
                return;
        answer->coding->next = codings->first;
        codings->first = steal_ptr(answer->coding);
}

static void note_charset(struct http_answer *answer)
{
        const char *type = answer->head.content_type;
        size_t n;

        answer->charset = type ? content_type_charset(type, &n) : NULL;
        if (answer->charset)
                ((char *)answer->charset)[n] = 0;
}

/* Notes fields that struct http_head lacks, before the head is read: reading writes into @data. */
static void note_fields(struct http_answer *answer, const char *data, size_t n)
{
        struct http_get *get = answer->get;

        if (n < strlen("HTTP/1.1 200"))
                return;
        if (data[9] == '3')
                http_cookies_take(get->cookies, get->url, data, n);
        else if (memcmp(data + 9, "429", 3) == 0 || memcmp(data + 9, "503", 3) == 0)
                get->task->retry_after_ns = retry_after_find(data, n);
}

static int begin_body(struct http_answer *answer)
{
        struct http_head *head = &answer->head;
        struct http_get *get = answer->get;

        if (head->status >= 300 && head->status < 400 && head->location)
                return http_url_resolve(get->url, head->location, &get->location) < 0
                               ? fail_memory(answer)
                               : 0;
        if (head->status >= 400)
                return 0;
        note_charset(answer);
        if (!answer->transfer_undone)
                coding_list_append(&head->content_codings, &head->transfer_codings);
        return head->content_codings.n > 0 && !head->content_codings.fault
                       ? take_coding(answer, &head->content_codings)
                       : 0;
}

int http_answer_head(struct http_answer *answer, char *data, size_t n)
{
        int r;

        r = http_answer_check(answer, data, n);
        if (r < 0)
                return r;
        answer->n_head += n;
        note_fields(answer, data, n);
        r = http_head_read(data, n, &answer->head);
        if (r != 0)
                return fail_answer(answer, (enum ppp_fetch_error)r);
        /* Another protocol, which we did not ask for. */
        if (answer->head.status == 101)
                return fail_answer(answer, PPP_FETCH_UPGRADE);
        return answer->head.status < 200 ? 0 : begin_body(answer);
}

int http_answer_keep(struct http_answer *answer)
{
        if (!answer->charset || answer->charset == answer->charset_kept)
                return 0;
        answer->charset = answer->charset_kept = strdup(answer->charset);
        return answer->charset ? 0 : fail_memory(answer);
}

static int hand_on(struct http_answer *answer, const struct ppp_chunk *chunk)
{
        return chunk->size > 0 ? MIN(answer->get->sink(answer->get->userdata, chunk), 0) : 0;
}

static int hand_on_decoded(struct http_answer *answer)
{
        struct ppp_chunk chunk = { .charset = answer->charset };
        int r = content_coding_next(&answer->coding->coding, &chunk.data, &chunk.size);

        switch (r) {
        case 0:
                return 0;
        case -ENOMEM:
                return fail_memory(answer);
        case -EOVERFLOW:
                return fail_answer(answer, PPP_FETCH_TRAILING);
        default:
                return r < 0 ? fail_answer(answer, PPP_FETCH_CODING_BROKEN)
                             : hand_on(answer, &chunk) ?: HTTP_MORE;
        }
}

static int hand_on_plain(struct http_answer *answer)
{
        struct ppp_chunk chunk = { answer->plain, MIN(answer->n_plain, (size_t)PIECE_SIZE),
                                   answer->charset };

        answer->plain += chunk.size;
        answer->n_plain -= chunk.size;
        return hand_on(answer, &chunk) ?: answer->n_plain > 0 ? HTTP_MORE : 0;
}

static int discard(struct http_answer *answer, size_t n)
{
        answer->n_discarded += n;
        return answer->n_discarded > FETCH_DISCARD_MAX ? HTTP_ENOUGH : 0;
}

void http_answer_feed(struct http_answer *answer, const char *data, size_t n)
{
        if (answer->coding) {
                content_coding_feed(&answer->coding->coding, data, n);
                return;
        }
        answer->plain = data;
        answer->n_plain = n;
}

int http_answer_next(struct http_answer *answer)
{
        if (answer->coding)
                return hand_on_decoded(answer);
        if (answer->n_plain == 0)
                return 0;
        if (http_answer_is_unwanted(answer))
                return discard(answer, answer->n_plain);
        if (answer->head.content_codings.fault)
                return fail_answer(answer, answer->head.content_codings.fault);
        return hand_on_plain(answer);
}

size_t http_answer_left(const struct http_answer *answer)
{
        return answer->coding ? content_coding_left(&answer->coding->coding) : answer->n_plain;
}

void http_answer_move(struct http_answer *answer, const char *data)
{
        if (answer->coding)
                content_coding_move(&answer->coding->coding, data);
        else
                answer->plain = data;
}

int http_answer_body(struct http_answer *answer, const char *data, size_t n)
{
        int r;

        http_answer_feed(answer, data, n);
        while ((r = http_answer_next(answer)) == HTTP_MORE) {
                r = answer->breathe(answer);
                if (r < 0)
                        return r;
        }
        return r;
}

static int result(struct http_answer *answer, int r)
{
        struct ppp_task *task = answer->get->task;

        if (r < 0 && task->reason == PPP_REASON_CANCELLED)
                return r;
        if (answer->head.status >= 400)
                return task_fail(task, PPP_REASON_HTTP_STATUS, (int32_t)answer->head.status);
        if (answer->get->location)
                return HTTP_FOLLOW;
        if (r < 0)
                return r;
        if (answer->coding && !content_coding_is_whole(&answer->coding->coding))
                return fail_answer(answer, PPP_FETCH_CODING_BROKEN);
        return 0;
}

int http_answer_end(struct http_answer *answer, int r)
{
        r = result(answer, r);
        put_coding(answer);
        free(answer->charset_kept);
        answer->charset = answer->charset_kept = NULL;
        return r;
}
