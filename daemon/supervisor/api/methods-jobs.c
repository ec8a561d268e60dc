#include <stdio.h>

#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/api/methods.h"
#include "daemon/supervisor/base/log.h"

#define LIST_NS NSEC_PER_MSEC

static bool may_see(const struct peer *peer, uid_t owner)
{
        return peer->uid == owner || uid_is_trusted(peer->uid);
}

static json_t *job_reply(const struct job_record *record)
{
        return json_pack("{s:o}", "job", job_record_to_json(record));
}

void methods_reply_job(struct peer *peer, const struct job_record *record, bool continues)
{
        peer_reply(peer, job_reply(record), continues, NULL, 0);
}

static void no_such_job(struct peer *peer, uint64_t number)
{
        peer_error(peer, INTERFACE_JOBS ".NoSuchJob",
                   json_pack("{s:I}", "job", (json_int_t)number));
}

static void store_failed(struct peer *peer, const char *attempted)
{
        const struct jobs *jobs = peer->owner->jobs;

        supervisor_log(LOG_ERR, "cannot %s: %s", attempted, store_error(jobs->store));
        peer_error(peer, INTERFACE_JOBS ".Failed",
                   json_pack("{s:s, s:s, s:s}", "attempted", attempted, "why",
                             store_error(jobs->store), "hint", "the daemon's log tells more"));
}

const struct job_record *found_record(const struct found_job *found)
{
        return found->job ? &found->job->record : &found->stored;
}

void found_deinit(struct found_job *found)
{
        if (!found->job)
                job_record_deinit(&found->stored);
}

bool methods_find_job(struct peer *peer, const json_t *parameters, const char *const *names,
                      const char *what, struct found_job *ret)
{
        const json_t *number = json_object_get(parameters, "job");
        struct jobs *jobs = peer->owner->jobs;
        struct found_job found = FOUND_NULL;
        int r = 0;

        if (!methods_check_names(peer, parameters, names))
                return false;
        if (!json_is_integer(number) || json_integer_value(number) < 0) {
                methods_refuse(peer, "job", number ? "it is not a job's number" : "it is missing",
                               "give the number that Run returned");
                return false;
        }
        found.job = jobs_find(jobs, (uint64_t)json_integer_value(number));
        if (found.job)
                job_refresh(found.job);
        else
                r = store_get(jobs->store, (uint64_t)json_integer_value(number), &found.stored);
        if (r == -ENOENT) {
                no_such_job(peer, (uint64_t)json_integer_value(number));
                return false;
        }
        if (r < 0) {
                store_failed(peer, "look up a job");
                return false;
        }
        if (!may_see(peer, found_record(&found)->owner)) {
                peer_error(peer, INTERFACE_JOBS ".NotAllowed",
                           json_pack("{s:s, s:s}", "what", what, "why",
                                     "the job belongs to another user"));
                found_deinit(&found);
                return false;
        }
        *ret = found;
        return true;
}

/* "job" is the only parameter. */
static bool find_job(struct peer *peer, const json_t *parameters, const char *what,
                     struct found_job *ret)
{
        static const char *const names[] = { "job", NULL };

        return methods_find_job(peer, parameters, names, what, ret);
}

static void say_interrupted(struct peer *peer, uint64_t number)
{
        peer_error(
                peer, INTERFACE_JOBS ".Interrupted",
                json_pack("{s:I, s:s}", "job", (json_int_t)number, "why",
                          "the daemon is stopping; it resumes the job when it is started again"));
}

void methods_say_unstored(struct peer *peer, const struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        (void)fault_errno(
                &fault, job->unstored_error,
                "check that the state directory can be written to: this is tried again "
                "every few seconds; a daemon that is restarted before it succeeds resumes "
                "the job",
                "store the end of job %llu", (unsigned long long)job->record.number);
        methods_fail(peer, &fault);
}

static void on_job_event(struct waiter *waiter, struct job *job, enum job_event event)
{
        struct peer *peer = container_of(waiter, struct peer, call.waiter);

        switch (event) {
        case JOB_EVENT_PROGRESS:
        case JOB_EVENT_ENDED:
                peer_reply_later(peer, job_reply(&job->record), event == JOB_EVENT_ENDED);
                break;
        case JOB_EVENT_INTERRUPTED:
                say_interrupted(peer, job->record.number);
                break;
        case JOB_EVENT_UNSTORED:
                methods_say_unstored(peer, job);
                break;
        }
}

