#include "daemon/supervisor/jobs/job-internal.h"

#include <fcntl.h>
#include <stdio.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/limits/limit-restore.h"
#include "daemon/supervisor/limits/limit-set.h"
#include "lib/json-text.h"
#include "lib/machines.h"
#include "lib/priority.h"
#include "lib/runner-abi.h"

/* What the runner is started with, descriptors in the order of lib/runner-abi.h. */
struct start {
        int null_fd, output_fd, spec_fd, inputs_fd, measures_fd, runner_group_fd;
        int tasks_fd, task_output_fd; /* of a job that runs commands */
};

#define START_NULL                                                             \
        {                                                                      \
                -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF \
        }

static void start_deinit(struct start *start)
{
        close_fd(start->null_fd);
        close_fd(start->output_fd);
        close_fd(start->spec_fd);
        close_fd(start->inputs_fd);
        close_fd(start->measures_fd);
        close_fd(start->runner_group_fd);
        close_fd(start->tasks_fd);
        close_fd(start->task_output_fd);
}

/* At machines: where the Redis is, and whose chunks these are. NULL when out of memory. */
static json_t *describe_machines(const struct job *job)
{
        json_t *json = engine_describe(job->env->engine, job->holds_engine, NULL);
        char owner[MACHINES_OWNER_MAX + 1];

        if (!json)
                return NULL;
        snprintf(owner, sizeof(owner), "%s:%u", json_string_value(json_object_get(json, "name")),
                 job->record.owner);
        if (json_object_set_new(json, "owner", json_string(owner)) >= 0)
                return json;
        json_decref(json);
        return NULL;
}

static int make_spec(const struct job *job, const char *demo_url, int *ret_fd)
{
        _cleanup_free_ char *text = NULL;
        json_t *json;
        int r;

        json = json_pack("{s:o, s:s*}", "spec", spec_to_json(&job->spec), "demo_url", demo_url);
        if (json && !level_has(job->spec.level, LEVEL_LOCAL) &&
            json_object_set_new(json, "machines", describe_machines(job)) < 0) {
                json_decref(json);
                json = NULL;
        }
        text = json ? json_text(json, JSON_COMPACT) : NULL;
        json_decref(json);
        if (!text)
                return -ENOMEM;
        r = memfd_sealed("pppd-spec", text, strlen(text), ret_fd);
        explicit_bzero(text, strlen(text));
        return r;
}

/* All descriptors but the group's. */
static int open_files(struct job *job, const char *demo_url, struct start *start)
{
        int r;

        start->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (start->null_fd < 0)
                return -errno;
        r = make_spec(job, demo_url, &start->spec_fd);
        if (r >= 0)
                r = directory_open_file(job->env->jobs_fd, job->record.number, "inputs",
                                        &start->inputs_fd);
        if (r >= 0)
                r = directory_open_output(&job->directory, &start->output_fd);
        if (r >= 0)
                r = directory_open_measures(&job->directory, &start->measures_fd);
        if (r >= 0 && workload_info(job->spec.workload)->runs_commands)
                r = directory_open_tasks(&job->directory, &start->tasks_fd, &start->task_output_fd);
        return r;
}

static int make_group(struct job *job, struct start *start)
{
        char name[JOB_GROUP_NAME_MAX], *path;
        int r;

        if (!groups_exist(job->env->groups))
                return 0;
        path = strdup(job->env->groups->path);
        if (!path)
                return -ENOMEM;
        job_group_name(job->record.number, name);
        r = child_group_make(job->env->groups->fd, name, "runner", &job->child.group,
                             &start->runner_group_fd);
        if (r < 0) {
                free(path);
                return r;
        }
        free(job->record.cgroup);
        job->record.cgroup = path;
        return 0;
}

static int set_limits(struct job *job, struct fault *fault)
{
        int r;

        if (!child_group_exists(&job->child.group))
                return 0;
        r = limit_set(&job->spec, job->env->groups, &job->child.group, fault);
        return r < 0 ? limit_attempt(fault) : 0;
}

/* Where it may not be set, the group's weight stands for it, or the job had not been admitted. */
static bool sets_nice(const struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        return job->spec.has_nice && priority_may_set(job->spec.nice, &fault);
}

