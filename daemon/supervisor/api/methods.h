#pragma once

/*
 * The methods: from a message to its reply. Parameters are read strictly, since what is ignored
 * today is misunderstood tomorrow: a member that is not known or not of its type is an error.
 */

#include "daemon/supervisor/api/peer.h"
#include "daemon/supervisor/jobs/jobs.h"

/* peer_owner.message: answers the call, or leaves it open (CALL_WAIT, CALL_LIST). */
void methods_dispatch(struct peer *peer, struct varlink_message *message);

/* peer_owner.stream: goes on with CALL_LIST. */
void methods_stream(struct peer *peer);

/* peer_owner.shorten: leaves out of a reply about a job what makes it too long. */
json_t *methods_shorten(const json_t *parameters);

/* One method. Must answer or leave the call open in one of the waiting kinds. @parameters: an
 * object. */
typedef void method_run(struct peer *peer, json_t *parameters, struct varlink_message *message);

method_run method_run_job; /* methods-run.c */
method_run method_doctor;  /* methods-doctor.c */
method_run method_metrics; /* methods-metrics.c */
method_run method_nodes;   /* methods-nodes.c */
method_run method_wait, method_list, method_show, method_results, method_cancel, method_pause,
        method_resume;

/*
 * Goes on with Run when @incoming has the inputs (@r 0), or answers it with why it has not; @error
 * is that of -EBADMSG. Answers the call.
 */
void methods_run_admitted(struct peer *peer, struct submission *submission,
                          struct incoming *incoming, bool cancel_on_disconnect, int r,
                          const struct input_error *error);

/* Refuses a member: io.pppctl.Jobs.BadRequest. @field, @why and @hint are for people. */
void methods_refuse(struct peer *peer, const char *field, const char *why, const char *hint);

/* Answers with the error that fits @fault: LimitUnavailable, NoSpace or Failed. */
void methods_fail(struct peer *peer, const struct fault *fault);

/* False, with the call answered, when @parameters has a member that is not in @names
 * (NULL-terminated). */
bool methods_check_names(struct peer *peer, const json_t *parameters, const char *const *names);
