/*
 * libFuzzer: any JSON as a job's spec. What is refused must be so with a reason that can go back in
 * a reply; what is taken must be within the limits, and survive being written and read again.
 */

#include "lib/json-depth.h"
#include "lib/spec.h"
#include "tests/fuzz/fuzz.h"

/* A text of ours, with parts of the peer's in it, must be text still. */
static void check_text(const char *text)
{
        json_t *json = json_string(text);

        fuzz_check(text[0] && json);
        json_decref(json);
}

static void check_limits(const struct spec *spec)
{
        fuzz_check((unsigned)spec->level < _LEVEL_N && (unsigned)spec->workload < _WORKLOAD_N);
        fuzz_check(spec->workers <= SPEC_WORKERS_MAX && spec->loops <= SPEC_LOOPS_MAX);
        fuzz_check(spec->workers <= level_info(spec->level)->workers_max);
        fuzz_check(spec->retries <= SPEC_RETRIES_MAX);
        fuzz_check(!spec->ca_file || spec->ca_file[0] == '/');
}

/* Durations are JSON reals on the way, with 53 bits of them. */
static bool same_duration(uint64_t a, uint64_t b)
{
        return MAX(a, b) - MIN(a, b) <= 4 + a / UINT64_C(1000000000000000);
}

static void check_again(const struct spec *spec)
{
        struct spec again = SPEC_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *json = spec_to_json(spec);

        fuzz_check(json && spec_from_json(json, &again, &fault) == 0);
        json_decref(json);
        fuzz_check(again.level == spec->level && again.workload == spec->workload &&
                   again.workers == spec->workers && again.loops == spec->loops &&
                   again.gil == spec->gil && again.retries == spec->retries);
        fuzz_check(same_duration(spec->timeout_ns, again.timeout_ns));
        fuzz_check(same_duration(spec->task_timeout_ns, again.task_timeout_ns));
        fuzz_check(!again.ca_file == !spec->ca_file);
        fuzz_check(!spec->ca_file || streq(spec->ca_file, again.ca_file));
        spec_deinit(&again);
}

static void check_fill(struct spec *spec, unsigned n_cpus, uint64_t n_tasks)
{
        spec_fill(spec, n_cpus, n_tasks);
        /* The workers of machines are its nodes', which nobody knows beforehand. */
        if (spec->level == LEVEL_MACHINES)
                fuzz_check(spec->workers == 0 && spec->loops == 0);
        else
                fuzz_check(spec->workers >= 1 && spec->workers <= n_tasks &&
                           spec->loops <= spec->workers);
        check_limits(spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, n };
        uint64_t n_tasks = 1 + fuzz_byte(&fuzz) * UINT64_C(300);
        unsigned n_cpus = 1U + fuzz_byte(&fuzz) * 40U;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct spec spec = SPEC_NULL;
        json_t *json;

        if (json_depth_exceeds((const char *)fuzz.data, fuzz.n, JSON_DEPTH_MAX))
                return 0;
        json = json_loadb((const char *)fuzz.data, fuzz.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                          NULL);
        if (!json)
                return 0;
        if (spec_from_json(json, &spec, &fault) == 0) {
                check_limits(&spec);
                check_again(&spec);
                check_fill(&spec, n_cpus, n_tasks);
                check_again(&spec);
        } else {
                check_text(fault.field);
                check_text(fault.why);
                check_text(fault.advice);
        }
        spec_deinit(&spec);
        json_decref(json);
        return 0;
}