static int spawn_runner(struct job *job, const struct start *start, const char **ret_attempted)
{
        char number[24], *argv[] = { (char *)"pppd-runner", number, NULL };
        int group_fd = job->child.group.fd;
        struct spawn spawn = {
                .path = job->env->runner,
                .argv = argv,
                .envp = job->env->environment,
                .cgroup_fd = start->runner_group_fd,
                .fds = {
                        [STDIN_FILENO] = start->null_fd,
                        [STDOUT_FILENO] = start->output_fd,
                        [STDERR_FILENO] = start->output_fd,
                        [RUNNER_FD_SPEC] = start->spec_fd,
                        [RUNNER_FD_INPUTS] = start->inputs_fd,
                        [RUNNER_FD_RESULTS] = job->directory.results_fd,
                        [RUNNER_FD_MEASURES] = start->measures_fd,
                        [RUNNER_FD_CGROUP] = group_fd >= 0 ? group_fd : start->null_fd,
                        [RUNNER_FD_TASKS] = start->tasks_fd,
                        [RUNNER_FD_TASK_OUTPUT] = start->task_output_fd,
                },
                .n_fds = start->tasks_fd >= 0 ? RUNNER_FD_TASK_OUTPUT + 1 : RUNNER_FD_CGROUP + 1,
                .has_nice = sets_nice(job),
                .nice = job->spec.nice,
                .die_with_parent = true,        /* until it has begun (lib/runner-abi.h) */
        };

        snprintf(number, sizeof(number), "%llu", (unsigned long long)job->record.number);
        return child_start(&job->child, &spawn, ret_attempted);
}

/* The runner is on its way: only now is there something to lose. */
static int runner_started(struct job *job, struct start *start, const char **ret_attempted)
{
        int r;

        job->carried = job->adopted = job->has_nice = false;
        job->controllers = (struct controller_changes){ 0, 0 };
        job->measures_fd = steal_fd(&start->measures_fd);
        *ret_attempted = "watch the CPU time of";
        r = job_watch_cpu_time(job);
        if (r < 0)
                child_force(&job->child);
        return r;
}

static int start_runner(struct job *job, const char *demo_url, const char **ret_attempted,
                        struct fault *fault)
{
        _cleanup_(start_deinit) struct start start = START_NULL;
        int r;

        *ret_attempted = "open the files for";
        r = open_files(job, demo_url, &start);
        if (r >= 0) {
                *ret_attempted = "make the cgroup for";
                r = make_group(job, &start);
        }
        if (r >= 0)
                r = set_limits(job, fault);
        job_read_chain(job, false);
        if (r >= 0)
                r = spawn_runner(job, &start, ret_attempted);
        return r < 0 ? r : runner_started(job, &start, ret_attempted);
}

static int acquire_demo(struct job *job, char url[static DEMO_URL_MAX], struct fault *fault)
{
        int r;

        if (job->record.uses_demo != DEMO_USED)
                return 0;
        r = demo_server_acquire(job->env->demo, url, fault);
        if (r >= 0)
                job->holds_demo = true;
        return r;
}

static int acquire_engine(struct job *job, struct fault *fault)
{
        int r;

        if (level_has(job->spec.level, LEVEL_LOCAL))
                return 0;
        r = engine_acquire(job->env->engine, fault);
        if (r <= 0)
                return r;
        job->holds_engine = true;
        engine_usage_begin(job->env->engine, &job->engine_usage);
        return 0;
}

const char *job_start_hint(const struct job *job, int error)
{
        const char *gone = groups_hint_gone(job->env->groups);

        if (gone)
                return gone;
        if (error == -ENOENT || error == -EACCES || error == -ENOEXEC)
                return "see whether it is there and may be executed, or name it with --runner PATH";
        return NULL;
}

int job_start(struct job *job, struct fault *fault)
{
        char url[DEMO_URL_MAX];
        const char *attempted;
        int r;

        assert(job->child.state == CHILD_NONE);
        r = acquire_engine(job, fault);
        if (r >= 0)
                r = acquire_demo(job, url, fault);
        if (r < 0) {
                job_end_run(job);
                return r;
        }
        r = start_runner(job, job->holds_demo ? url : NULL, &attempted, fault);
        if (r < 0) {
                job_end_run(job);
                job->carried = true;
                /* A limit that cannot be had has explained itself. */
                if (fault->field)
                        return r;
                return fault_errno(fault, r, job_start_hint(job, r) ?: failure_advice(r),
                                   "%s the runner %s of job %llu", attempted, job->env->runner,
                                   (unsigned long long)job->record.number);
        }
        job_set_state(job, JOB_RUNNING);
        job->start_after_ns = job->start_delay_ns = 0;
        return 0;
}

