#pragma once

/*
 * The entries of the streams (docs/machines.md), read strictly: an entry that is not exactly as we
 * write it is refused, with the reason.
 */

#include <hiredis/hiredis.h>

#include "lib/results.h"
#include "lib/spec.h"

#define CHUNK_TASKS_MAX 16384
#define CHUNK_BYTES_MAX (1024 * 1024) /* of inputs; one input alone may be INPUT_MAX */
#define ENTRY_ID_SIZE   42            /* two numbers of 20 digits, a dash, a NUL */
#define ENTRY_JOB_MAX   256           /* bytes of a job's name */

struct entry_id {
        uint64_t milliseconds, sequence;
};

static inline bool entry_id_equal(struct entry_id a, struct entry_id b)
{
        return a.milliseconds == b.milliseconds && a.sequence == b.sequence;
}

/* Strict "number-number". -EINVAL. */
int entry_id_parse(const char *s, size_t n, struct entry_id *ret);
void entry_id_format(struct entry_id id, char text[static ENTRY_ID_SIZE]);

/* A piece of a reply: not NUL-terminated, valid as long as that. */
struct piece {
        const char *data;
        size_t size;
};

/* An entry of chunks:<workload>. */
struct chunk_entry {
        struct entry_id id;
        struct piece job;
        uint64_t first; /* index of its first task */
        uint32_t n;
        struct piece inputs; /* n lines, each ended by a newline; checked */
};

/* An entry of owners: who has chunks of what. */
struct owner_entry {
        struct entry_id id;
        enum workload_id workload;
        struct piece owner;
};

/* An entry of results:<job>. */
struct result_entry {
        struct entry_id id;
        struct entry_id chunk;
        uint64_t first;
        uint32_t n;
        struct piece node;
        uint64_t taken_ns;   /* CLOCK_REALTIME of the node when it took the chunk */
        const char *records; /* n, packed; result_record() */
};

/*
 * @reply is one entry: [id, [key, value, …]]. Returns 0 or -EBADMSG with *ret_why (static text);
 * then *ret_id is set if at least that could be read, else zero.
 */
int chunk_entry_parse(const redisReply *reply, struct chunk_entry *ret, struct entry_id *ret_id,
                      const char **ret_why);
int owner_entry_parse(const redisReply *reply, struct owner_entry *ret, struct entry_id *ret_id,
                      const char **ret_why);
int result_entry_parse(const redisReply *reply, struct result_entry *ret, struct entry_id *ret_id,
                       const char **ret_why);

/*
 * Record @i of an entry: times count from its taken_ns. State PPP_STATE_NONE: that task was not
 * run. False when it makes no sense.
 */
bool result_record(const struct result_entry *entry, uint32_t i, struct ppp_record *ret);

/*
 * Packs @n records for an entry, in place of what is at @to: n * sizeof(struct ppp_record) bytes.
 */
void records_pack(const struct ppp_record *from, uint32_t n, uint64_t taken_ns, char *to);

/*
 * Converts a node's times to our clock: its record times are moved by the returned number of
 * nanoseconds. @offset_ns is CLOCK_MONOTONIC - CLOCK_REALTIME here; clocks of machines differ, so a
 * chunk that seems to have begun before it was sent or ended after it came back is moved as a
 * whole. All but @taken_ns in CLOCK_MONOTONIC; @longest_ns is the last end_ns of its records.
 */
uint64_t chunk_base(uint64_t taken_ns, int64_t offset_ns, uint64_t longest_ns, uint64_t sent_ns,
                    uint64_t received_ns);
