/*
 * libFuzzer: any bytes as what Redis answers. hiredis takes them apart; what it gives is read as an
 * entry with a chunk, as one with results, and as one of an owner. What is taken keeps to its
 * bounds, and says the same when read as it was written.
 */

#include "daemon/runner/machines/codec.h"
#include "lib/inputs.h"
#include "lib/machines.h"
#include "tests/fuzz/fuzz.h"

static void check_chunk(const redisReply *reply)
{
        struct chunk_entry entry;
        struct entry_id id;
        const char *why = NULL;
        uint32_t lines = 0;

        if (chunk_entry_parse(reply, &entry, &id, &why) < 0) {
                fuzz_check(why);
                return;
        }
        fuzz_check(entry.n >= 1 && entry.n <= CHUNK_TASKS_MAX && entry.first < RESULTS_MAX_TASKS);
        for (size_t i = 0; i < entry.inputs.size; ++i)
                lines += entry.inputs.data[i] == '\n';
        fuzz_check(lines == entry.n && entry.inputs.data[entry.inputs.size - 1] == '\n');
        fuzz_check(entry_id_equal(entry.id, id) && entry.job.size > 0);
}

static void check_result(const redisReply *reply)
{
        struct result_entry entry;
        struct ppp_record *records;
        struct entry_id id;
        const char *why = NULL;
        char *packed;

        if (result_entry_parse(reply, &entry, &id, &why) < 0) {
                fuzz_check(why);
                return;
        }
        records = calloc(entry.n, sizeof(*records));
        packed = calloc(entry.n, sizeof(*records));
        fuzz_check(records && packed);
        for (uint32_t i = 0; i < entry.n; ++i) {
                fuzz_check(result_record(&entry, i, &records[i]));
                fuzz_check(records[i].state <= PPP_STATE_FAILED);
                if (records[i].state == PPP_STATE_NONE)
                        continue;
                fuzz_check(records[i].start_ns <= records[i].end_ns);
                fuzz_check((records[i].state == PPP_STATE_FAILED) == (records[i].reason != 0));
        }
        records_pack(records, entry.n, 0, packed);
        entry.records = packed;
        for (uint32_t i = 0; i < entry.n; ++i) {
                struct ppp_record again;

                fuzz_check(result_record(&entry, i, &again));
                if (records[i].state != PPP_STATE_NONE)
                        fuzz_check(memcmp(&again, &records[i], sizeof(again)) == 0);
        }
        (void)chunk_base(entry.taken_ns, INT64_MIN / 4, records[0].end_ns, 1, 2);
        free(packed);
        free(records);
}

static void check_owner(const redisReply *reply)
{
        struct owner_entry entry;
        struct entry_id id;
        const char *why = NULL;

        if (owner_entry_parse(reply, &entry, &id, &why) < 0) {
                fuzz_check(why);
                return;
        }
        fuzz_check(entry.workload < _WORKLOAD_N && entry_id_equal(entry.id, id));
        fuzz_check(machines_text_is_valid(entry.owner.data, entry.owner.size, MACHINES_OWNER_MAX));
}

/*
 * hiredis makes room for as many elements as an array says it has: that is not what is tested here.
 */
static bool says_too_much(const uint8_t *data, size_t n)
{
        for (size_t i = 0; i < n; ++i) {
                size_t digits = 0;

                while (data[i] == '*' && i + 1 + digits < n && data[i + 1 + digits] >= '0' &&
                       data[i + 1 + digits] <= '9')
                        ++digits;
                if (digits > 4)
                        return true;
        }
        return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        redisReader *reader = redisReaderCreate();
        void *reply = NULL;

        fuzz_check(reader);
        if (says_too_much(data, n))
                n = 0;
        redisReaderFeed(reader, (const char *)data, n);
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
                check_chunk(reply);
                check_result(reply);
                check_owner(reply);
                freeReplyObject(reply);
        }
        redisReaderFree(reader);
        return 0;
}
