#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/api/methods.h"
#include "daemon/supervisor/base/failure.h"
#include "daemon/supervisor/jobs/rerun.h"
#include "lib/results.h"

static bool find_reason(const char *name, uint64_t *set)
{
        for (unsigned i = PPP_REASON_NONE + 1; name && i < _PPP_REASON_N; ++i)
                if (streq(reason_name(i), name)) {
                        *set |= UINT64_C(1) << i;
                        return true;
                }
        return false;
}

/* All, where none are named. */
static bool read_reasons(struct peer *peer, const json_t *parameters, uint64_t *ret)
{
        const json_t *list = json_object_get(parameters, "reasons"), *name;
        uint64_t set = 0;
        size_t i;

        if (!list || json_is_null(list)) {
                *ret = RESULTS_ANY_REASON;
                return true;
        }
        if (!json_is_array(list)) {
                methods_refuse(peer, "reasons", "it is not an array of strings",
                               "name reasons for which tasks failed: [\"timeout\"]");
                return false;
        }
        json_array_foreach(list, i, name)
                if (!find_reason(json_string_value(name), &set)) {
                        methods_refuse(peer, "reasons",
                                       "one of them is no reason for which tasks fail",
                                       "take it as results show it: \"timeout\", \"http-status\"");
                        return false;
                }
        *ret = set;
        return true;
}

/* What a job may be given anew. The rest makes it the job that it is. */
static bool may_change(const char *member)
{
        static const char *const members[] = {
                "workers",
                "loops",
                "timeout_seconds",
                "task_timeout_seconds",
                "cpu_time_max_seconds",
                "nice",
                "limits",
                "worker_limits",
                "task_limits",
                "retries",
                "halt",
                "delay_seconds",
        };

        for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
                if (streq(members[i], member))
                        return true;
        return false;
}

/* null takes a member away. */
static int set_member(json_t *object, const char *name, json_t *value)
{
        if (!json_is_null(value))
                return json_object_set(object, name, value);
        (void)json_object_del(object, name);
        return 0;
}

/* Of limits each alone. */
static int change_member(json_t *spec, const char *name, json_t *value)
{
        json_t *old = json_object_get(spec, name), *copy, *inner;
        const char *key;
        int r = 0;

        if (!json_is_object(value) || !json_is_object(old))
                return set_member(spec, name, value);
        copy = json_copy(old);
        json_object_foreach(value, key, inner)
                if (r == 0)
                        r = set_member(copy, key, inner);
        return json_object_set_new(spec, name, copy) < 0 ? -1 : r;
}

/* A worker's limit on memory that was only the job's follows that. */
static void untie_worker_memory(json_t *spec)
{
        json_t *of_worker = json_object_get(spec, "worker_limits");
        json_t *copy = json_copy(of_worker);

        if (!of_worker ||
            !json_equal(json_object_get(of_worker, "memory_max_bytes"),
                        json_object_get(json_object_get(spec, "limits"), "memory_max_bytes"))) {
                json_decref(copy);
                return;
        }
        (void)json_object_del(copy, "memory_max_bytes");
        if (json_object_size(copy) > 0)
                (void)json_object_set(spec, "worker_limits", copy);
        else
                (void)json_object_del(spec, "worker_limits");
        json_decref(copy);
}

static bool change(struct peer *peer, json_t *spec, json_t *changes)
{
        const char *name;
        json_t *value;

        if (!changes || json_is_null(changes))
                return true;
        untie_worker_memory(spec);
        json_object_foreach(changes, name, value) {
                if (!may_change(name)) {
                        methods_refuse(peer, name, "a job keeps this when it is run again",
                                       "submit a new job");
                        return false;
                }
                if (change_member(spec, name, value) < 0) {
                        methods_refuse(peer, "changes", "out of memory", "try again");
                        return false;
                }
        }
        if (json_is_object(changes))
                return true;
        methods_refuse(peer, "changes", "it is not an object",
                       "give members of the spec: {\"task_timeout_seconds\": 60}");
        return false;
}

/* The job's spec with the changes. Answers the call and returns false if that is none. */
static bool make_spec(struct peer *peer, const struct job_record *record, json_t *changes,
                      struct spec *ret)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *json = json_copy(record->spec);
        int r = json ? 0 : -ENOMEM;

        if (r >= 0 && !change(peer, json, changes)) {
                json_decref(json);
                return false;
        }
        if (r >= 0)
                r = spec_from_json(json, ret, &fault);
        json_decref(json);
        if (r == -EBADMSG)
                methods_refuse(peer, fault.field, fault.why, fault.advice);
        else if (r < 0) {
                (void)fault_errno(&fault, r, failure_advice(r), "read the spec");
                methods_fail(peer, &fault);
        }
        if (r < 0)
                return false;
        spec_fill(ret, peer->owner->jobs->env.host->n_cpus, record->n_tasks);
        return true;
}

/* Answers the call and returns false for a job that cannot be run again, or need not. */
static bool check_ended(struct peer *peer, const struct found_job *found)
{
        const struct job_record *record = found_record(found);

        if (found_is_unstored(found))
                methods_say_unstored(peer, found->job);
        else if (job_state_is_live(record->state))
                peer_error(peer, INTERFACE_JOBS ".NotEnded",
                           json_pack("{s:I, s:s}", "job", (json_int_t)record->number, "state",
                                     job_record_state_name(record)));
        else if (record->n_done == record->n_tasks)
                methods_refuse(peer, "job", "all of its tasks are done",
                               "submit its inputs anew to have them run once more");
        else
                return true;
        return false;
}

static void rerun(struct peer *peer, struct found_job *found, json_t *changes, uint64_t reasons)
{
        static const char *const names[] = { "job", "reasons", "changes", NULL };
        struct jobs *jobs = peer->owner->jobs;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        uint64_t number = found->stored.number;
        struct spec spec = SPEC_NULL;
        struct job_record record;
        json_t *job;

        if (!make_spec(peer, &found->stored, changes, &spec) || !methods_check_spec(peer, &spec)) {
                spec_deinit(&spec);
                return;
        }
        record = found->stored;
        found->stored = (struct job_record)JOB_RECORD_NULL;
        if (jobs_rerun(jobs, &record, &spec, reasons, &fault) < 0) {
                methods_fail(peer, &fault);
                return;
        }
        /* It may have ended again already. */
        job = json_pack("{s:I}", "job", (json_int_t)number);
        if (methods_find_job(peer, job, names, "see this job", found))
                methods_reply_job(peer, found_record(found), false);
        json_decref(job);
}

void method_rerun(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        static const char *const names[] = { "job", "reasons", "changes", NULL };
        struct found_job found = FOUND_NULL;
        uint64_t reasons;

        if (!methods_check_admits(peer) ||
            !methods_find_job(peer, parameters, names, "run this job again", &found))
                return;
        if (check_ended(peer, &found) && read_reasons(peer, parameters, &reasons) &&
            methods_check_room(peer))
                rerun(peer, &found, json_object_get(parameters, "changes"), reasons);
        found_deinit(&found);
}
