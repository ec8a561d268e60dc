#include "daemon/supervisor/helpers/doctor-query.h"

#include <sys/stat.h>

#include "lib/json-text.h"

#define END_MSEC 3000

void doctor_query_init(struct doctor_query *query, sd_event *event)
{
        *query = (struct doctor_query){ .event = event };
        list_init(&query->waiters);
}

void doctor_query_deinit(struct doctor_query *query)
{
        if (!query->event)
                return;
        assert(list_empty(&query->waiters));
        /* Killed, it would leave the groups behind that it tries things in. */
        query->errand = errand_await(query->errand, END_MSEC);
}

static int child_look(void *userdata, int out_fd)
{
        _cleanup_free_ char *text = NULL;
        const struct doctor_query *query = userdata;
        json_t *checks = doctor_look(query->doctor);

        text = checks ? json_text(checks, JSON_COMPACT) : NULL;
        return text ? write_all(out_fd, text, strlen(text)) : -ENOMEM;
}

static int read_checks(int fd, json_t **ret)
{
        _cleanup_free_ char *text = NULL;
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0)
                return -errno;
        text = malloc((size_t)st.st_size + 1);
        if (!text)
                return -ENOMEM;
        n = pread(fd, text, (size_t)st.st_size, 0);
        *ret = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
        return *ret ? 0 : -EBADMSG;
}

static void on_done(void *userdata, int r, int out_fd)
{
        struct doctor_query *query = userdata;
        struct doctor_waiter *waiter;
        json_t *checks = NULL;

        query->errand = NULL;
        if (r >= 0)
                r = read_checks(out_fd, &checks);
        list_for_each(waiter, &query->waiters, struct doctor_waiter, link) {
                list_remove(&waiter->link);
                waiter->answer(waiter, checks, r);
        }
        json_decref(checks);
}

int doctor_query_ask(struct doctor_query *query, const struct doctor *doctor,
                     struct doctor_waiter *waiter)
{
        const struct errand_work work = {
                .run = child_look,
                .done = on_done,
                .userdata = query,
        };
        int r = 0;

        query->doctor = doctor;
        if (!query->errand)
                r = errand_start(query->event, &work, &query->errand);
        query->doctor = NULL;
        if (r >= 0)
                list_append(&query->waiters, &waiter->link);
        return r;
}
