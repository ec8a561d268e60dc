#pragma once

/*
 * The methods of our interfaces: each turns a message into its reply. Parameters are read strictly:
 * an unknown member, or one of the wrong type, is an error. If it were ignored today, it might be
 * taken for something else by a later version.
 */

#include "daemon/supervisor/api/peer.h"
#include "daemon/supervisor/jobs/jobs.h"

/* peer_owner.message: answers the call, or leaves it open (CALL_WAIT, CALL_LIST). */
void methods_dispatch(struct peer *peer, struct varlink_message *message);

/* peer_owner.stream: sends the next part of the answer to CALL_LIST. */
void methods_stream(struct peer *peer);

/* peer_owner.shorten: copies a reply about a job without the members that make it too long. */
json_t *methods_shorten(const json_t *parameters);

/*
 * Runs one method. It must answer the call, or leave it open as one of the kinds that wait.
 * @parameters is always an object.
 */
typedef void method_run(struct peer *peer, json_t *parameters, struct varlink_message *message);

method_run method_run_job; /* methods-run.c */
method_run method_doctor;  /* methods-doctor.c */
method_run method_metrics; /* methods-metrics.c */
method_run method_nodes;   /* methods-nodes.c */
method_run method_wait, method_list, method_show, method_results, method_cancel, method_pause,
        method_resume;

/*
 * Answers Run: submits the job if @incoming has its inputs (@r is 0), or else says why it has not.
 * @error belongs to -EBADMSG.
 */
void methods_run_admitted(struct peer *peer, struct submission *submission,
                          struct incoming *incoming, bool cancel_on_disconnect, int r,
                          const struct input_error *error);

/* Refuses the member @field with io.pppctl.Jobs.BadRequest. All texts are for people. */
void methods_refuse(struct peer *peer, const char *field, const char *why, const char *hint);

/* Answers with the error that fits @fault: LimitUnavailable, NoSpace or Failed. */
void methods_fail(struct peer *peer, const struct fault *fault);

/*
 * Answers the call and returns false if @parameters has a member that is not in @names, which ends
 * with NULL.
 */
bool methods_check_names(struct peer *peer, const json_t *parameters, const char *const *names);
