/* Commands, at each level that runs them: what becomes of each kind of them, and what is kept. */

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/runner/exec/exec.h"
#include "daemon/runner/levels/levels.h"
#include "daemon/runner/workloads/workloads.h"
#include "tests/unit/cgroup-group.h"

static const enum level levels[] = { LEVEL_SERIAL, LEVEL_THREADS, LEVEL_PROCESSES, LEVEL_ASYNC };

/* A job of commands; in memory that worker processes share. */
struct job {
        struct runner runner;
        int tasks_fd, output_fd;
};

static struct job *job_new(enum level level, const char *inputs, char *const *words)
{
        struct job *job =
                mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        _cleanup_close_ int results = memfd_create("results", MFD_CLOEXEC);
        struct runner *runner = &job->runner;
        struct input_error error;
        int inputs_fd;

        test_true(job != MAP_FAILED);
        runner->spec.level = level;
        runner->spec.workload = WORKLOAD_EXEC;
        runner->spec.workers = level == LEVEL_SERIAL ? 1 : 3;
        runner->spec.loops = 1;
        runner->spec.command.words = (char **)words;
        while (words[runner->spec.command.n_words])
                ++runner->spec.command.n_words;
        runner->workload = &workload_exec;
        runner->cgroup_fd = base_fd;
        runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        (void)getrlimit(RLIMIT_NOFILE, &runner->files_limit);
        runner->measures = json_object();
        runner->unavailable = json_array();
        test_int(memfd_sealed("inputs", inputs, strlen(inputs), &inputs_fd), ==, 0);
        test_int(inputs_map(inputs_fd, true, &runner->inputs, &error), ==, 0);
        close_fd(inputs_fd);
        test_int(results_create(results, runner->inputs.n, now_monotonic()), ==, 0);
        test_int(results_map(results, true, &runner->results), ==, 0);
        job->tasks_fd = memfd_create("tasks", MFD_CLOEXEC);
        job->output_fd = memfd_create("task-output", MFD_CLOEXEC);
        test_int(tasks_create(job->tasks_fd, runner->inputs.n), ==, 0);
        return job;
}

static void job_run(struct job *job)
{
        struct runner *runner = &job->runner;

        test_int(exec_new(runner, job->tasks_fd, job->output_fd, &runner->exec), ==, 0);
        task_cursor_init(&runner->cursor, runner);
        test_int(level_run_of(runner->spec.level)(runner), ==, 0);
}

static void job_free(struct job *job)
{
        exec_free(job->runner.exec);
        json_decref(job->runner.measures);
        json_decref(job->runner.unavailable);
        inputs_unmap(&job->runner.inputs);
        results_unmap(&job->runner.results);
        close(job->runner.cancel_fd);
        close(job->tasks_fd);
        close(job->output_fd);
        munmap(job, sizeof(*job));
}

static const struct ppp_task_record *task_of(const struct job *job, uint64_t i)
{
        return &job->runner.exec->tasks.records[i];
}

/* What a task printed, as a string; of the last attempt. */
static char *printed(const struct job *job, uint64_t i, enum ppp_stream stream)
{
        const struct ppp_task_record *record = task_of(job, i);
        uint64_t at = record->streams[stream].last;
        char *text = strdup("");
        size_t size = 0;

        while (at) {
                struct ppp_output_chunk chunk;
                char *longer;

                test_int(pread(job->output_fd, &chunk, sizeof(chunk), (off_t)at), ==,
                         sizeof(chunk));
                test_int(chunk.magic, ==, PPP_OUTPUT_CHUNK_MAGIC);
                test_int(chunk.task, ==, i);
                test_int(chunk.stream, ==, stream);
                if (chunk.attempt != record->attempts)
                        break;
                longer = malloc(size + chunk.size + 1);
                test_int(pread(job->output_fd, longer, chunk.size, (off_t)(at + sizeof(chunk))), ==,
                         chunk.size);
                memcpy(longer + chunk.size, text, size + 1);
                free(text);
                text = longer;
                size += chunk.size;
                at = chunk.previous;
        }
        return text;
}

static void check_printed(const struct job *job, uint64_t i, enum ppp_stream stream,
                          const char *expected)
{
        _cleanup_free_ char *text = printed(job, i, stream);

        test_str(text, expected);
        test_int(task_of(job, i)->streams[stream].bytes, ==, strlen(expected));
}

static void check_result(const struct job *job, uint64_t i, enum ppp_reason reason, int detail)
{
        struct ppp_record record;

        test_true(results_get(&job->runner.results, i, &record));
        test_str(reason_name(record.reason), reason_name(reason));
        test_int(record.detail, ==, detail);
        test_int(record.state, ==, reason ? PPP_STATE_FAILED : PPP_STATE_DONE);
}