static void wait_for(struct peer *peer, struct job *job, bool progress)
{
        peer->call.kind = CALL_WAIT;
        peer->call.waiter.progress = progress;
        peer->call.waiter.notify = on_job_event;
        job_add_waiter(job, &peer->call.waiter);
}

static bool is_live(const struct found_job *found)
{
        return found->job && job_is_live(found->job);
}

bool found_is_unstored(const struct found_job *found)
{
        return found->job && found->job->unstored_error;
}

/*
 * Answers a call that asks for the end of a job of which there is nothing to wait for: it has
 * ended, or the next daemon will resume it.
 */
static void reply_end(struct peer *peer, const struct found_job *found)
{
        const struct job_record *record = found_record(found);

        if (job_state_is_live(record->state))
                say_interrupted(peer, record->number);
        else if (found_is_unstored(found))
                methods_say_unstored(peer, found->job);
        else
                methods_reply_job(peer, record, false);
}

void method_wait(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        struct found_job found;

        if (!find_job(peer, parameters, "wait for this job", &found))
                return;
        if (is_live(&found)) {
                wait_for(peer, found.job, peer->call.more);
                if (peer->call.more)
                        methods_reply_job(peer, &found.job->record, true);
        } else {
                reply_end(peer, &found);
        }
        found_deinit(&found);
}

void method_cancel(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        struct found_job found;

        if (!find_job(peer, parameters, "cancel this job", &found))
                return;
        if (is_live(&found)) {
                wait_for(peer, found.job, false);
                job_stop(found.job, REASON_CANCELLED); /* may be gone now, and the call answered */
                return;
        }
        reply_end(peer, &found);
        found_deinit(&found);
}

void method_show(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        struct found_job found;

        if (!find_job(peer, parameters, "see this job", &found))
                return;
        if (found_is_unstored(&found))
                methods_say_unstored(peer, found.job);
        else
                methods_reply_job(peer, found_record(&found), false);
        found_deinit(&found);
}

static void set_paused(struct peer *peer, struct found_job *found, bool pause)
{
        const struct job_record *record = found_record(found);
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (!is_live(found) && job_state_is_live(record->state))
                say_interrupted(peer, record->number);
        else if (found_is_unstored(found))
                methods_say_unstored(peer, found->job);
        else if (!is_live(found))
                peer_error(peer, INTERFACE_JOBS ".NotRunning",
                           json_pack("{s:I, s:s}", "job", (json_int_t)record->number, "state",
                                     job_state_name(record->state)));
        else if (jobs_pause(peer->owner->jobs, found->job, pause, &fault) < 0)
                methods_fail(peer, &fault);
        else
                methods_reply_job(peer, record, false);
}

void method_pause(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        struct found_job found;

        if (!find_job(peer, parameters, "pause this job", &found))
                return;
        set_paused(peer, &found, true);
        found_deinit(&found);
}

void method_resume(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        struct found_job found;

        if (!find_job(peer, parameters, "resume this job", &found))
                return;
        set_paused(peer, &found, false);
        found_deinit(&found);
}

static void results_failed(struct peer *peer, uint64_t number, int error)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        (void)fault_errno(&fault, error, failure_advice(error), "open the results of job %llu",
                          (unsigned long long)number);
        methods_fail(peer, &fault);
}

