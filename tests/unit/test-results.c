/* The results file: lay-out, validation, publishing, resuming, and the texts of all reasons. */

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "lib/fetch-error.h"
#include "lib/results.h"
#include "tests/unit/test.h"

static int new_file(uint64_t n)
{
        int fd = memfd_create("results", MFD_CLOEXEC);

        test_int(fd, >=, 0);
        test_int(results_create(fd, n, now_monotonic()), ==, 0);
        return fd;
}

static void test_publish(void)
{
        _cleanup_close_ int fd = new_file(3);
        struct results writer = RESULTS_NULL, reader = RESULTS_NULL;
        struct ppp_record record, from = {
                .value = 42,
                .start_ns = 1,
                .end_ns = 2,
                .worker = 7,
                .state = PPP_STATE_DONE,
        };

        test_int(results_map(fd, true, &writer), ==, 0);
        test_int(results_map(fd, false, &reader), ==, 0);
        test_int(reader.n_tasks, ==, 3);
        test_true(!results_get(&reader, 1, &record));
        record_publish(&writer.records[1], &from);
        test_true(results_get(&reader, 1, &record));
        test_int(memcmp(&record, &from, sizeof(record)), ==, 0);
        test_true(!results_get(&reader, 0, &record));
        test_true(!results_get(&reader, 2, &record));
        results_unmap(&writer);
        results_unmap(&reader);
}

static void test_refused(void)
{
        static const struct {
                const char *what;
                size_t at;
                uint64_t value;
                size_t size;
        } broken[] = {
                { "magic", offsetof(struct ppp_results_header, magic), 0, 1 },
                { "version", offsetof(struct ppp_results_header, version), 99, 4 },
                { "header size", offsetof(struct ppp_results_header, header_size), 64, 4 },
                { "record size", offsetof(struct ppp_results_header, record_size), 31, 4 },
                { "no tasks", offsetof(struct ppp_results_header, n_tasks), 0, 8 },
                { "more tasks than there is file", offsetof(struct ppp_results_header, n_tasks), 4,
                  8 },
                { "size that overflows", offsetof(struct ppp_results_header, n_tasks),
                  UINT64_MAX / 32, 8 },
        };
        struct results results = RESULTS_NULL;

        for (size_t i = 0; i < ARRAY_SIZE(broken); ++i) {
                _cleanup_close_ int fd = new_file(3);

                test_int(pwrite(fd, &broken[i].value, broken[i].size, (off_t)broken[i].at), ==,
                         broken[i].size);
                test_int(results_map(fd, false, &results), ==, -EBADMSG);
        }
}

static void test_cut_short(void)
{
        _cleanup_close_ int fd = new_file(200);
        struct results results = RESULTS_NULL;

        test_int(ftruncate(fd, PPP_RESULTS_HEADER_SIZE + 200 * 32 - 1), ==, 0);
        test_int(results_map(fd, false, &results), ==, -EBADMSG);
        test_int(ftruncate(fd, 100), ==, 0);
        test_int(results_map(fd, false, &results), ==, -EBADMSG);
        test_int(ftruncate(fd, 0), ==, 0);
        test_int(results_map(fd, false, &results), ==, -EBADMSG);
}

static void test_resume(void)
{
        _cleanup_close_ int fd = new_file(4);
        struct results results = RESULTS_NULL;
        struct ppp_record done = { .end_ns = 500, .state = PPP_STATE_DONE };
        struct ppp_record failed = { .end_ns = 900, .state = PPP_STATE_FAILED };
        int64_t epoch;

        test_int(results_map(fd, true, &results), ==, 0);
        epoch = results.header->epoch_ns;
        record_publish(&results.records[0], &done);
        record_publish(&results.records[2], &failed);
        results.header->next = 4;
        results.header->n_done = 17; /* progress is flushed in batches and may be lost */

        results_resume(&results);
        test_int(results.header->next, ==, 0);
        test_int(results.header->n_done, ==, 1);
        test_int(results.header->n_failed, ==, 1);
        test_true(results.header->epoch_ns == epoch);

        results_unmap(&results);
}

