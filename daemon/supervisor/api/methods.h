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
method_run method_rerun; /* methods-rerun.c */

/* A job that was looked up by its number. */
struct found_job {
        struct job *job;          /* NULL: the job has ended, or waits for the next daemon */
        struct job_record stored; /* the row of the database; valid if @job is NULL */
};

#define FOUND_NULL                        \
        {                                 \
                .stored = JOB_RECORD_NULL \
        }

/*
 * Reads "job", and finds that job if this peer may use it. Otherwise answers the call and returns
 * false; @what is "cancel this job". @names: what else there may be, as methods_check_names().
 */
bool methods_find_job(struct peer *peer, const json_t *parameters, const char *const *names,
                      const char *what, struct found_job *ret);
const struct job_record *found_record(const struct found_job *found);
void found_deinit(struct found_job *found);

/* Answers with the job as it is told to clients. */
void methods_reply_job(struct peer *peer, const struct job_record *record, bool continues);

/* Whether the job's end is not stored yet, and must not be reported, since it may be undone: */
bool found_is_unstored(const struct found_job *found);
void methods_say_unstored(struct peer *peer, const struct job *job);

/*
 * Each answers the call and returns false: for a spec that cannot be had here, or not by this
 * user; when no more jobs may wait; while the daemon stops.
 */
bool methods_check_spec(struct peer *peer, const struct spec *spec);
bool methods_check_room(struct peer *peer);
bool methods_check_admits(struct peer *peer);

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
