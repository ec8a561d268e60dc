#pragma once

/*
 * Why something was not done, for people: an error and its texts, which a function fills in as it
 * fails and its caller hands on, adds to, or tells somebody. The texts are copies.
 *
 *         if (fd < 0)
 *                 return fault_errno(fault, -errno, "check the path", "open %s", path);
 *
 * A text for which there is no memory is a fixed one that says so: what was set is never NULL.
 */

#include <stdarg.h>

#include "lib/util.h"

struct fault {
        int error;       /* negative errno; 0: there is no fault */
        char *field;     /* the part of a request that is to blame, "spec.workers"; NULL: none */
        char *attempted; /* behind "cannot": "open the file x"; NULL: left to the caller */
        char *why;       /* "No such file or directory" */
        char *advice;    /* "check the path"; NULL: none is given */
};

#define FAULT_NULL         \
        {                  \
                .error = 0 \
        }

void fault_deinit(struct fault *fault);
#define _cleanup_fault_ _cleanup_(fault_deinit)

/*
 * These fill in *@fault, in place of what was there, and return @error. @advice may be NULL. Why is
 * the error's own text, another text, or a sentence made of parts.
 */
int fault_errno(struct fault *fault, int error, const char *advice, const char *attempted, ...)
        _printf_(4, 5);
int fault_why(struct fault *fault, int error, const char *why, const char *advice,
              const char *attempted, ...) _printf_(5, 6);
int fault_say(struct fault *fault, int error, const char *advice, const char *why, ...)
        _printf_(4, 5);

/* The same as fault_say(), about a field. */
int fault_refuse(struct fault *fault, int error, const char *field, const char *advice,
                 const char *why, ...) _printf_(5, 6);
int fault_refuse_v(struct fault *fault, int error, const char *field, const char *advice,
                   const char *why, va_list args) _printf_(5, 0);

/*
 * These say later what was attempted, for a function that could not know, and give advice that is
 * made of parts. They return the fault's error.
 */
int fault_attempt(struct fault *fault, const char *attempted, ...) _printf_(2, 3);
int fault_advise(struct fault *fault, const char *advice, ...) _printf_(2, 3);
/*
 * "cannot ATTEMPTED: WHY; ADVICE", without the parts that are not set, to be freed. NULL when out
 * of memory, with which fault_text() copes.
 */
char *fault_sentence(const struct fault *fault);

extern char fault_no_memory[];

static inline const char *fault_text(const char *text)
{
        return text ? text : fault_no_memory;
}