static void check_withdrawn(uint64_t reasons, unsigned left)
{
        static const struct ppp_record records[] = {
                { .state = PPP_STATE_DONE, .reason = PPP_REASON_TIMEOUT },
                { .state = PPP_STATE_FAILED, .reason = PPP_REASON_TIMEOUT },
                { .state = PPP_STATE_FAILED, .reason = PPP_REASON_OPEN },
                { .state = PPP_STATE_FAILED, .reason = 200 },
        };
        _cleanup_close_ int fd = new_file(ARRAY_SIZE(records));
        struct ppp_end end = { .realtime_ns = 1, .state = "done" };
        struct results results = RESULTS_NULL;

        test_int(results_note_end(fd, &end), ==, 0);
        test_int(results_map(fd, true, &results), ==, 0);
        for (size_t i = 0; i < ARRAY_SIZE(records); ++i)
                record_publish(&results.records[i], &records[i]);
        results_withdraw(&results);
        test_int(record_state(&results.records[1]), ==, PPP_STATE_FAILED);

        test_int(results_run_again(fd, reasons, (uint64_t)results.header->epoch_ns + 70), ==, 0);
        test_int(results.header->again_ns, ==, 70);
        test_int(results_read_end(fd, &end), ==, -ENOENT);
        for (int again = 0; again < 2; ++again) {
                results_withdraw(&results);
                for (unsigned i = 0; i < ARRAY_SIZE(records); ++i)
                        test_int(record_state(&results.records[i]), ==,
                                 left & 1U << i ? records[i].state : PPP_STATE_NONE);
                /* What has run meanwhile stays. */
                for (unsigned i = 0; i < ARRAY_SIZE(records); ++i)
                        record_publish(&results.records[i], &records[i]);
                left = 0xf;
        }
        results_unmap(&results);
}

static void test_withdraw(void)
{
        check_withdrawn(RESULTS_ANY_REASON, 0x1);
        check_withdrawn(UINT64_C(1) << PPP_REASON_TIMEOUT, 0xd);
        check_withdrawn(0, 0xf);
}

/* Moves the file to a boot before this one, after which @passed_ns went by on the wall clock. */
static void reboot(struct ppp_results_header *header, int64_t passed_ns)
{
        header->boot_id[0] ^= 0xff;
        header->created_realtime_ns = now_realtime() - (uint64_t)passed_ns;
        header->epoch_ns = 1000;
        header->runner_start_ns = 1000 + 500;
        header->runner_end_ns = 0;
}

static int64_t since_epoch(const struct ppp_results_header *header)
{
        return (int64_t)now_monotonic() - header->epoch_ns;
}

/*
 * A job that is older than this boot, by more than the machine has been up: its clock began anew.
 */
static void test_reboot(void)
{
        const int64_t long_ago = INT64_C(400) * 86400 * (int64_t)NSEC_PER_SEC;
        struct ppp_record done = { .end_ns = (uint64_t)long_ago / 2, .state = PPP_STATE_DONE };
        _cleanup_close_ int fd = new_file(4);
        struct results results = RESULTS_NULL;

        test_int(results_rebase(fd), ==, 0);
        test_int(results_map(fd, true, &results), ==, 0);
        record_publish(&results.records[0], &done);
        reboot(results.header, long_ago);
        test_int(results_rebase(fd), ==, 1);
        test_int(since_epoch(results.header), >=, long_ago);
        test_int(results.header->epoch_ns, <, 0);
        test_int((int64_t)results.header->runner_start_ns - results.header->epoch_ns, ==, 500);
        test_int(results.header->runner_end_ns, ==, 0);
        test_int(results_rebase(fd), ==, 0);
        results_resume(&results);
        test_int(since_epoch(results.header), >=, long_ago);

        /* A wall clock that was set back: the records tell. */
        reboot(results.header, -long_ago);
        test_int(results_rebase(fd), ==, 1);
        results_resume(&results);
        test_int(since_epoch(results.header), >=, long_ago / 2);
        test_int(since_epoch(results.header), <, long_ago);
        results_unmap(&results);
}