static char *const shell[] = { (char *)"sh", (char *)"-c", (char *)"eval \"$0\"", NULL };

/* One script a line, by the shell that is the command. */
static struct job *run_scripts(enum level level, const char *scripts)
{
        struct job *job = job_new(level, scripts, shell);

        job_run(job);
        return job;
}

static void results_at(enum level level)
{
        struct job *job = run_scripts(level, "echo out; echo err >&2\n"
                                             "exit 3\n"
                                             "kill -KILL $$\n"
                                             "printf 'a\\0b'; exit 0\n"
                                             "true\n");

        check_result(job, 0, PPP_REASON_NONE, 0);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "out\n");
        check_printed(job, 0, PPP_STREAM_ERROR, "err\n");
        check_result(job, 1, PPP_REASON_COMMAND_EXIT, 3);
        check_result(job, 2, PPP_REASON_COMMAND_SIGNAL, SIGKILL);
        check_result(job, 3, PPP_REASON_NONE, 0);
        test_int(task_of(job, 3)->streams[PPP_STREAM_OUTPUT].bytes, ==, 3);
        check_result(job, 4, PPP_REASON_NONE, 0);
        for (uint64_t i = 0; i < 5; ++i) {
                const unsigned measured = PPP_USAGE_CPU | PPP_USAGE_RUSAGE | PPP_USAGE_LEFT;

                test_int(task_of(job, i)->attempts, ==, 1);
                test_int(task_of(job, i)->known & measured, ==, measured);
                test_int(task_of(job, i)->left_behind, ==, 0);
                test_int(task_of(job, i)->rss_peak_bytes, >, 100000);
        }
        test_int(task_of(job, 4)->streams[PPP_STREAM_OUTPUT].last, ==, 0);
        job_free(job);
}

static void start_failures_at(enum level level)
{
        static char *const missing[] = { (char *)"no-such-program", NULL };
        static char *const directory[] = { (char *)"/", NULL };
        static char *const word[] = { (char *)"true", (char *)"{}{}{}", NULL };
        _cleanup_free_ char *large = malloc(INPUT_MAX + 1);
        char script[] = "/tmp/test-exec.XXXXXX";
        char *const text_file[] = { script, NULL };
        static const struct {
                char *const *words;
                int error;
        } cases[] = { { missing, ENOENT }, { directory, EACCES } };
        int fd = mkstemp(script);
        struct job *job;

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                job = job_new(level, "x\n", cases[i].words);
                job_run(job);
                check_result(job, 0, PPP_REASON_COMMAND_START, cases[i].error);
                job_free(job);
        }
        job = job_new(level, "x\n", shell);
        job->runner.spec.command.directory = (char *)"/no/such/directory";
        job_run(job);
        check_result(job, 0, PPP_REASON_COMMAND_START, -ENOENT);
        job_free(job);

        test_int(dprintf(fd, "exit 0\n"), >, 0);
        test_int(fchmod(fd, 0700), ==, 0);
        close(fd);
        job = job_new(level, "x\n", text_file);
        job_run(job);
        unlink(script);
        check_result(job, 0, PPP_REASON_COMMAND_START, ENOEXEC);
        job_free(job);

        memset(large, 'x', INPUT_MAX - 1);
        memcpy(large + INPUT_MAX - 1, "\n", 2);
        job = job_new(level, large, word);
        job_run(job);
        check_result(job, 0, PPP_REASON_COMMAND_START, E2BIG);
        job_free(job);
}

/* More than the pipe and our buffer hold. */
static void large_output_at(enum level level)
{
        struct job *job = run_scripts(level, "seq 200000; seq 100000 >&2\nseq 1000\n");
        _cleanup_free_ char *text = printed(job, 0, PPP_STREAM_OUTPUT);

        check_result(job, 0, PPP_REASON_NONE, 0);
        test_int(strlen(text), ==, 1288895);
        test_true(strstr(text, "\n99999\n100000\n"));
        test_str(text + strlen(text) - 7, "200000\n");
        test_int(task_of(job, 0)->streams[PPP_STREAM_ERROR].bytes, ==, 588895);
        test_int(task_of(job, 1)->streams[PPP_STREAM_OUTPUT].bytes, ==, 3893);
        job_free(job);
}

