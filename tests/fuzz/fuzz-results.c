/*
 * libFuzzer: a results file that somebody else wrote. It starts as a good one, then the input
 * changes bytes of it and cuts it; a reader must refuse it or be able to walk all of its records
 * and describe them.
 */

#include <sys/mman.h>

#include "lib/results.h"
#include "tests/fuzz/fuzz.h"

#define TASKS 9

static void walk(const struct results *results)
{
        fuzz_check(results->n_tasks > 0 && results->n_tasks <= RESULTS_MAX_TASKS);
        for (uint64_t i = 0; i < results->n_tasks; ++i) {
                _cleanup_free_ char *text = NULL;
                struct ppp_record record;

                if (!results_get(results, i, &record))
                        continue;
                text = reason_describe(record.reason, record.detail);
                fuzz_check(text && text[0] && !strstr(text, "(null)"));
                fuzz_check(reason_name(record.reason));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, n };
        _cleanup_close_ int fd = memfd_create("fuzz-results", MFD_CLOEXEC);
        struct results results = RESULTS_NULL;
        bool writable;
        int r;

        fuzz_check(fd >= 0);
        fuzz_check(results_create(fd, TASKS, 1) == 0);
        writable = fuzz_byte(&fuzz) & 1;
        r = fuzz_byte(&fuzz) | fuzz_byte(&fuzz) << 8;
        fuzz_patch(fd, fuzz.data, fuzz.n);
        if (r & 1)
                fuzz_check(ftruncate(fd, r >> 1) == 0);

        r = results_map(fd, writable, &results);
        if (r < 0) {
                fuzz_check(r == -EBADMSG && !results.header);
                return 0;
        }
        walk(&results);
        if (writable) {
                results_resume(&results);
                walk(&results);
        }
        results_unmap(&results);
        return 0;
}
