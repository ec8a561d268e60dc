/*
 * libFuzzer: any bytes as a configuration file. What is refused must be so with a sentence that
 * names file and line; what is taken can be handed to a runner, and read again it says the same.
 */

#include "daemon/supervisor/base/config.h"
#include "tests/fuzz/fuzz.h"

/* NULL: refused. */
static json_t *read_file(const uint8_t *data, size_t n, bool is_public, struct config *config)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *json;
        int r;

        config_defaults(config);
        r = config_parse(config, "file", is_public, (const char *)data, n, &fault);
        fuzz_check(r == 0 || (r == -EBADMSG && fault.why && strncmp(fault.why, "file:", 5) == 0));
        if (r < 0)
                return NULL;
        r = machines_config_check(&config->machines, &fault);
        fuzz_check(r == 0 || (r == -EBADMSG && fault.why && *fault.why));
        if (r < 0)
                return NULL;
        json = machines_config_to_json(&config->machines);
        fuzz_check(json);
        return json;
}

static void check_again(const struct config *a, const struct config *b)
{
        fuzz_check(a->max_running == b->max_running && a->max_queued == b->max_queued &&
                   a->keep_jobs == b->keep_jobs && a->keep_age_ns == b->keep_age_ns &&
                   a->inputs_size_max == b->inputs_size_max);
        fuzz_check(a->machines.heartbeat_ns == b->machines.heartbeat_ns &&
                   a->machines.workloads == b->machines.workloads);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, n };
        bool is_public = fuzz_byte(&fuzz) & 1;
        struct config first, again;
        json_t *json = read_file(fuzz.data, fuzz.n, is_public, &first);
        json_t *same = read_file(fuzz.data, fuzz.n, is_public, &again);

        fuzz_check(!json == !same);
        if (json) {
                check_again(&first, &again);
                fuzz_check(json_equal(json, same));
        }
        json_decref(json);
        json_decref(same);
        config_deinit(&first);
        config_deinit(&again);
        return 0;
}
