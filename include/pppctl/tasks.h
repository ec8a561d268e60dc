#pragma once

/*
 * What a job of commands keeps of each task beside its result (results.h): what the command used,
 * and what it printed. Two files:
 *
 * `tasks`: a header of one page, then a record of 192 bytes for each task, by index. A record
 * belongs to the worker that runs the task. It may be read while the task runs: its streams grow,
 * and the rest is there when the task has its result.
 *
 * `task-output`: chunks of what tasks printed, in the order in which it came. Each chunk is a
 * header and its bytes. Chunks of one stream of one task form a chain, from the last to the first;
 * its task's record has the last. The file begins with PPP_OUTPUT_MAGIC, so that no chunk is at
 * offset 0. There may be holes and parts of chunks between them, which no chain leads to: of
 * workers that were killed.
 *
 * All integers are in the machine's own byte order. Both files may be mapped read-only by anyone
 * who has them.
 */

#include <assert.h>
#include <stdint.h>

#define PPP_TASKS_MAGIC       "ppptsk\r\n"
#define PPP_TASKS_VERSION     1
#define PPP_TASKS_HEADER_SIZE 4096

struct ppp_tasks_header {
        char magic[8]; /* PPP_TASKS_MAGIC */
        uint32_t version;
        uint32_t header_size;
        uint32_t record_size;
        uint32_t reserved;
        uint64_t n_tasks;

        /* Written by workers; in a cache line of its own. */
        __attribute__((aligned(128))) uint64_t output_end; /* of `task-output`: the next chunk */
};

/* Which members of a record were measured. The others are 0, and mean nothing. Append only. */
enum ppp_usage {
        PPP_USAGE_CPU = 1 << 0,         /* user_usec, system_usec: of all processes of the task */
        PPP_USAGE_MEMORY_PEAK = 1 << 1, /* memory_peak_bytes */
        PPP_USAGE_RUSAGE = 1 << 2,      /* rss_peak_bytes, context switches, faults: getrusage(2),
                                           of the command and of the children it waited for */
        PPP_USAGE_IO = 1 << 3,          /* read_bytes, written_bytes: of disks */
        PPP_USAGE_PRESSURE_CPU = 1 << 4,
        PPP_USAGE_PRESSURE_MEMORY = 1 << 5,
        PPP_USAGE_PRESSURE_IO = 1 << 6,
        PPP_USAGE_LEFT = 1 << 7, /* left_behind */
};

enum ppp_stream {
        PPP_STREAM_OUTPUT, /* standard output */
        PPP_STREAM_ERROR,  /* standard error */
        _PPP_STREAM_N,
};

struct ppp_task_stream {
        uint64_t bytes; /* printed by the last attempt; those past --output-max are not kept */
        uint64_t last;  /* offset of the last chunk in `task-output`; 0: there is none. Written last
                         */
};

struct ppp_task_record {
        uint32_t known;    /* set of enum ppp_usage */
        uint32_t attempts; /* that were begun; the rest is about the last one */
        uint64_t user_usec;
        uint64_t system_usec;
        uint64_t memory_peak_bytes; /* memory.peak of the task's cgroup (5.19) */
        uint64_t rss_peak_bytes;    /* of its largest process */
        uint64_t switches_voluntary;
        uint64_t switches_involuntary;
        uint64_t faults_minor;
        uint64_t faults_major;
        uint64_t read_bytes;
        uint64_t written_bytes;
        uint64_t pressure_cpu_usec; /* "some" of cpu.pressure, and so on (4.20) */
        uint64_t pressure_memory_usec;
        uint64_t pressure_io_usec;
        struct ppp_task_stream streams[_PPP_STREAM_N];
        uint32_t left_behind; /* processes that outlived the command, and were killed */
        int32_t start_error;  /* why the command could not be started: an errno, or, negative, one
                                 of entering its directory; 0: it was */
        uint32_t reserved[10];
};

static_assert(sizeof(struct ppp_task_record) == 192, "a record is 192 bytes");

#define PPP_OUTPUT_MAGIC       "pppout\r\n"
#define PPP_OUTPUT_CHUNK_MAGIC 0x6b6e6843u   /* "Chnk" */
#define PPP_OUTPUT_CHUNK_MAX   (1024 * 1024) /* bytes of one chunk, without its header */

struct ppp_output_chunk {
        uint32_t magic; /* PPP_OUTPUT_CHUNK_MAGIC */
        uint32_t size;  /* of the bytes that follow */
        uint64_t task;
        uint64_t previous; /* offset of the chunk before it; 0: this is the first */
        uint32_t attempt;  /* from 1 */
        uint32_t stream;   /* enum ppp_stream */
};

static_assert(sizeof(struct ppp_output_chunk) == 32, "a chunk's header is 32 bytes");
