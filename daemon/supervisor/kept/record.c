#include "daemon/supervisor/kept/record.h"

#include <pppctl/results.h>
#include <stdio.h>

static const char *const state_names[_JOB_STATE_N] = {
        [JOB_QUEUED] = "queued",       [JOB_RUNNING] = "running", [JOB_DONE] = "done",
        [JOB_CANCELLED] = "cancelled", [JOB_FAILED] = "failed",
};

static const char *const reason_names[_REASON_N] = {
        [REASON_NONE] = NULL,
        [REASON_TIMEOUT] = "timeout",
        [REASON_CANCELLED] = "cancelled",
        [REASON_DISCONNECTED] = "disconnected",
        [REASON_STOPPED] = "stopped",
        [REASON_RUNNER_DIED] = "runner-died",
        [REASON_RUNNER_FAILED] = "runner-failed",
        [REASON_CPU_TIME_MAX] = "cpu-time-max",
        [REASON_HALTED] = "halted",
        [REASON_OOM_KILLED] = "oom-killed",
        [REASON_PIDS_MAX] = "pids-max",
};

const char *job_state_name(enum job_state state)
{
        assert(state < _JOB_STATE_N);
        return state_names[state];
}

/* NULL when nothing is wrong, or when a newer runner wrote a condition that we do not know. */
static const char *condition_name(const struct job_record *record)
{
        static const char *const names[_PPP_CONDITION_N] = {
                [PPP_CONDITION_NO_NODE] = "no-node",
                [PPP_CONDITION_ENGINE_UNREACHABLE] = "engine-unreachable",
                [PPP_CONDITION_ENGINE_FULL] = "engine-full",
                [PPP_CONDITION_DISK_FULL] = "disk-full",
        };

        return record->state == JOB_RUNNING && record->condition < _PPP_CONDITION_N
                       ? names[record->condition]
                       : NULL;
}

const char *job_record_state_name(const struct job_record *record)
{
        if (!record->paused || !job_state_is_live(record->state))
                return job_state_name(record->state);
        return record->resuming ? job_state_name(JOB_QUEUED) : "paused";
}

int job_state_from_name(const char *name, enum job_state *ret)
{
        for (unsigned i = 0; i < _JOB_STATE_N; ++i)
                if (streq(state_names[i], name)) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}

const char *job_reason_name(enum job_reason reason)
{
        assert(reason < _REASON_N);
        return reason_names[reason];
}

enum job_reason job_reason_in(const char *text)
{
        size_t n = text ? strcspn(text, ":") : 0;

        for (unsigned i = REASON_NONE + 1; i < _REASON_N && n > 0; ++i)
                if (strlen(reason_names[i]) == n && strncmp(text, reason_names[i], n) == 0)
                        return i;
        return REASON_NONE;
}

const char *job_reason_of(const struct job_record *record)
{
        return job_reason_name(job_reason_in(record->reason));
}

void job_record_deinit(struct job_record *record)
{
        free(record->reason);
        free(record->cgroup);
        free(record->put_off);
        json_decref(record->spec);
        json_decref(record->summary);
        json_decref(record->parts);
        *record = (struct job_record)JOB_RECORD_NULL;
}

/* RFC 3339 in UTC, with milliseconds. */
static void format_time(uint64_t realtime_ns, char ret[static 32])
{
        time_t seconds = (time_t)(realtime_ns / NSEC_PER_SEC);
        char text[24];
        struct tm tm;

        gmtime_r(&seconds, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(ret, 32, "%s.%03uZ", text, (unsigned)(realtime_ns % NSEC_PER_SEC / NSEC_PER_MSEC));
}

/* How a job is paused. NULL for a queued job: it has no process that could be stopped. */
static const char *paused_by(const struct job_record *record)
{
        if (!record->paused || record->state != JOB_RUNNING)
                return NULL;
        return record->cgroup ? "cgroup.freeze" : "SIGSTOP";
}

/* Without the environment of its commands, in which secrets may be. A new reference. */
static json_t *public_spec(const json_t *spec)
{
        json_t *command = json_object_get(spec, "command"), *copy;

        if (!json_object_get(command, "environment"))
                return json_incref((json_t *)spec);
        copy = json_copy((json_t *)spec);
        command = json_copy(command);
        if (!copy || !command || json_object_del(command, "environment") < 0 ||
            json_object_set(copy, "command", command) < 0) {
                json_decref(copy);
                copy = NULL;
        }
        json_decref(command);
        return copy;
}

json_t *job_record_to_json(const struct job_record *record)
{
        char submitted_at[32];
        json_t *json;

        format_time(record->submitted_ns, submitted_at);
        json = json_pack("{s:I, s:s, s:s*, s:s*, s:s*, s:s*, s:I, s:s, s:o, s:I, s:I, s:I, s:O*}",
                         "job", (json_int_t)record->number, "state", job_record_state_name(record),
                         "reason", record->reason, "condition", condition_name(record), "paused_by",
                         paused_by(record), "put_off",
                         job_state_is_live(record->state) ? record->put_off : NULL, "owner_uid",
                         (json_int_t)record->owner, "submitted_at", submitted_at, "spec",
                         public_spec(record->spec), "tasks_total", (json_int_t)record->n_tasks,
                         "tasks_done", (json_int_t)record->n_done, "tasks_failed",
                         (json_int_t)record->n_failed, "summary",
                         job_state_is_live(record->state) ? NULL : record->summary);
        return json;
}
