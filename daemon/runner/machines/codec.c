#include "daemon/runner/machines/codec.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/inputs.h"
#include "lib/machines.h"

static int refuse(const char **ret_why, const char *why)
{
        *ret_why = why;
        return -EBADMSG;
}

int entry_id_parse(const char *s, size_t n, struct entry_id *ret)
{
        const char *dash = memchr(s, '-', n);
        struct entry_id id;

        if (!dash || parse_u64(s, (size_t)(dash - s), UINT64_MAX, &id.milliseconds) < 0 ||
            parse_u64(dash + 1, n - (size_t)(dash - s) - 1, UINT64_MAX, &id.sequence) < 0)
                return -EINVAL;
        *ret = id;
        return 0;
}

void entry_id_format(struct entry_id id, char text[static ENTRY_ID_SIZE])
{
        snprintf(text, ENTRY_ID_SIZE, "%" PRIu64 "-%" PRIu64, id.milliseconds, id.sequence);
}

/* Each field once, and no other: @names and @pieces, n of them. */
static int read_fields(const redisReply *fields, const char *const *names, struct piece *pieces,
                       size_t n, const char **ret_why)
{
        if (fields->type != REDIS_REPLY_ARRAY || fields->elements != 2 * n)
                return refuse(ret_why, "it has not the fields it should have");
        for (size_t i = 0; i < n; ++i) {
                const redisReply *key = fields->element[2 * i], *value = fields->element[2 * i + 1];
                size_t k = 0;

                if (key->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
                        return refuse(ret_why, "a field of it is no string");
                while (k < n && (strlen(names[k]) != key->len || pieces[k].data ||
                                 memcmp(names[k], key->str, key->len) != 0))
                        ++k;
                if (k == n)
                        return refuse(ret_why, "it has a field that it should not have");
                pieces[k] = (struct piece){ value->str, value->len };
        }
        return 0;
}

static int read_entry(const redisReply *reply, struct entry_id *ret_id, const char *const *names,
                      struct piece *pieces, size_t n, const char **ret_why)
{
        *ret_id = (struct entry_id){ 0 };
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
            reply->element[0]->type != REDIS_REPLY_STRING ||
            entry_id_parse(reply->element[0]->str, reply->element[0]->len, ret_id) < 0)
                return refuse(ret_why, "it is no entry of a stream");
        return read_fields(reply->element[1], names, pieces, n, ret_why);
}

static int read_range(struct piece first, struct piece n, uint64_t *ret_first, uint32_t *ret_n,
                      const char **ret_why)
{
        uint64_t number;

        if (parse_u64(first.data, first.size, RESULTS_MAX_TASKS - 1, ret_first) < 0)
                return refuse(ret_why, "its first is no index of a task");
        if (parse_u64(n.data, n.size, CHUNK_TASKS_MAX, &number) < 0 || number == 0)
                return refuse(ret_why, "its n is no number of tasks from 1 to 16384");
        *ret_n = (uint32_t)number;
        return 0;
}

static int check_inputs(struct piece inputs, uint32_t n, const char **ret_why)
{
        struct input_error error;
        uint64_t lines;

        if (inputs.size > CHUNK_BYTES_MAX + INPUT_MAX + 1)
                return refuse(ret_why, "its inputs are more than a chunk may have");
        if (inputs_check(inputs.data, inputs.size, &lines, &error) < 0)
                return refuse(ret_why, "its inputs are no lines of text");
        if (lines != n)
                return refuse(ret_why, "it has not as many inputs as it says");
        return 0;
}

int chunk_entry_parse(const redisReply *reply, struct chunk_entry *ret, struct entry_id *ret_id,
                      const char **ret_why)
{
        static const char *const names[] = { "job", "first", "n", "inputs" };
        struct piece pieces[ARRAY_SIZE(names)] = { 0 };
        struct chunk_entry entry;
        int r;

        r = read_entry(reply, ret_id, names, pieces, ARRAY_SIZE(names), ret_why);
        if (r < 0)
                return r;
        if (!machines_text_is_valid(pieces[0].data, pieces[0].size, ENTRY_JOB_MAX))
                return refuse(ret_why, "its job has no name, or one that no job has");
        r = read_range(pieces[1], pieces[2], &entry.first, &entry.n, ret_why);
        if (r >= 0)
                r = check_inputs(pieces[3], entry.n, ret_why);
        if (r < 0)
                return r;
        entry.id = *ret_id;
        entry.job = pieces[0];
        entry.inputs = pieces[3];
        *ret = entry;
        return 0;
}

static int read_workload(struct piece name, enum workload_id *ret)
{
        for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                if (workloads_of_nodes() & WORKLOAD_BIT(i) &&
                    strlen(workload_name(i)) == name.size &&
                    memcmp(workload_name(i), name.data, name.size) == 0) {
                        *ret = i;
                        return 0;
                }
        return -ENOENT;
}

