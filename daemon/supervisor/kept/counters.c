#include "daemon/supervisor/kept/counters.h"

#include <stdio.h>

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
                .again_ns = header.again_ns,
        };
        return 0;
}

/* Reads up to @n records, beginning with that of task @index, and returns how many it read. */
static ssize_t read_records(int fd, uint64_t index, struct ppp_record *records, size_t n)
{
        off_t offset = PPP_RESULTS_HEADER_SIZE + (off_t)(index * sizeof(*records));
        ssize_t l = pread(fd, records, n * sizeof(*records), offset);

        return l < 0 ? -errno : l / (ssize_t)sizeof(*records);
}

/* Calls @look for each record below @n_tasks. */
static int for_each_record(int fd, uint64_t n_tasks,
                           void (*look)(void *userdata, uint64_t index,
                                        const struct ppp_record *record),
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

struct tallying {
        struct tally *tally;
        uint64_t claimed;  /* all tasks below this index have been claimed */
        uint64_t since_ns; /* counts as lately */
};

static void tally_failure(struct tally *tally, const struct ppp_record *record, bool lately)
{
        bool oom = record->reason == PPP_REASON_OOM_KILLED;

        ++tally->n_failed;
        tally->failures[record->reason < _PPP_REASON_N ? record->reason : PPP_REASON_NONE] +=
                lately;
        tally->n_killed += oom || record->reason == PPP_REASON_SIGNAL;
        tally->n_oom += oom;
}

static void tally_record(void *userdata, uint64_t index, const struct ppp_record *record)
{
        const struct tallying *tallying = userdata;
        struct tally *tally = tallying->tally;
        bool lately = record->end_ns >= tallying->since_ns;

        if (record->state == PPP_STATE_DONE) {
                ++tally->n_done;
                tally->n_done_lately += lately;
        } else if (record->state == PPP_STATE_FAILED)
                tally_failure(tally, record, lately);
        else if (record->state == PPP_STATE_NONE && index < tallying->claimed &&
                 tally->n_open++ < TALLY_OPEN_MAX)
                tally->open[tally->n_open - 1] = index;
}

int counters_tally(int results_fd, uint64_t n_tasks, struct tally *ret)
{
        struct tally tally = { .n_done = 0 };
        struct tallying tallying = { .tally = &tally };
        struct ppp_results_header header;
        int r;

        if (pread(results_fd, &header, sizeof(header), 0) != sizeof(header))
                return -EBADMSG;
        tallying.claimed = header.next;
        tallying.since_ns = header.again_ns;
        r = for_each_record(results_fd, n_tasks, tally_record, &tallying);
        if (r >= 0)
                *ret = tally;
        return r;
}

char *tally_describe_open(const struct tally *tally, const struct spec *spec)
{
        uint64_t n = tally ? tally->n_open : 0;
        char list[TALLY_OPEN_MAX * 22] = "", *text;
        size_t at = 0;
        int r;

        if (n == 0)
                return strdup("");
        /* A single worker takes one after the other, so it had not begun the rest of its chunk. */
        if (level_info(spec->level)->workers_max == 1)
                n = 1;
        for (size_t i = 0; i < MIN(n, (uint64_t)TALLY_OPEN_MAX); ++i)
                at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%llu", i ? ", " : "",
                                       (unsigned long long)tally->open[i] + 1);
        if (n > TALLY_OPEN_MAX)
                r = asprintf(&text, "; inputs %s and %llu more were in progress or next", list,
                             (unsigned long long)(n - TALLY_OPEN_MAX));
        else
                r = asprintf(&text, "; input%s %s %s in progress%s", n > 1 ? "s" : "", list,
                             n > 1 ? "were" : "was", n > 1 ? " or next" : "");
        return r < 0 ? NULL : text;
}
