#pragma once

/*
 * When a job is ended before all of its tasks have run: "soon,fail=1", "now,fail=10%",
 * "now,done=3".
 */

#include "lib/util.h"

enum halt_of {
        HALT_NEVER,
        HALT_FAILED,         /* @n tasks have failed */
        HALT_FAILED_PERCENT, /* @n percent of all tasks of the job have */
        HALT_DONE,           /* @n tasks are done */
};

struct halt {
        enum halt_of of;
        bool now; /* also what runs is cancelled; else it is only that no more tasks begin */
        uint32_t n;
};

#define HALT_EXPECTED "give soon or now, and when: soon,fail=1, now,fail=10%, now,done=3"

/* -EINVAL: it is none. */
int halt_from_text(const char *text, struct halt *ret);

#define HALT_TEXT_SIZE 32
const char *halt_to_text(const struct halt *halt, char ret[static HALT_TEXT_SIZE]);

/* Whether it has come to that. */
bool halt_is_reached(const struct halt *halt, uint64_t n_done, uint64_t n_failed, uint64_t n_tasks);