int owner_entry_parse(const redisReply *reply, struct owner_entry *ret, struct entry_id *ret_id,
                      const char **ret_why)
{
        static const char *const names[] = { "workload", "owner" };
        struct piece pieces[ARRAY_SIZE(names)] = { 0 };
        struct owner_entry entry;
        int r;

        r = read_entry(reply, ret_id, names, pieces, ARRAY_SIZE(names), ret_why);
        if (r < 0)
                return r;
        if (read_workload(pieces[0], &entry.workload) < 0)
                return refuse(ret_why, "its workload is none that this version has");
        if (!machines_text_is_valid(pieces[1].data, pieces[1].size, MACHINES_OWNER_MAX))
                return refuse(ret_why, "its owner has no name, or one that no owner has");
        entry.id = *ret_id;
        entry.owner = pieces[1];
        *ret = entry;
        return 0;
}

int result_entry_parse(const redisReply *reply, struct result_entry *ret, struct entry_id *ret_id,
                       const char **ret_why)
{
        static const char *const names[] = { "chunk", "first", "n", "node", "taken", "records" };
        struct piece pieces[ARRAY_SIZE(names)] = { 0 };
        struct result_entry entry;
        struct ppp_record record;
        int r;

        r = read_entry(reply, ret_id, names, pieces, ARRAY_SIZE(names), ret_why);
        if (r < 0)
                return r;
        if (entry_id_parse(pieces[0].data, pieces[0].size, &entry.chunk) < 0)
                return refuse(ret_why, "its chunk is no entry's name");
        r = read_range(pieces[1], pieces[2], &entry.first, &entry.n, ret_why);
        if (r < 0)
                return r;
        if (!machines_text_is_valid(pieces[3].data, pieces[3].size, MACHINES_NAME_MAX))
                return refuse(ret_why, "its node has no name, or one that no node has");
        /* Half of the largest signed number: sums of two do not overflow. */
        if (parse_u64(pieces[4].data, pieces[4].size, INT64_MAX / 2, &entry.taken_ns) < 0)
                return refuse(ret_why, "its taken is no time");
        if (pieces[5].size != entry.n * sizeof(struct ppp_record))
                return refuse(ret_why, "it has not as many records as it says");
        entry.id = *ret_id;
        entry.node = pieces[3];
        entry.records = pieces[5].data;
        for (uint32_t i = 0; i < entry.n; ++i)
                if (!result_record(&entry, i, &record))
                        return refuse(ret_why, "a record of it makes no sense");
        *ret = entry;
        return 0;
}

/* The year that a task may take, and one more for its retries. */
#define TIME_MAX_NS (2 * UINT64_C(365) * 86400 * NSEC_PER_SEC)

bool result_record(const struct result_entry *entry, uint32_t i, struct ppp_record *ret)
{
        struct ppp_record record;

        memcpy(&record, entry->records + i * sizeof(record), sizeof(record));
        record.value = le64toh(record.value);
        record.start_ns = le64toh(record.start_ns);
        record.end_ns = le64toh(record.end_ns);
        record.detail = (int32_t)le32toh((uint32_t)record.detail);
        record.worker = le16toh(record.worker);
        *ret = record;
        if (record.state == PPP_STATE_NONE)
                return true;
        if (record.state != PPP_STATE_DONE && record.state != PPP_STATE_FAILED)
                return false;
        /* A number that we do not know may be a newer node's. */
        if ((record.state == PPP_STATE_FAILED) != (record.reason != PPP_REASON_NONE) ||
            record.reason == PPP_REASON_CANCELLED)
                return false;
        return record.start_ns <= record.end_ns && record.end_ns <= TIME_MAX_NS;
}

void records_pack(const struct ppp_record *from, uint32_t n, uint64_t taken_ns, char *to)
{
        for (uint32_t i = 0; i < n; ++i) {
                struct ppp_record record = { .state = PPP_STATE_NONE };

                if (record_state(&from[i]) != PPP_STATE_NONE) {
                        record = from[i];
                        record.value = htole64(record.value);
                        record.start_ns = htole64(MAX(record.start_ns, taken_ns) - taken_ns);
                        record.end_ns = htole64(MAX(record.end_ns, taken_ns) - taken_ns);
                        record.detail = (int32_t)htole32((uint32_t)record.detail);
                        record.worker = htole16(record.worker);
                }
                memcpy(to + i * sizeof(record), &record, sizeof(record));
        }
}

uint64_t chunk_base(uint64_t taken_ns, int64_t offset_ns, uint64_t longest_ns, uint64_t sent_ns,
                    uint64_t received_ns)
{
        int64_t base = (int64_t)taken_ns + offset_ns;

        if (base > (int64_t)received_ns ||
            (uint64_t)MAX(base, INT64_C(0)) + longest_ns > received_ns)
                base = longest_ns > received_ns ? 0 : (int64_t)(received_ns - longest_ns);
        return (uint64_t)MAX(base, (int64_t)sent_ns);
}
