#include "daemon/supervisor/counters.h"

#include <pppctl/results.h>

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

int counters_recount(int results_fd, uint64_t n_tasks, struct counters *counters)
{
        struct ppp_record records[1024];
        uint64_t n_done = 0, n_failed = 0;

        for (uint64_t index = 0; index < n_tasks;) {
                ssize_t n = read_records(results_fd, index, records,
                                         (size_t)MIN(n_tasks - index, ARRAY_SIZE(records)));

                if (n < 0)
                        return (int)n;
                if (n == 0)
                        return -EBADMSG;
                for (ssize_t i = 0; i < n; ++i) {
                        n_done += records[i].state == PPP_STATE_DONE;
                        n_failed += records[i].state == PPP_STATE_FAILED;
                }
                index += (uint64_t)n;
        }
        counters->n_done = n_done;
        counters->n_failed = n_failed;
        return 0;
}

int counters_find_open(int results_fd, uint64_t n_tasks, uint64_t *open, size_t max, uint64_t *ret_n)
{
        struct ppp_results_header header;
        struct ppp_record records[1024];
        uint64_t n_open = 0, claimed;

        if (pread(results_fd, &header, sizeof(header), 0) != sizeof(header))
                return -EBADMSG;
        claimed = MIN(header.next, n_tasks);
        for (uint64_t index = 0; index < claimed;) {
                ssize_t n = read_records(results_fd, index, records,
                                         (size_t)MIN(claimed - index, ARRAY_SIZE(records)));

                if (n <= 0)
                        return n < 0 ? (int)n : -EBADMSG;
                for (ssize_t i = 0; i < n; ++i)
                        if (records[i].state == PPP_STATE_NONE && n_open++ < max)
                                open[n_open - 1] = index + (uint64_t)i;
                index += (uint64_t)n;
        }
        *ret_n = n_open;
        return 0;
}