static void find_nice(struct job *job)
{
        job->has_nice = job->spec.has_nice && limit_get_nice(&job->child.group, job->child.pid,
                                                             job->spec.nice, &job->nice) >= 0;
}

void job_on_begun(struct child *child)
{
        struct job *job = container_of(child, struct job, child);

        find_nice(job);
        if (!child->start_attempted)
                job_note_begun(job);
        /* A job that is interrupted has been sent SIGTERM, on which a frozen runner does not act.
         */
        if (job->record.paused && !job->interrupted)
                job_freeze_late(job);
}

void job_note_begun(struct job *job)
{
        job->again_usec = 0;
        free(job->record.put_off);
        job->record.put_off = NULL;
}

void job_put_off(struct job *job, const struct fault *fault)
{
        const struct log_about about = job_about(job, MESSAGE_NONE, REASON_NONE);
        bool is_first = !job->record.put_off;

        free(job->record.put_off);
        job->record.put_off = fault_sentence(fault);
        if (is_first)
                supervisor_log_about(&about, LOG_WARNING,
                                     "job %llu is not started yet: %s; it is tried again",
                                     (unsigned long long)job->record.number,
                                     fault_text(job->record.put_off));
}

/* The runner knows the server's address already: all there is to do is to keep it running. */
static void reacquire_demo(struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        char url[DEMO_URL_MAX];

        if (acquire_demo(job, url, &fault) < 0)
                supervisor_log(LOG_WARNING,
                               "job %llu continues without its demo server: cannot %s: %s",
                               (unsigned long long)job->record.number, fault.attempted, fault.why);
}

/* As the demo server: the runner knows where its Redis is. */
static void reacquire_engine(struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        if (level_has(job->spec.level, LEVEL_LOCAL))
                return;
        r = engine_acquire_again(job->env->engine, &fault);
        job->holds_engine = r > 0;
        job->engine_usage = (struct engine_usage){ .alone = false };
        if (r < 0)
                supervisor_log(LOG_WARNING,
                               "job %llu continues without its private Redis: cannot %s: %s",
                               (unsigned long long)job->record.number, fault.attempted, fault.why);
}

static void restore_limits(struct job *job)
{
        const struct log_about about = job_about(job, MESSAGE_LIMITS_LOST, REASON_NONE);
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (limit_restore(&job->spec, job->env->groups, &job->child.group, &job->controllers,
                          &fault) < 0)
                supervisor_log_about(&about, LOG_ERR,
                                     "job %llu continues without all of its limits: %s: %s; "
                                     "%s",
                                     (unsigned long long)job->record.number, fault.field, fault.why,
                                     fault.advice);
        else if (job->controllers.lost && (job->spec.limits.given || job->spec.worker_limits.given))
                supervisor_log_about(&about, LOG_NOTICE,
                                     "limits of job %llu did not hold while there was no "
                                     "supervisor; they were set again",
                                     (unsigned long long)job->record.number);
}

int job_adopt(struct job *job, struct child_group *group, pid_t pid, int pidfd)
{
        int r;

        job->child.group = *group;
        *group = (struct child_group)CHILD_GROUP_NULL;
        r = child_adopt(&job->child, pid, pidfd);
        job->carried = false;
        job->adopted = true;
        job_set_state(job, JOB_RUNNING);
        job_note_begun(job);
        if (child_is_up(&job->child))
                find_nice(job);
        /*
         * The former supervisor may have died in the middle of it, or somebody may have let the job
         * go on since.
         */
        job->record.paused |= child_is_frozen(&job->child);
        job->record.resuming &= job->record.paused;
        if (job->record.paused)
                job_freeze_late(job);
        /* What is there of measures when the runner ends is read by name then. */
        job->measures_fd = openat(job->directory.fd, "measures", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        restore_limits(job);
        job_read_chain(job, true);
        reacquire_demo(job);
        reacquire_engine(job);
        return r < 0 ? r : job_watch_cpu_time(job);
}
