#pragma once

/*
 * Why something a client asked for was not done, for people: the interface's error Failed, or
 * LimitUnavailable. All texts are owned.
 */

#include "lib/util.h"

struct failure {
        char *attempted; /* "start the runner /usr/libexec/pppctl/pppd-runner of job 12" */
        char *why;       /* "No such file or directory" */
        char *hint;
        bool space;  /* it takes too much of the disk: for NoSpace */
        char *limit; /* "spec.limits.pids_max", for LimitUnavailable; NULL: it is another matter */
};

#define FAILURE_NULL              \
        {                         \
                .attempted = NULL \
        }

void failure_deinit(struct failure *failure);

/*
 * Fills it in, and returns @error, so: return failure_set(f, r, "check the path", "open %s", path);
 * @hint NULL: one that fits @error. Texts that find no memory stay NULL; failure_text() copes.
 */
int failure_set(struct failure *failure, int error, const char *hint, const char *attempted, ...)
        _printf_(4, 5);

/* As failure_set(), with a sentence of its own instead of @error's text. */
int failure_set_why(struct failure *failure, int error, const char *why, const char *hint,
                    const char *attempted, ...) _printf_(5, 6);

/* The same, about admitting a job, with a sentence made of parts. */
int failure_set_sentence(struct failure *failure, int error, const char *hint, const char *why, ...)
        _printf_(4, 5);

/* A limit that cannot be had: the field and the texts of @error. */
struct spec_error;
int failure_set_limit(struct failure *failure, int error, const struct spec_error *what);

/* Text for what to do about @error on the file system of the state directory, or what else it is
 * about. */
const char *failure_advice(int error);

/* Whether an error goes away if nobody does anything about it. */
enum failure_kind {
        FAILURE_PASSES, /* for want of what others give back, or a fault that need not come again */
        FAILURE_STAYS,  /* something is gone, or is not what it was */
        FAILURE_UNKNOWN, /* somebody may have to mend it first */
};

enum failure_kind failure_kind(int error);

/* Whether it is for want of what a job that ends gives back. */
bool failure_is_want(int error);

/*
 * Whether what failed with @error may be done later as it was asked. A limit that cannot be had is
 * to be given otherwise, unless it was for want of something that it could not be set.
 */
bool failure_may_pass(const struct failure *failure, int error);

/*
 * "cannot ATTEMPTED: WHY; HINT", the caller's. NULL when out of memory, with which failure_text()
 * copes.
 */
char *failure_sentence(const struct failure *failure);

static inline const char *failure_text(const char *text)
{
        return text ? text : "(out of memory)";
}