static void cut_output_at(enum level level)
{
        struct job *job = job_new(level, "seq 100000\necho four\n", shell);
        _cleanup_free_ char *text = NULL;

        job->runner.spec.command.output_max = 5;
        job_run(job);
        text = printed(job, 0, PPP_STREAM_OUTPUT);
        test_str(text, "1\n2\n3");
        test_int(task_of(job, 0)->streams[PPP_STREAM_OUTPUT].bytes, ==, 588895);
        check_printed(job, 1, PPP_STREAM_OUTPUT, "four\n");
        job_free(job);

        job = job_new(level, "echo unheard\n", shell);
        job->runner.spec.command.no_output = true;
        job_run(job);
        check_result(job, 0, PPP_REASON_NONE, 0);
        test_int(task_of(job, 0)->streams[PPP_STREAM_OUTPUT].last, ==, 0);
        job_free(job);
}

/* What holds the pipes open does not hold the task; nothing is left of it. */
static void left_behind_at(enum level level)
{
        struct job *job = run_scripts(level, "sleep 1000 & sleep 1000 & echo started\n"
                                             "setsid sleep 1000 & exit 5\n"
                                             "exec >&- 2>&-; true\n");

        check_result(job, 0, PPP_REASON_NONE, 0);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "started\n");
        test_int(task_of(job, 0)->left_behind, ==, 2);
        check_result(job, 1, PPP_REASON_COMMAND_EXIT, 5);
        test_int(task_of(job, 1)->left_behind, ==, 1);
        check_result(job, 2, PPP_REASON_NONE, 0);
        job_free(job);
}

/* Time enough for each shell to have said what it does at its end. */
static void timeouts_at(enum level level)
{
        struct job *job = job_new(level,
                                  "trap '' TERM; echo deaf; while :; do sleep 1000; done\n"
                                  "kill -STOP $$\n"
                                  "trap 'echo bye; exit 0' TERM; sleep 1000 & wait\n",
                                  shell);

        job->runner.spec.task_timeout_ns = NSEC_PER_SEC;
        job->runner.spec.command.kill_after_ns = 200 * NSEC_PER_MSEC;
        job_run(job);
        for (uint64_t i = 0; i < 3; ++i)
                check_result(job, i, PPP_REASON_TIMEOUT, 0);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "deaf\n");
        check_printed(job, 2, PPP_STREAM_OUTPUT, "bye\n");
        job_free(job);
}

static void inputs_at(enum level level)
{
        static char *const cat[] = { (char *)"cat", NULL };
        static char *const echo[] = { (char *)"echo", NULL };
        struct job *job = job_new(level, "on standard input\n", cat);

        job->runner.spec.command.input = COMMAND_INPUT_STDIN;
        job_run(job);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "on standard input\n");
        job_free(job);

        job = job_new(level, "what it is called\n", echo);
        job->runner.spec.command.input = COMMAND_INPUT_NONE;
        job_run(job);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "\n");
        job_free(job);

        /* Without a list to read, nothing is there to be read. */
        job = run_scripts(level, "cat; echo end\n");
        check_printed(job, 0, PPP_STREAM_OUTPUT, "end\n");
        job_free(job);
}

static void surroundings_at(enum level level)
{
        static char *environment[] = { (char *)"PATH=/usr/bin:/bin", (char *)"COLOUR=blue", NULL };
        struct job *job = job_new(level,
                                  "pwd; umask; echo \"$COLOUR$HOME\"; ulimit -n\n"
                                  "ls /proc/self/fd | wc -l; trap; ps -o sess= -p $$ | tr -d ' '; "
                                  "echo $$\n",
                                  shell);
        _cleanup_free_ char *text = NULL;
        int sid, pid;

        job->runner.spec.command.directory = (char *)"/usr";
        job->runner.spec.command.environment = environment;
        job->runner.spec.command.n_environment = 2;
        job->runner.spec.command.has_umask = true;
        job->runner.spec.command.umask = 027;
        job->runner.files_limit.rlim_cur = 77;
        job_run(job);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "/usr\n0027\nblue\n77\n");
        /* The three standard ones, and the directory that ls has open; a session of its own. */
        text = printed(job, 1, PPP_STREAM_OUTPUT);
        test_int(sscanf(text, "4\n%d\n%d\n", &sid, &pid), ==, 2);
        test_int(sid, ==, pid);
        job_free(job);
}

static void retries_at(enum level level)
{
        char path[] = "/tmp/test-exec.XXXXXX", script[128];
        struct job *job;

        close(mkstemp(path));
        snprintf(script, sizeof(script), "echo x >> %s; wc -l < %s; test $(wc -l < %s) = 3\n", path,
                 path, path);
        job = job_new(level, script, shell);
        job->runner.spec.retries = 5;
        job_run(job);
        unlink(path);
        check_result(job, 0, PPP_REASON_NONE, 0);
        test_int(task_of(job, 0)->attempts, ==, 3);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "3\n");
        job_free(job);
}

