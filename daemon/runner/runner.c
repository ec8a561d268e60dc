#include "daemon/runner/runner.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "daemon/runner/exec/exec.h"
#include "daemon/runner/levels/descriptors.h"
#include "daemon/runner/levels/levels.h"
#include "daemon/runner/main.h"
#include "daemon/runner/measure.h"
#include "daemon/runner/workloads/workloads.h"
#include "lib/machines.h"
#include "lib/results-lock.h"
#include "lib/runner-abi.h"

/* The only object that SIGTERM's handler may touch; set once before the handler is installed. */
static struct runner *signalled;

static void on_sigterm(int signal)
{
        runner_cancel(signalled);
}

static int install_cancel(struct runner *runner)
{
        struct sigaction action = { .sa_handler = on_sigterm };

        runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (runner->cancel_fd < 0)
                return -errno;
        signalled = runner;
        if (sigaction(SIGTERM, &action, NULL) < 0)
                return -errno;
        signal(SIGPIPE, SIG_IGN);
        return 0;
}

static int read_machines(struct runner *runner, json_t *json)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;
        runner->machines = calloc(1, sizeof(*runner->machines));
        if (!runner->machines)
                return -ENOMEM;
        r = machines_from_json(json, runner->machines, &fault);
        if (r < 0)
                log_error("cannot take the job's \"machines\": %s",
                          fault.why ?: strerrordesc_np(-r));
        return r;
}

static int read_spec(struct runner *runner)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *json, *spec, *url;
        int r;

        r = read_file_at(AT_FDCWD, "/proc/self/fd/3" /* RUNNER_FD_SPEC */, &text, NULL);
        if (r < 0) {
                log_error("cannot read the job's spec: %s", strerrordesc_np(-r));
                return r;
        }
        json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        spec = json_object_get(json, "spec");
        url = json_object_get(json, "demo_url");
        r = spec_from_json(spec, &runner->spec, &fault);
        if (r < 0)
                log_error("cannot take the job's spec: %s: %s", fault.field, fault.why);
        if (r >= 0 && url && !(runner->demo_url = strdup(json_string_value(url))))
                r = -ENOMEM;
        if (r >= 0 && !level_has(runner->spec.level, LEVEL_LOCAL))
                r = read_machines(runner, json_object_get(json, "machines"));
        json_decref(json);
        if (r >= 0)
                runner->workload = builtin_workloads[runner->spec.workload];
        return r;
}

static int map_files(struct runner *runner)
{
        struct input_error error;
        int r;

        r = inputs_map(RUNNER_FD_INPUTS, true, &runner->inputs, &error);
        if (r < 0) {
                log_error("cannot take the job's inputs: %s",
                          r == -EBADMSG ? error.why : strerrordesc_np(-r));
                return r;
        }
        r = results_map(RUNNER_FD_RESULTS, true, &runner->results);
        if (r < 0) {
                log_error("cannot map the job's results: %s",
                          r == -EBADMSG ? "this is no results file, or it was cut short"
                                        : strerrordesc_np(-r));
                return r;
        }
        if (runner->results.n_tasks != runner->inputs.n) {
                log_error("cannot run the job: %llu inputs, but results for %llu",
                          (unsigned long long)runner->inputs.n,
                          (unsigned long long)runner->results.n_tasks);
                return -EBADMSG;
        }
        return 0;
}

/*
 * Comes first: until then, another process may still work on the job. The lock lasts until all of
 * our processes are gone. From now on we outlive the supervisor, since the next one finds us by the
 * lock.
 */
static int lock_results(void)
{
        int r, fd;

        r = results_lock(RUNNER_FD_RESULTS, &fd);
        if (r == -EAGAIN)
                log_error("another process still runs this job (its results file is locked)");
        else if (r < 0)
                log_error("cannot lock the job's results file: %s; the state directory has to be "
                          "on a file system that has locks (fcntl(2))",
                          strerrordesc_np(-r));
        else if (prctl(PR_SET_PDEATHSIG, 0) < 0)
                r = -errno;
        return r;
}

static int runner_init(struct runner *runner, uint64_t start_ns)
{
        int r;

        runner->cgroup_fd = faccessat(RUNNER_FD_CGROUP, "cgroup.procs", F_OK, 0) == 0
                                    ? RUNNER_FD_CGROUP
                                    : -EBADF;
        runner->measures = json_object();
        runner->unavailable = json_array();
        if (!runner->measures || !runner->unavailable)
                return -ENOMEM;
        r = install_cancel(runner);
        if (r < 0)
                return r;
        (void)getrlimit(RLIMIT_NOFILE, &runner->files_limit);
        descriptors_raise_limit();
        r = read_spec(runner);
        if (r < 0)
                return r;
        r = map_files(runner);
        if (r < 0)
                return r;
        runner->results.header->runner_start_ns = start_ns;
        if (runner->spec.command.words) {
                r = exec_new(runner, RUNNER_FD_TASKS, RUNNER_FD_TASK_OUTPUT, &runner->exec);
                if (r < 0)
                        return r;
        }
        runner->resuming = runner->results.header->n_done + runner->results.header->n_failed > 0;
        return 0;
}

static int runner_execute(struct runner *runner)
{
        int r, k;

        task_cursor_init(&runner->cursor, runner);
        /* It may have come to that under a runner whose end nobody saw. */
        runner_look_at_halt(runner);
        r = level_run_of(runner->spec.level)(runner);
        runner->results.header->runner_end_ns = now_monotonic();
        measure_job(runner, runner->workers_rss_peak);
        k = measure_write(runner, RUNNER_FD_MEASURES);
        if (k < 0)
                log_error("cannot write the job's measures: %s", strerrordesc_np(-k));
        return r;
}

static void runner_deinit(struct runner *runner)
{
        json_decref(runner->measures);
        json_decref(runner->unavailable);
        results_unmap(&runner->results);
        inputs_unmap(&runner->inputs);
        free(runner->demo_url);
        exec_free(runner->exec);
        if (runner->machines)
                machines_deinit(runner->machines);
        free(runner->machines);
        spec_deinit(&runner->spec);
}

int runner_main(uint64_t start_ns, const char *job)
{
        struct runner *runner;
        int r;

        runner = mmap(NULL, sizeof(*runner), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (runner == MAP_FAILED) {
                log_error("cannot start: %m");
                return EXIT_FAILURE;
        }
        runner->job = job;
        r = lock_results();
        if (r == -EAGAIN)
                return RUNNER_EXIT_BUSY;
        if (r >= 0)
                r = runner_init(runner, start_ns);
        if (r >= 0)
                r = runner_execute(runner);
        if (r < 0)
                r = EXIT_FAILURE;
        else if (__atomic_load_n(&runner->halted, __ATOMIC_RELAXED))
                r = RUNNER_EXIT_HALTED;
        else
                r = runner_cancelled(runner) ? RUNNER_EXIT_CANCELLED : EXIT_SUCCESS;
        runner_deinit(runner);
        return r;
}