static void reply_results(struct peer *peer, const struct job_record *record)
{
        static const struct {
                const char *file, *member;
                bool of_commands; /* only jobs that run some have it */
        } files[] = {
                { "results", "results_fd", false },
                { "inputs", "inputs_fd", false },
                { "tasks", "tasks_fd", true },
                { "task-output", "output_fd", true },
        };
        json_t *reply = json_pack("{s:o}", "job", job_record_to_json(record));
        int fds[ARRAY_SIZE(files)], n = 0, r = reply ? 0 : -ENOMEM;

        for (size_t i = 0; i < ARRAY_SIZE(files) && r >= 0; ++i) {
                r = directory_open_file(peer->owner->jobs->env.jobs_fd, record->number,
                                        files[i].file, &fds[n]);
                if (r == -ENOENT && files[i].of_commands)
                        r = 0;
                else if (r >= 0 &&
                         json_object_set_new(reply, files[i].member, json_integer(n++)) < 0)
                        r = -ENOMEM;
        }
        if (r >= 0) {
                peer_reply(peer, reply, false, fds, (size_t)n);
        } else {
                json_decref(reply);
                results_failed(peer, record->number, r);
        }
        while (n > 0)
                close_fd(fds[--n]);
}

void method_results(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        struct found_job found;

        if (!find_job(peer, parameters, "read the results of this job", &found))
                return;
        if (found_is_unstored(&found))
                methods_say_unstored(peer, found.job);
        else
                reply_results(peer, found_record(&found));
        found_deinit(&found);
}

void method_list(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        static const char *const names[] = { "limit", NULL };
        const json_t *limit = json_object_get(parameters, "limit");
        bool limited = limit && !json_is_null(limit);

        if (!methods_check_names(peer, parameters, names))
                return;
        if (limited && (!json_is_integer(limit) || json_integer_value(limit) < 1)) {
                methods_refuse(peer, "limit", "it is not a number from 1 up",
                               "give the number of jobs that you want, or leave it out for all");
                return;
        }
        if (!peer->call.more) {
                peer_error(peer, "org.varlink.service.ExpectedMore", json_object());
                return;
        }
        peer->call.kind = CALL_LIST;
        peer->call.cursor = UINT64_MAX;
        peer->call.left = limited ? (uint64_t)json_integer_value(limit) : UINT64_MAX;
}

/*
 * Finds the object of a listed job if it knows more than the database's row @record. For a queued
 * job the row is enough: only the reason why its start was put off is missing, and Show has that. A
 * job whose end is not stored yet is listed from its row, too.
 */
static struct job *find_live(struct jobs *jobs, const struct job_record *record)
{
        struct job *job;

        if (!job_state_is_live(record->state))
                return NULL;
        job = record->state == JOB_RUNNING ? jobs_find(jobs, record->number)
                                           : jobs_find_running(jobs, record->number);
        return job && !job->unstored_error ? job : NULL;
}

/* Makes the reply with the next job of the list. -ENOENT at the end of the list. */
static int list_next(struct peer *peer, json_t **ret)
{
        _cleanup_(job_record_deinit) struct job_record record = JOB_RECORD_NULL;
        struct jobs *jobs = peer->owner->jobs;
        struct job *job;
        int r;

        if (peer->call.left == 0)
                return -ENOENT;
        r = store_get_before(jobs->store, peer->call.cursor,
                             uid_is_trusted(peer->uid) ? STORE_ANY_OWNER : peer->uid, &record);
        if (r < 0)
                return r;
        peer->call.cursor = record.number;
        --peer->call.left;
        job = find_live(jobs, &record);
        if (job)
                job_refresh(job);
        *ret = job_reply(job ? &job->record : &record);
        return *ret ? 0 : -ENOMEM;
}

static void list_end(struct peer *peer, int r)
{
        json_t *last = steal_ptr(peer->call.held);

        if (r != -ENOENT) {
                json_decref(last);
                store_failed(peer, "list the jobs");
        } else if (last) {
                peer_reply(peer, last, false, NULL, 0);
        } else {
                peer_reply(peer, json_object(), false, NULL, 0);
        }
}

void methods_stream(struct peer *peer)
{
        uint64_t began_ns = now_monotonic();

        assert(peer->call.kind == CALL_LIST);
        while (!varlink_wants_write(&peer->varlink) && now_monotonic() - began_ns < LIST_NS) {
                json_t *next;
                int r;

                r = list_next(peer, &next);
                if (r < 0) {
                        list_end(peer, r);
                        return;
                }
                /* Another job follows, so the previous reply is not the last one. */
                if (peer->call.held)
                        peer_reply(peer, steal_ptr(peer->call.held), true, NULL, 0);
                peer->call.held = next;
        }
}