/* Without a group the command's process group is what ends. */
static void no_group_at(enum level level)
{
        struct job *job = job_new(level, "sleep 1000 & echo started\nexit 7\n", shell);

        job->runner.spec.command.no_group = true;
        job_run(job);
        check_result(job, 0, PPP_REASON_NONE, 0);
        check_printed(job, 0, PPP_STREAM_OUTPUT, "started\n");
        check_result(job, 1, PPP_REASON_COMMAND_EXIT, 7);
        test_int(task_of(job, 1)->known & (PPP_USAGE_CPU | PPP_USAGE_LEFT), ==, PPP_USAGE_CPU);
        job_free(job);
}

struct canceller {
        struct runner *runner;
        char path[32]; /* of a FIFO, which the first command writes to */
};

static void *cancel_when_running(void *userdata)
{
        const struct canceller *canceller = userdata;
        _cleanup_close_ int fd = open(canceller->path, O_RDONLY | O_CLOEXEC);
        static const uint64_t one = 1;
        char byte;

        if (fd < 0 || read(fd, &byte, 1) < 0)
                perror(canceller->path);
        __atomic_store_n(&canceller->runner->cancelled, true, __ATOMIC_RELAXED);
        if (write(canceller->runner->cancel_fd, &one, sizeof(one)) < 0)
                perror("write");
        return NULL;
}

static void cancel_at(enum level level)
{
        struct canceller canceller;
        struct ppp_record record;
        struct runner *runner;
        char scripts[160];
        pthread_t thread;
        struct job *job;

        snprintf(canceller.path, sizeof(canceller.path), "/tmp/test-exec.%d", getpid());
        test_int(mkfifo(canceller.path, 0600), ==, 0);
        snprintf(scripts, sizeof(scripts),
                 "trap 'echo bye; exit 0' TERM; echo here; echo > %s; sleep 1000 & wait\n"
                 "sleep 1000\nsleep 1000\nsleep 1000\n",
                 canceller.path);
        job = job_new(level, scripts, shell);
        runner = canceller.runner = &job->runner;
        test_int(exec_new(runner, job->tasks_fd, job->output_fd, &runner->exec), ==, 0);
        task_cursor_init(&runner->cursor, runner);
        test_int(pthread_create(&thread, NULL, cancel_when_running, &canceller), ==, 0);
        test_int(level_run_of(level)(runner), ==, 0);
        pthread_join(thread, NULL);
        unlink(canceller.path);
        for (uint64_t i = 0; i < 4; ++i)
                test_true(!results_get(&runner->results, i, &record));
        check_printed(job, 0, PPP_STREAM_OUTPUT, "here\nbye\n");
        job_free(job);
}

/* No group of a task is left. */
static void check_groups(void)
{
        test_true(faccessat(base_fd, "task-0", F_OK, 0) < 0);
        test_true(faccessat(base_fd, "task-1", F_OK, 0) < 0);
}

#define AT_EACH_LEVEL(name)                                       \
        static void test_##name(void)                             \
        {                                                         \
                for (size_t i = 0; i < ARRAY_SIZE(levels); ++i) { \
                        name##_at(levels[i]);                     \
                        check_groups();                           \
                }                                                 \
        }

AT_EACH_LEVEL(results)
AT_EACH_LEVEL(start_failures)
AT_EACH_LEVEL(large_output)
AT_EACH_LEVEL(cut_output)
AT_EACH_LEVEL(left_behind)
AT_EACH_LEVEL(timeouts)
AT_EACH_LEVEL(inputs)
AT_EACH_LEVEL(surroundings)
AT_EACH_LEVEL(retries)
AT_EACH_LEVEL(no_group)
AT_EACH_LEVEL(cancel)

int main(void)
{
        static const struct test_case cases[] = {
                { "results", test_results },
                { "commands that cannot be started", test_start_failures },
                { "large output", test_large_output },
                { "output that is cut, and none", test_cut_output },
                { "what is left behind", test_left_behind },
                { "time limits", test_timeouts },
                { "inputs", test_inputs },
                { "where it runs", test_surroundings },
                { "retries", test_retries },
                { "without a group", test_no_group },
                { "cancellation", test_cancel },
        };
        int r = set_up();

        if (r != 0)
                return r;
        r = test_main("exec", cases, ARRAY_SIZE(cases));
        return tear_down() < 0 ? EXIT_FAILURE : r;
}
