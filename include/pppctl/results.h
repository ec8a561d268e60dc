#pragma once

/*
 * The results file: a header of one page, then one record of 32 bytes for each task, by index.
 *
 * The runner's workers write records without locks or messages: a record belongs to the one worker
 * that claimed its index. `state` is written last, with release order; who reads it non-zero with
 * acquire order sees the whole record. A record is written once; when its job has ended it may be
 * withdrawn, for its task to be run again. Anyone who has the file may map
 * it read-only and watch the counters; all integers are in the machine's own byte order.
 */

#include <assert.h>
#include <stdint.h>

#define PPP_RESULTS_MAGIC       "pppres\r\n"
#define PPP_RESULTS_VERSION     1
#define PPP_RESULTS_HEADER_SIZE 4096

enum ppp_state {
        PPP_STATE_NONE = 0,   /* not run, or not to its end */
        PPP_STATE_DONE = 1,   /* value is valid */
        PPP_STATE_FAILED = 2, /* reason and detail are valid */
};

/* Why a task failed; `detail` depends on it. The numbers are the file format: append only. */
enum ppp_reason {
        PPP_REASON_NONE = 0,
        PPP_REASON_NOT_A_NUMBER = 1,
        PPP_REASON_NEGATIVE = 2,
        PPP_REASON_TOO_LARGE = 3, /* a number past the workload's; detail: enum ppp_too_large */
        PPP_REASON_BAD_URL = 4,   /* detail: enum ppp_url_fault */
        PPP_REASON_BAD_SCHEME =
                5,              /* of a scheme pppd does not take; detail: enum ppp_scheme_fault */
        PPP_REASON_RESOLVE = 6, /* the host name does not resolve */
        PPP_REASON_CONNECT = 7, /* detail: errno, 0 if unknown */
        PPP_REASON_TLS = 8,     /* detail: enum ppp_fetch_error */
        PPP_REASON_CERTIFICATE = 9,  /* does not verify; detail: X509 verify result, 0 unknown */
        PPP_REASON_HTTP_STATUS = 10, /* detail: the status */
        PPP_REASON_REDIRECTS = 11,   /* more than 10 */
        PPP_REASON_TIMEOUT = 12,     /* --task-timeout; or detail: enum ppp_fetch_error */
        PPP_REASON_TRANSFER = 13,    /* the answer is not whole; detail: enum ppp_fetch_error */
        PPP_REASON_ENCODING = 14,    /* content or transfer coding; detail: enum ppp_fetch_error */
        PPP_REASON_CHARSET = 15,     /* declared charset is unknown to iconv */
        PPP_REASON_OPEN = 16,        /* detail: errno */
        PPP_REASON_READ = 17,        /* detail: errno */
        PPP_REASON_SIGNAL = 18,      /* the worker was killed; detail: signal */
        PPP_REASON_OOM_KILLED = 19,  /* for want of memory; detail: enum ppp_oom_blame */
        PPP_REASON_EXIT = 20,        /* the worker exited in mid-task; detail: exit status */
        PPP_REASON_NO_MEMORY = 21,   /* detail: MiB that the task needs, 0 unknown */
        PPP_REASON_IO = 22,          /* any other error; detail: errno */
        PPP_REASON_NO_FETCH = 23,    /* a library is missing; detail: enum ppp_fetch_library */
        PPP_REASON_CANCELLED = 24,   /* never stored: a cancelled task leaves no record */
        PPP_REASON_PROTOCOL = 25,    /* not HTTP, or broken; detail: enum ppp_fetch_error */
        PPP_REASON_CA_FILE = 26,     /* --ca-file holds no certificate */
        PPP_REASON_PROXY = 27,    /* not reached, or it refuses; detail: errno, status, 0 unknown */
        PPP_REASON_BAD_PART = 28, /* of the input of mix; detail: which one, from 1 */
        PPP_REASON_COMMAND_EXIT = 29,   /* detail: the command's exit status, not 0 */
        PPP_REASON_COMMAND_SIGNAL = 30, /* detail: signal, and PPP_COMMAND_CORE if it left a core */
        PPP_REASON_COMMAND_START = 31,  /* it could not be started; detail: errno, or, negative, one
                                           of entering the directory that it is to run in */
        PPP_REASON_COMMAND_PIDS = 32, /* it failed, and its limit on processes was met; detail: its
                                         exit status */
        _PPP_REASON_N,
};