static void test_note_of_an_end(void)
{
        _cleanup_close_ int fd = new_file(4);
        struct ppp_end end = { .realtime_ns = 7, .elapsed_ns = 9 }, found;
        struct results results = RESULTS_NULL;
        uint64_t before, after;

        test_int(results_read_end(fd, &found), ==, -ENOENT);
        before = (uint64_t)lseek(fd, 0, SEEK_END);
        memset(end.state, 'x', sizeof(end.state));
        memset(end.reason, 'y', sizeof(end.reason));
        test_int(results_note_end(fd, &end), ==, 0);
        after = (uint64_t)lseek(fd, 0, SEEK_END);
        test_int(after, ==, before);
        test_int(results_read_end(fd, &found), ==, 0);
        test_int(found.realtime_ns, ==, 7);
        test_int(found.elapsed_ns, ==, 9);
        test_int(strlen(found.state), ==, sizeof(found.state) - 1);
        test_int(strlen(found.reason), ==, sizeof(found.reason) - 1);
        /* Nothing else of the file is touched. */
        test_int(results_map(fd, true, &results), ==, 0);
        test_int(results.header->n_retried, ==, 0);
        test_true(!results_get(&results, 0, &(struct ppp_record){ 0 }));
        results_unmap(&results);
        test_int(ftruncate(fd, 100), ==, 0);
        test_int(results_read_end(fd, &found), ==, -EBADMSG);
}

static void test_full_disk(void)
{
        int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

        if (fd < 0)
                return;
        test_int(results_create(fd, 3, 0), <, 0);
        close(fd);
}

/* The row of every number in the public header: a reason, a name of its own and a sentence. */
static void test_fetch_errors(void)
{
        FILE *header = fopen("include/pppctl/results.h", "re");
        char line[256], constant[64], names[64][32];
        size_t n = 0;
        int error;

        test_true(header);
        while (fgets(line, sizeof(line), header)) {
                _cleanup_free_ char *text = NULL;
                enum ppp_reason reason;

                if (sscanf(line, " PPP_FETCH_%63[A-Z0-9_] = %d", constant, &error) != 2)
                        continue;
                reason = fetch_error_reason((enum ppp_fetch_error)error);
                text = reason_describe(reason, error);
                test_true(text && strlen(text) > 40);
                test_true(!strstr(text, "libcurl's error") && !strstr(text, "newer"));
                test_true(fetch_error_name(reason, error));
                test_int(strlen(fetch_error_name(reason, error)), <, sizeof(*names));
                strcpy(names[n], fetch_error_name(reason, error));
                for (size_t i = 0; i < n; ++i)
                        test_true(strcmp(names[i], names[n]) != 0);
                test_int(++n, <, ARRAY_SIZE(names));
        }
        fclose(header);
        test_int(n, >, 25);
        test_true(!fetch_error_name(PPP_REASON_TRANSFER, 18));
        test_true(!fetch_error_name(PPP_REASON_NO_MEMORY, PPP_FETCH_HEAD_SIZE)); /* that is MiB */
        test_true(!fetch_error_name(PPP_REASON_TIMEOUT, 0));
}

/* A coding is called by its name, with or without x-, and whatever its case. */
static void test_codings(void)
{
        _cleanup_free_ char *text =
                reason_describe(PPP_REASON_ENCODING, (int)fetch_error_of_coding("BR", 2));

        test_contains(text, "`br`");
        test_int(fetch_error_of_coding("x-zstd", 6), ==, PPP_FETCH_CODING_ZSTD);
        test_int(fetch_error_of_coding("brr", 3), ==, PPP_FETCH_CODING);
        test_int(fetch_error_of_coding("broken", 6), ==, PPP_FETCH_CODING);
        test_int(fetch_error_of_coding("", 0), ==, PPP_FETCH_CODING);
}

