/* The sentences in which pppctl tells of the daemon's answers: errors, and the state of a job. */

#include "cli/errors.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "tests/unit/capture.h"

static struct capture err;

static const char *say_error(const char *error, const char *parameters, int status)
{
        json_t *json = json_loads(parameters, 0, NULL);

        test_true(json);
        capture_begin(&err, stderr);
        test_int(say_varlink_error("start the job", 0, error, json), ==, status);
        json_decref(json);
        return capture_end(&err);
}

static void test_varlink_errors(void)
{
        test_str(say_error("io.pppctl.Jobs.NoSuchJob", "{\"job\": 7}", CLI_NO_SUCH_JOB),
                 "pppctl: cannot start the job: there is no job 7; pppctl list shows the jobs "
                 "that exist\n");
        test_str(say_error("io.pppctl.Jobs.QueueFull", "{\"limit\": 3, \"why\": \"w\"}",
                           CLI_QUEUE_FULL),
                 "pppctl: cannot start the job: the queue is full (limit 3): w\n");
        test_str(say_error("io.pppctl.Jobs.NoSpace", "{\"why\": \"w\", \"hint\": \"h\"}",
                           CLI_QUEUE_FULL),
                 "pppctl: cannot start the job: there is no room for it: w; h\n");
        test_contains(say_error("io.pppctl.Jobs.NotAllowed", "{\"what\": \"x\", \"why\": \"w\"}",
                                CLI_NOT_ALLOWED),
                      "you are not allowed to x: w");
        test_str(say_error("io.pppctl.Jobs.BadRequest",
                           "{\"field\": \"spec.task_timeout_seconds\", \"why\": \"w\", \"hint\": "
                           "\"h\"}",
                           CLI_USAGE),
                 "pppctl: cannot start the job: --task-timeout: w; h\n");
        test_contains(say_error("io.pppctl.Jobs.BadInputs", "{\"input\": 3, \"why\": \"w\"}",
                                CLI_USAGE),
                      "input 3: w");
        test_contains(say_error("io.pppctl.Jobs.LevelUnavailable",
                                "{\"level\": \"async\", \"why\": \"w\", \"hint\": \"h\"}",
                                CLI_FAILED),
                      "the level async is not available here: w; h");
        test_str(say_error("io.pppctl.Jobs.LimitUnavailable",
                           "{\"limit\": \"spec.worker_limits.memory_max_bytes\", \"why\": \"w\", "
                           "\"hint\": \"h\"}",
                           CLI_FAILED),
                 "pppctl: cannot start the job: --worker-memory-max cannot be enforced here: w; "
                 "h\n");
        test_contains(say_error("io.pppctl.Jobs.BadRequest",
                                "{\"field\": \"spec.limits.io_max[0].device\", \"why\": \"w\"}",
                                CLI_USAGE),
                      "--io-max: w");
        test_contains(say_error("io.pppctl.Jobs.BadRequest",
                                "{\"field\": \"spec.limits.cpusx\", \"why\": \"w\"}", CLI_USAGE),
                      "spec.limits.cpusx: w");
        test_contains(say_error("io.pppctl.Jobs.Failed", "{}", CLI_FAILED), "pppd gave no reason");
        test_contains(say_error("org.varlink.service.MethodNotFound", "{\"method\": \"x\"}",
                                CLI_FAILED),
                      "of the same version");
}

static void test_summary_members(void)
{
        json_t *json = json_loads("{\"a\": 1.5, \"d\": {\"p50\": 2}, \"s\": \"x\", "
                                  "\"unavailable\": [{\"metric\": \"d\", \"reason\": \"r\"}]}",
                                  0, NULL);
        double v;

        test_true(summary_number(json, "a", &v) && v == 1.5);
        test_true(summary_number(json, "d.p50", &v) && v == 2);
        test_true(!summary_number(json, "d.p99", &v));
        test_true(!summary_number(json, "s", &v));
        test_true(!summary_number(NULL, "a", &v));
        test_str(summary_why_absent(json, "d"), "r");
        test_str(summary_why_absent(json, "d.p99"), "r");
        test_true(!summary_why_absent(json, "dd"));
        json_decref(json);
}

static void check_progress(int done, int total, const char *expected)
{
        json_t *job = json_pack("{s:i, s:i}", "tasks_done", done, "tasks_total", total);
        char text[JOB_PROGRESS_SIZE];

        test_str(job_progress(job, text), expected);
        json_decref(job);
}

static void test_job_progress(void)
{
        check_progress(0, 1, "0 of 1 task has a result");
        check_progress(1, 1, "1 of 1 task has a result");
        check_progress(0, 2, "0 of 2 tasks have results");
        check_progress(1, 2, "1 of 2 tasks has a result");
        check_progress(2, 2, "2 of 2 tasks have results");
}

static void test_job_status(void)
{
        json_t *job =
                json_pack("{s:s, s:i, s:i}", "state", "done", "tasks_done", 3, "tasks_failed", 0);

        test_int(job_status(job), ==, CLI_OK);
        json_object_set_new(job, "tasks_failed", json_integer(1));
        test_int(job_status(job), ==, CLI_FAILED);
        test_int(job_results(job), ==, 4);
        json_object_set_new(job, "tasks_failed", json_integer(0));
        json_object_set_new(job, "state", json_string("cancelled"));
        test_int(job_status(job), ==, CLI_FAILED);
        json_decref(job);
}

TEST_MAIN("say", { "errors of the daemon", test_varlink_errors },
          { "members of a summary", test_summary_members },
          { "how far a job is", test_job_progress }, { "status of a job", test_job_status })
