/* How a job ended, from how its runner did. */

#include "daemon/supervisor/kept/outcome.h"
#include "lib/runner-abi.h"
#include "tests/unit/test.h"

static struct outcome judge(int code, int status, bool all, enum job_reason stop, bool interrupted)
{
        siginfo_t si = { .si_code = code };

        si.si_status = status;
        return outcome_judge(code ? &si : NULL, false, all, stop, interrupted);
}

static void expect(struct outcome outcome, enum job_state state, enum job_reason reason)
{
        test_int(outcome.verdict, ==, OUTCOME_ENDED);
        test_int(outcome.state, ==, state);
        test_int(outcome.reason, ==, reason);
}

static void test_exits(void)
{
        expect(judge(CLD_EXITED, 0, true, REASON_NONE, false), JOB_DONE, REASON_NONE);
        expect(judge(CLD_EXITED, 0, false, REASON_NONE, false), JOB_FAILED, REASON_RUNNER_FAILED);
        expect(judge(CLD_EXITED, 1, true, REASON_NONE, false), JOB_FAILED, REASON_RUNNER_FAILED);
        expect(judge(CLD_EXITED, 127, false, REASON_NONE, false), JOB_FAILED, REASON_RUNNER_FAILED);
        /* It was done before the request to stop came to it. */
        expect(judge(CLD_EXITED, 0, true, REASON_CANCELLED, false), JOB_DONE, REASON_NONE);
        expect(judge(CLD_EXITED, 0, true, REASON_NONE, true), JOB_DONE, REASON_NONE);
        /* A runner that fails while it is asked to stop has failed. */
        expect(judge(CLD_EXITED, 1, false, REASON_CANCELLED, false), JOB_FAILED,
               REASON_RUNNER_FAILED);
}

static void test_stops(void)
{
        expect(judge(CLD_EXITED, RUNNER_EXIT_CANCELLED, false, REASON_CANCELLED, false),
               JOB_CANCELLED, REASON_CANCELLED);
        expect(judge(CLD_EXITED, RUNNER_EXIT_CANCELLED, false, REASON_TIMEOUT, false),
               JOB_CANCELLED, REASON_TIMEOUT);
        /* Somebody else's SIGTERM. */
        expect(judge(CLD_EXITED, RUNNER_EXIT_CANCELLED, false, REASON_NONE, false), JOB_CANCELLED,
               REASON_STOPPED);
        expect(judge(CLD_KILLED, SIGKILL, false, REASON_DISCONNECTED, false), JOB_CANCELLED,
               REASON_DISCONNECTED);
        expect(judge(CLD_KILLED, SIGTERM, false, REASON_CANCELLED, false), JOB_CANCELLED,
               REASON_CANCELLED);
        /* Never started, or nobody's child. */
        expect(judge(0, 0, false, REASON_CANCELLED, false), JOB_CANCELLED, REASON_CANCELLED);
}

/* Statuses that would say something of a runner say nothing when a task has exited with them. */
static void test_cut_off(void)
{
        static const int statuses[] = { 0, 1, RUNNER_EXIT_CANCELLED, RUNNER_EXIT_BUSY, 77 };

        for (size_t i = 0; i < ARRAY_SIZE(statuses); ++i) {
                siginfo_t si = { .si_code = CLD_EXITED };

                si.si_status = statuses[i];
                expect(outcome_judge(&si, true, false, REASON_NONE, false), JOB_FAILED,
                       REASON_RUNNER_FAILED);
                expect(outcome_judge(&si, true, false, REASON_TIMEOUT, false), JOB_CANCELLED,
                       REASON_TIMEOUT);
                test_int(outcome_judge(&si, true, false, REASON_NONE, true).verdict, ==,
                         OUTCOME_INTERRUPTED);
        }
}

/* Another works on the job: it is for that, and not for ours, to end as it was asked. */
static void test_busy(void)
{
        test_int(judge(CLD_EXITED, RUNNER_EXIT_BUSY, false, REASON_NONE, false).verdict, ==,
                 OUTCOME_AGAIN);
        test_int(judge(CLD_EXITED, RUNNER_EXIT_BUSY, true, REASON_NONE, false).verdict, ==,
                 OUTCOME_AGAIN);
        test_int(judge(CLD_EXITED, RUNNER_EXIT_BUSY, false, REASON_CANCELLED, false).verdict, ==,
                 OUTCOME_AGAIN);
        test_int(judge(CLD_EXITED, RUNNER_EXIT_BUSY, false, REASON_NONE, true).verdict, ==,
                 OUTCOME_AGAIN);
}

static void test_deaths(void)
{
        expect(judge(CLD_KILLED, SIGKILL, false, REASON_NONE, false), JOB_FAILED,
               REASON_RUNNER_DIED);
        expect(judge(CLD_DUMPED, SIGSEGV, true, REASON_NONE, false), JOB_FAILED,
               REASON_RUNNER_DIED);
        expect(judge(CLD_DUMPED, SIGSEGV, false, REASON_CANCELLED, false), JOB_FAILED,
               REASON_RUNNER_DIED);
}

static void test_interruptions(void)
{
        test_int(judge(CLD_EXITED, RUNNER_EXIT_CANCELLED, false, REASON_NONE, true).verdict, ==,
                 OUTCOME_INTERRUPTED);
        test_int(judge(CLD_KILLED, SIGKILL, false, REASON_NONE, true).verdict, ==,
                 OUTCOME_INTERRUPTED);
        test_int(judge(0, 0, false, REASON_NONE, true).verdict, ==, OUTCOME_INTERRUPTED);
        /* Nothing is left to be done, and what it took can be told only now. */
        expect(judge(CLD_EXITED, RUNNER_EXIT_CANCELLED, true, REASON_NONE, true), JOB_DONE,
               REASON_NONE);
        expect(judge(CLD_KILLED, SIGKILL, true, REASON_NONE, true), JOB_DONE, REASON_NONE);
        /* Who cancelled it meant it, also when the supervisor stops in the middle of that. */
        expect(judge(CLD_EXITED, RUNNER_EXIT_CANCELLED, false, REASON_CANCELLED, true),
               JOB_CANCELLED, REASON_CANCELLED);
}

static void test_adopted(void)
{
        expect(judge(0, 0, true, REASON_NONE, false), JOB_DONE, REASON_NONE);
        test_int(judge(0, 0, false, REASON_NONE, false).verdict, ==, OUTCOME_AGAIN);
}

TEST_MAIN("outcome", { "exits", test_exits }, { "stops", test_stops }, { "deaths", test_deaths },
          { "cut off", test_cut_off }, { "busy", test_busy },
          { "interruptions", test_interruptions }, { "adopted jobs", test_adopted })