/* Older files have libcurl's numbers everywhere, and a newer pppd may know more than we do. */
static void test_other_fetch_errors(void)
{
        static const enum ppp_reason reasons[] = { PPP_REASON_TLS, PPP_REASON_TRANSFER,
                                                   PPP_REASON_ENCODING, PPP_REASON_PROTOCOL };

        for (size_t i = 0; i < ARRAY_SIZE(reasons); ++i) {
                _cleanup_free_ char *older = reason_describe(reasons[i], 18);
                _cleanup_free_ char *newer = reason_describe(reasons[i], 1999);

                test_contains(older, "libcurl's error 18");
                test_contains(newer, "error 1999, which a newer pppd knows");
        }
}

static void check_reason(enum ppp_reason reason, int32_t detail, const char *part)
{
        _cleanup_free_ char *text = reason_describe(reason, detail);

        test_contains(text, part);
}

static void test_reasons(void)
{
        static const struct {
                enum ppp_reason reason;
                int32_t detail;
                const char *part;
        } cases[] = {
                { PPP_REASON_HTTP_STATUS, 404, "404" },
                { PPP_REASON_BAD_URL, PPP_URL_HOST_UTF8, "xn--" },
                { PPP_REASON_BAD_URL, PPP_URL_HOST_NAME, "xn--" },
                { PPP_REASON_BAD_URL, PPP_URL_HOST_LENGTH, "xn--" },
                { PPP_REASON_NO_FETCH, PPP_LIBRARY_IDN2, "install libidn2" },
                { PPP_REASON_OPEN, ENOENT, "No such file" },
                { PPP_REASON_OPEN, ECANCELED, "no thread of the kernel" },
                { PPP_REASON_CONNECT, EMFILE, "--workers" },
                { PPP_REASON_IO, 123456, "no name" },
                { PPP_REASON_OOM_KILLED, PPP_OOM_WORKER, "its own memory.max" },
                { PPP_REASON_OOM_KILLED, PPP_OOM_JOB, "the job had come to its memory.max" },
                { PPP_REASON_OOM_KILLED, PPP_OOM_ABOVE, "a group above the job's" },
                { PPP_REASON_OOM_KILLED, PPP_OOM_MACHINE, "the machine had no memory left" },
                { PPP_REASON_OOM_KILLED, PPP_OOM_UNKNOWN, "did not tell for whose limit" },
                /* Older files have the signal there. */
                { PPP_REASON_OOM_KILLED, SIGKILL, "did not tell for whose limit" },
        };

        for (int i = 0; i <= _PPP_REASON_N; ++i) {
                _cleanup_free_ char *text = reason_describe((enum ppp_reason)i, 13);

                test_true(text && *text);
                test_true(!strstr(text, "%s"));
                test_true(reason_name((enum ppp_reason)i) != NULL);
        }
        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
                check_reason(cases[i].reason, cases[i].detail, cases[i].part);
        test_str(reason_name(PPP_REASON_OOM_KILLED), "oom-killed");
        test_str(reason_name((enum ppp_reason)250), "unknown");
}

TEST_MAIN("results", { "a published record is seen whole by another mapping", test_publish },
          { "what is no results file is refused", test_refused },
          { "a file cut short is refused", test_cut_short },
          { "a job is taken up again", test_resume },
          { "failures are withdrawn once", test_withdraw },
          { "a machine that was booted since", test_reboot },
          { "a note of an end", test_note_of_an_end },
          { "a full disk is an error", test_full_disk },
          { "each reason has a name and a text", test_reasons },
          { "each fetch error has a name and a text", test_fetch_errors },
          { "each coding has its fetch error", test_codings },
          { "other numbers are told as what they are", test_other_fetch_errors })
