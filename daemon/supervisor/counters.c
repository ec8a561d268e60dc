#include "daemon/supervisor/counters.h"

int counters_read(int results_fd, struct counters *ret)
{
        struct ppp_results_header header;
        ssize_t n;

        n = pread(results_fd, &header, sizeof(header), 0);
        if (n < 0)
                return -errno;
        if (n != sizeof(header) ||
            memcmp(header.magic, PPP_RESULTS_MAGIC, sizeof(header.magic)) != 0 ||
            header.version != PPP_RESULTS_VERSION)
                return -EBADMSG;
        *ret = (struct counters){
                .n_done = header.n_done,
                .n_failed = header.n_failed,
                .n_retried = header.n_retried,
                .condition = header.condition,
                .epoch_ns = header.epoch_ns,
                .runner_start_ns = header.runner_start_ns,
                .runner_end_ns = header.runner_end_ns,
        };
        return 0;
}

/* The records from @offset on, as many as fit; their number. */
static ssize_t read_records(int fd, uint64_t index, struct ppp_record *records, size_t n)
{
        off_t offset = PPP_RESULTS_HEADER_SIZE + (off_t)(index * sizeof(*records));
        ssize_t l = pread(fd, records, n * sizeof(*records), offset);

        return l < 0 ? -errno : l / (ssize_t)sizeof(*records);
}

/* Calls @look for each record below @n_tasks. */
static int for_each_record(int fd, uint64_t n_tasks,
                           void (*look)(void *userdata, uint64_t index, const struct ppp_record *record),
                           void *userdata)
{
        struct ppp_record records[1024];

        for (uint64_t index = 0; index < n_tasks;) {
                ssize_t n = read_records(fd, index, records,
                                         (size_t)MIN(n_tasks - index, ARRAY_SIZE(records)));

                if (n <= 0)
                        return n < 0 ? (int)n : -EBADMSG;
                for (ssize_t i = 0; i < n; ++i)
                        look(userdata, index + (uint64_t)i, &records[i]);
                index += (uint64_t)n;
        }
        return 0;
}

static void count_ended(void *userdata, uint64_t index, const struct ppp_record *record)
{
        struct counters *counters = userdata;

        counters->n_done += record->state == PPP_STATE_DONE;
        counters->n_failed += record->state == PPP_STATE_FAILED;
}

int counters_recount(int results_fd, uint64_t n_tasks, struct counters *counters)
{
        struct counters found = { 0 };
        int r;

        r = for_each_record(results_fd, n_tasks, count_ended, &found);
        if (r < 0)
                return r;
        counters->n_done = found.n_done;
        counters->n_failed = found.n_failed;
        return 0;
}

struct killed {
        uint64_t n, n_oom;
};

static void count_killed(void *userdata, uint64_t index, const struct ppp_record *record)
{
        struct killed *killed = userdata;
        bool oom = record->reason == PPP_REASON_OOM_KILLED;

        if (record->state != PPP_STATE_FAILED)
                return;
        killed->n += oom || record->reason == PPP_REASON_SIGNAL;
        killed->n_oom += oom;
}

int counters_find_killed(int results_fd, uint64_t n_tasks, uint64_t *ret_killed, uint64_t *ret_oom)
{
        struct killed killed = { 0 };
        int r;

        r = for_each_record(results_fd, n_tasks, count_killed, &killed);
        if (r < 0)
                return r;
        *ret_killed = killed.n;
        *ret_oom = killed.n_oom;
        return 0;
}

struct open_tasks {
        uint64_t *list, n;
        size_t max;
};

static void note_open(void *userdata, uint64_t index, const struct ppp_record *record)
{
        struct open_tasks *open = userdata;

        if (record->state == PPP_STATE_NONE && open->n++ < open->max)
                open->list[open->n - 1] = index;
}

int counters_find_open(int results_fd, uint64_t n_tasks, uint64_t *open, size_t max, uint64_t *ret_n)
{
        struct open_tasks found = { .list = open, .max = max };
        struct ppp_results_header header;
        int r;

        if (pread(results_fd, &header, sizeof(header), 0) != sizeof(header))
                return -EBADMSG;
        r = for_each_record(results_fd, MIN(header.next, n_tasks), note_open, &found);
        if (r < 0)
                return r;
        *ret_n = found.n;
        return 0;
}

/* @userdata: counts by reason. */
static void add_failure(void *userdata, uint64_t index, const struct ppp_record *record)
{
        uint64_t *counts = userdata;

        if (record->state == PPP_STATE_FAILED)
                ++counts[record->reason < _PPP_REASON_N ? record->reason : PPP_REASON_NONE];
}

int counters_add_failures(int results_fd, uint64_t n_tasks, uint64_t counts[static _PPP_REASON_N])
{
        return for_each_record(results_fd, n_tasks, add_failure, counts);
}