/* The limit that a number is past. Append only. */
enum ppp_too_large {
        PPP_TOO_LARGE_NUMBER = 0, /* of the values that the workload can compute */
        PPP_TOO_LARGE_ARRAY = 1,  /* of the memory that sum-array may take for a task */
};

/*
 * The owner of the limit on memory that was met when the kernel killed a worker. Older files have
 * SIGKILL (9) here, which says no more than unknown does. Append only, and never 9.
 */
enum ppp_oom_blame {
        PPP_OOM_UNKNOWN = 0, /* the kernel does not tell (before Linux 5.2), or not to us */
        PPP_OOM_WORKER = 1,  /* the worker's own */
        PPP_OOM_JOB = 2,     /* the job's */
        PPP_OOM_ABOVE = 3,   /* that of a group above the job's: the service's or its slice's */
        PPP_OOM_MACHINE = 4, /* nobody's: the machine had no memory left */
        PPP_OOM_TASK = 5,    /* the task's own, of a command */
};

/* Added to the signal in the detail of PPP_REASON_COMMAND_SIGNAL. */
#define PPP_COMMAND_CORE 0x100

/* Which part of a URL, or of one that a redirect leads to, is wrong. Append only. */
enum ppp_url_fault {
        PPP_URL_ANY = 0,
        PPP_URL_HOST_UTF8 = 1,   /* the host is neither ASCII nor UTF-8 */
        PPP_URL_HOST_NAME = 2,   /* the host is not ASCII, and no name that IDNA allows */
        PPP_URL_HOST_LENGTH = 3, /* in ASCII, a label of it or all of it is too long */
};

/* The library that a fetch needed. Append only. */
enum ppp_fetch_library {
        PPP_LIBRARY_CURL = 0,
        PPP_LIBRARY_IDN2 = 1, /* for host names that are not ASCII */
};

/* Whose scheme it is, and the redirect's as far as it is one that needs another answer. Append
 * only. */
enum ppp_scheme_fault {
        PPP_SCHEME_OF_INPUT = 0,
        PPP_SCHEME_OF_REDIRECT = 1,
        PPP_SCHEME_JAVASCRIPT = 2, /* these are of a redirect, too */
        PPP_SCHEME_FTP = 3,
        PPP_SCHEME_FILE = 4,
        PPP_SCHEME_DATA = 5,
        PPP_SCHEME_MAILTO = 6,
};

/*
 * What went wrong in a fetch: the detail of the reasons TLS, TIMEOUT, TRANSFER, ENCODING and
 * PROTOCOL. A detail below 1000 is 0 (none) or a code of libcurl's (CURLcode) that none of these
 * stands for; older files have libcurl's codes where there is a number of ours now, too. Append
 * only, from 1000 up.
 */
enum ppp_fetch_error {
        /* PPP_REASON_PROTOCOL: */
        PPP_FETCH_STATUS_LINE = 1000, /* not "HTTP/1.0" or "HTTP/1.1", blanks, three digits */
        PPP_FETCH_HEADER_LINE = 1001, /* no colon, a NUL byte, or a fold of the status line */
        PPP_FETCH_LENGTH = 1002,      /* Content-Length is no number, or two different ones */
        PPP_FETCH_AMBIGUOUS = 1003,   /* two readers may see the page end at different places */
        PPP_FETCH_HEAD_SIZE = 1004,   /* header lines without end */
        PPP_FETCH_UPGRADE = 1005,     /* status 101: another protocol, which nobody asked for */
        PPP_FETCH_NOT_HTTP = 1006,    /* something else speaks there, or HTTP before 1.0 */
        PPP_FETCH_MALFORMED = 1007,   /* another breach of HTTP, found by libcurl */
        PPP_FETCH_HTTP2 = 1008,       /* a breach of HTTP/2 */

        /* PPP_REASON_ENCODING: */
        PPP_FETCH_CODINGS = 1100,   /* more codings, one around the other, than are undone */
        PPP_FETCH_TRAILING = 1101,  /* bytes after the end of the compressed page */
        PPP_FETCH_CODING = 1102,    /* a coding that is in no list of codings */
        PPP_FETCH_CODING_BR = 1103, /* these are known, but not undone */
        PPP_FETCH_CODING_ZSTD = 1104,
        PPP_FETCH_CODING_COMPRESS = 1105,
        PPP_FETCH_CODING_DCB = 1106,
        PPP_FETCH_CODING_DCZ = 1107,
        PPP_FETCH_CODING_AES128GCM = 1108,
        PPP_FETCH_CODING_EXI = 1109,
        PPP_FETCH_CODING_PACK200_GZIP = 1110,
        PPP_FETCH_CODING_BZIP2 = 1111,
        PPP_FETCH_CODING_XZ = 1112,
        PPP_FETCH_CODING_LZMA = 1113,
        PPP_FETCH_CODING_SDCH = 1114,
        PPP_FETCH_CODING_BROKEN = 1115, /* gzip or deflate, but damaged or without its end */

