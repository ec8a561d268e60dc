#include "daemon/runner/node/node-jobs.h"

#include "daemon/runner/runner.h"
#include "daemon/runner/workloads/workloads.h"

#define SAY_AGAIN_NS (60 * NSEC_PER_SEC)
#define CHECK_NS     (500 * NSEC_PER_MSEC) /* that a job is gone is noticed in this time */

struct node_job *node_job_get(struct node_jobs *jobs, const struct stream *stream, const char *name,
                              size_t n)
{
        struct node_job *job;

        /* A job that is gone may come back, if Redis had lost it: so it is asked for again. */
        for (job = jobs->first; job; job = job->next)
                if (!job->gone && job->stream == stream && strlen(job->name) == n &&
                    memcmp(job->name, name, n) == 0) {
                        ++job->n_refs;
                        return job;
                }
        job = calloc(1, sizeof(*job));
        if (!job)
                return NULL;
        job->name = strndup(name, n);
        if (!job->name) {
                free(job);
                return NULL;
        }
        job->jobs = jobs;
        job->stream = stream;
        job->n_refs = 1;
        job->next = jobs->first;
        jobs->first = job;
        return job;
}

void node_job_unref(struct node_job *job)
{
        struct node_job **p = &job->jobs->first;

        assert(job->n_refs > 0);
        if (--job->n_refs > 0)
                return;
        while (*p != job)
                p = &(*p)->next;
        *p = job->next;
        free(job->name);
        free(job);
}

/* {"task_timeout_ns": …, "retries": …}, both or none of them. */
static int read_terms(const char *text, size_t size, struct task_terms *terms)
{
        json_int_t timeout = 0, retries = 0;
        json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        int r = -EBADMSG;

        if (json &&
            json_unpack_ex(json, NULL, JSON_STRICT, "{s?I, s?I}", "task_timeout_ns", &timeout,
                           "retries", &retries) >= 0 &&
            timeout >= 0 && retries >= 0 && retries <= SPEC_RETRIES_MAX) {
                terms->timeout_ns = (uint64_t)timeout;
                terms->retries = (uint32_t)retries;
                r = 0;
        }
        json_decref(json);
        return r;
}

static bool is(const redisReply *reply, const char *text)
{
        return redis_is_string(reply) && reply->len == strlen(text) &&
               memcmp(reply->str, text, reply->len) == 0;
}

/* The reply to HMGET v workload spec owner. */
static int read_job(struct node_job *job, const redisReply *reply)
{
        if (!redis_is_array(reply, 4) || !is(reply->element[0], MACHINES_VERSION) ||
            !is(reply->element[1], workload_name(job->stream->workload)) ||
            !is(reply->element[3], job->jobs->streams->machines.owner) ||
            !redis_is_string(reply->element[2]) ||
            read_terms(reply->element[2]->str, reply->element[2]->len, &job->terms) < 0)
                return -EBADMSG;
        job->terms.workload = builtin_workloads[job->stream->workload];
        return 0;
}

static bool is_absent(const redisReply *reply)
{
        return redis_is_array(reply, 4) && reply->element[0]->type == REDIS_REPLY_NIL;
}

/* There may be any number of them, and of chunks of each. */
static void say_undescribed(struct node_jobs *jobs, const char *name)
{
        uint64_t now = now_monotonic();

        ++jobs->n_undescribed;
        if (now < jobs->undescribed_ns)
                return;
        log_error("cannot take chunks of the job %s: it is not described as this version knows it "
                  "(%llu like it since that was last said)",
                  name, (unsigned long long)jobs->n_undescribed - 1);
        jobs->undescribed_ns = now + SAY_AGAIN_NS;
        jobs->n_undescribed = 0;
}

static void drop(struct node_job *job)
{
        job->gone = true;
        job->jobs->dropped(job->jobs, job);
}

static void on_job(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node_job *job = userdata;
        enum redis_trouble trouble = reply ? redis_trouble_of(reply) : REDIS_TROUBLE_UNREACHABLE;

        job->asked = false;
        if (redis_trouble_is_final(trouble)) {
                redis_link_fail(&job->jobs->streams->link, redis, reply, "read of a job");
        } else if (trouble == REDIS_TROUBLE_NONE && read_job(job, reply) >= 0) {
                job->known = true;
        } else if (trouble == REDIS_TROUBLE_NONE || trouble == REDIS_TROUBLE_OTHER) {
                if (!is_absent(reply))
                        say_undescribed(job->jobs, job->name);
                drop(job);
        }
        node_job_unref(job);
}

void node_job_ask(struct node_job *job)
{
        struct streams *streams = job->jobs->streams;
        _cleanup_free_ char *key = key_job(&streams->machines, job->name);

        if (job->asked || job->known || job->gone || !streams->link.is_up || !key)
                return;
        if (redis_send(&streams->link.commands, on_job, job, "HMGET %s v workload spec owner",
                       key) < 0)
                return;
        job->asked = true;
        ++job->n_refs;
}

static void on_exists(struct redis *redis, redisReply *reply, void *userdata)
{
        struct node_job *job = userdata;

        redis_link_on_kept(redis, reply, &job->jobs->streams->link);
        if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0)
                drop(job);
        node_job_unref(job);
}

/*
 * More often than a long heartbeat: somebody may be waiting for workers that a cancelled job keeps
 * busy.
 */
void node_jobs_check(struct node_jobs *jobs)
{
        struct streams *streams = jobs->streams;
        uint64_t now = now_monotonic();

        if (!jobs->first || now < jobs->check_ns || !streams->link.is_up)
                return;
        jobs->check_ns = now + MIN(streams->machines.heartbeat_ns / 4, CHECK_NS);
        for (struct node_job *job = jobs->first; job; job = job->next) {
                _cleanup_free_ char *key = key_job(&streams->machines, job->name);

                if (!job->known || job->gone || !key)
                        continue;
                if (redis_send(&streams->link.commands, on_exists, job, "EXISTS %s", key) >= 0)
                        ++job->n_refs;
        }
}
