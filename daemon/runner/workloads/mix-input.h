#pragma once

/*
 * The input of the workload mix: parts with a comma between them, each a name and, but for "crash",
 * "=" and an amount, "cpu=2ms,touch=64M". A part may stand more than once. A path ends at the next
 * comma.
 */

#include "lib/util.h"

enum mix_kind {
        MIX_CPU,    /* time: computes for so much CPU time */
        MIX_SLEEP,  /* time: waits */
        MIX_LOCK,   /* time: computes, and holds the job's lock meanwhile */
        MIX_SHARED, /* count: increments the process's counter so often, without a lock */
        MIX_LOCKED, /* count: the same, with the job's lock held for each increment */
        MIX_TOUCH,  /* size: writes and reads so much memory */
        MIX_ALLOC,  /* size: allocates and frees so much, in small pieces */
        MIX_READ,   /* path: reads the file */
        MIX_CRASH,  /* nothing: ends the process by SIGSEGV */
        MIX_EXIT,   /* count: ends the process with that status */
        _MIX_PART_N,
};

struct mix_part {
        enum mix_kind kind;
        uint64_t amount;  /* nanoseconds, bytes, or a count */
        const char *path; /* within mix_input.text */
};

struct mix_input {
        char *text;
        struct mix_part *parts;
        size_t n_parts;
};

#define MIX_INPUT_NULL        \
        {                     \
                NULL, NULL, 0 \
        }

/*
 * Returns 0, or a negative errno for the part @ret->n_parts: -ENOENT there is no part of this name,
 * -EINVAL its amount is no such amount or is missing, -EDOM the amount is negative, -ERANGE it is
 * too large; -ENOMEM. @ret is to be freed in any case.
 */
int mix_input_parse(const char *text, struct mix_input *ret);
void mix_input_deinit(struct mix_input *input);