        /* PPP_REASON_TRANSFER: */
        PPP_FETCH_NO_ANSWER = 1200, /* the connection was closed before any byte of an answer */
        PPP_FETCH_CUT_SHORT = 1201, /* closed before the end of the answer */
        PPP_FETCH_LOST = 1202,      /* not closed but broken, as by a reset */
        PPP_FETCH_CHUNKS = 1203,    /* a malformed chunk; in what libcurl fetches, FETCH_LOST */
        PPP_FETCH_STREAM = 1204,    /* the server broke off an answer over HTTP/2 */

        /* PPP_REASON_TLS: */
        PPP_FETCH_HANDSHAKE = 1300,

        /* PPP_REASON_TIMEOUT: */
        PPP_FETCH_SILENCE = 1400, /* no byte for 60 s; 0 is --task-timeout */
};

/* Why nothing moves although the job is not over; PPP_CONDITION_NONE when it does. Append only. */
enum ppp_condition {
        PPP_CONDITION_NONE = 0,
        PPP_CONDITION_NO_NODE = 1,            /* no node is there that takes this workload */
        PPP_CONDITION_ENGINE_UNREACHABLE = 2, /* Redis does not answer; it is tried again */
        PPP_CONDITION_ENGINE_FULL = 3,        /* Redis takes no more: its memory limit is reached */
        PPP_CONDITION_DISK_FULL = 4,          /* what commands print has no room on disk */
        _PPP_CONDITION_N,
};

struct ppp_record {
        uint64_t value;    /* the workload's result */
        uint64_t start_ns; /* both since the header's epoch_ns */
        uint64_t end_ns;
        int32_t detail;
        uint16_t worker; /* who carried it: thread, process, slot in flight, or node */
        uint8_t reason;  /* enum ppp_reason */
        uint8_t state;   /* enum ppp_state; written last */
};

static_assert(sizeof(struct ppp_record) == 32, "a record is 32 bytes");

/*
 * How the job ended, noted by the supervisor where its database did not take that: on a full disk
 * too, this file has room for it. One sector of a disk, so that a note is there as a whole or not
 * at all.
 */
struct ppp_end {
        uint64_t realtime_ns; /* CLOCK_REALTIME; 0: nothing is noted */
        uint64_t elapsed_ns;  /* since the header's epoch_ns */
        char state[16];       /* of the interface's type Job */
        char reason[480];     /* the same; cut where it is longer, empty where there is none */
};

static_assert(sizeof(struct ppp_end) == 512, "a note of an end is a sector");

struct ppp_results_header {
        char magic[8];
        uint32_t version;
        uint32_t header_size;
        uint32_t record_size;
        uint32_t condition; /* enum ppp_condition; of the level machines, else 0 */
        uint64_t n_tasks;
        uint8_t boot_id[16];          /* epoch_ns and the _ns below are of this boot */
        uint64_t created_realtime_ns; /* CLOCK_REALTIME of submission */
        /*
         * CLOCK_MONOTONIC of submission, from which record times count. Negative where the machine
         * was booted since: that clock began anew then.
         */
        int64_t epoch_ns;
        uint64_t runner_start_ns; /* CLOCK_MONOTONIC at the runner's first instruction */
        uint64_t runner_end_ns;   /* CLOCK_MONOTONIC when the last worker ended, 0 before */

        /* Of a job that was run again when it had ended; both 0 before. */
        uint64_t again_ns;     /* since epoch_ns, when that was asked for the last time */
        uint64_t again_clears; /* reasons, as bits: records with one of them are to be withdrawn */

        /* The claim counter: the next index nobody has claimed. In a cache line of its own. */
        uint64_t next __attribute__((aligned(128)));

        /* Progress, flushed by workers in batches; never ahead of the records. */
        uint64_t n_done __attribute__((aligned(128)));
        uint64_t n_failed;
        uint64_t n_retried;

        struct ppp_end end __attribute__((aligned(512)));
};

static_assert(sizeof(struct ppp_results_header) <= PPP_RESULTS_HEADER_SIZE, "one page");
