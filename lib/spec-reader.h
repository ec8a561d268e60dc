#pragma once

/*
 * Reading one JSON object strictly, member by member: each read takes one member, and members that
 * are left over at the end are unknown. Used by the spec and the limits in it.
 */

#include "lib/spec.h"

#define NAME_SHOWN 100 /* bytes of a name that is not ours in a message */

struct reader {
        json_t *json;
        const char *path; /* of the object: "spec", "spec.limits" */
        struct fault *fault;
        size_t n_known; /* members that were there and that we know */
};

/* Sets the fault; -EBADMSG. @member NULL: the object itself. */
int reader_refuse(struct reader *reader, const char *member, const char *hint, const char *why, ...)
        _printf_(4, 5);

/* Sets the fault where @r is -ENOMEM, for which nobody else does. Returns @r. */
int reader_end(struct reader *reader, int r);

/* The member, NULL where it is absent or null (which the interface's ?type allows). */
json_t *reader_take(struct reader *reader, const char *member);

/*
 * Each leaves *ret as it is when the member is absent. Strings and arrays have bounds, so that a
 * spec always fits in a message: @max counts bytes of a string, or entries of an array, which has
 * at least one. *ret is borrowed from the object.
 */
int reader_string(struct reader *reader, const char *member, bool required, size_t max,
                  const char *hint, const char **ret);
int reader_array(struct reader *reader, const char *member, size_t max, const char *hint,
                 json_t **ret);
int reader_count(struct reader *reader, const char *member, uint32_t min, uint32_t max,
                 uint32_t *ret);
int reader_bool(struct reader *reader, const char *member, bool *ret);
int reader_seconds(struct reader *reader, const char *member, uint64_t *ret_ns);

/* An absolute path, which the caller owns. */
int reader_path(struct reader *reader, const char *member, char **ret);

/* Refuses members that nobody took; @type: where they are listed ("Spec"). */
int reader_finish(struct reader *reader, const char *type, const char *const *known);
