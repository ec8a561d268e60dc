/*
 * One try of one task: its command from its start to its end. The same code at every level, which
 * waits with the worker's io back end.
 */

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "daemon/runner/exec/exec.h"
#include "daemon/runner/exec/output.h"
#include "daemon/runner/exec/spawn.h"
#include "daemon/runner/exec/task-group.h"
#include "lib/template.h"

/* How long the kernel may take to note that a group is empty, after its last process has ended. */
#define EMPTY_NS (10 * NSEC_PER_SEC)

struct execution {
        struct ppp_task *task;
        const struct exec *exec;
        struct ppp_task_record *record;
        char **arguments; /* owned, as all here */
        struct task_group group;
        struct output output;
        pid_t pid;
        int pidfd;
        int status; /* of wait(2) */
        struct rusage usage;

        uint64_t until_ns; /* when it is asked to end, or made to; UINT64_MAX: never */
        bool asked;        /* it was, by SIGTERM */
        bool timed_out, cancelled;
        int error; /* of storing what it prints: it is killed for that */
};

static int expand(struct execution *e, const char *input, size_t n_input)
{
        const struct command *command = e->exec->command;
        const struct template_values values = {
                .input = command->input == COMMAND_INPUT_ARGUMENT ? input : NULL,
                .n_input = n_input,
                .task = e->task->index + 1,
                .slot = e->task->slot + 1U,
        };

        return template_expand(command, &values, e->exec->adds_input, &e->arguments);
}

/* The input as a file that nobody else has: however long it is, nobody waits to write it. */
static int make_stdin(const char *input, size_t n_input, int *ret_fd)
{
        _cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = write_all(fd, input, n_input);
        if (r >= 0)
                r = write_all(fd, "\n", 1);
        if (r >= 0 && lseek(fd, 0, SEEK_SET) < 0)
                r = -errno;
        if (r >= 0)
                *ret_fd = steal_fd(&fd);
        return r;
}

static int spawn(struct execution *e, int in_fd, const int fds[static _PPP_STREAM_N])
{
        const struct exec *exec = e->exec;
        struct command_spawn spawn = {
                .arguments = e->arguments,
                .environment = exec->environment,
                .directories = exec->directories,
                .directory = exec->command->directory,
                .in_fd = in_fd,
                .out_fd = fds[PPP_STREAM_OUTPUT],
                .err_fd = fds[PPP_STREAM_ERROR],
                .group_fd = e->group.fd,
                .is_limited = e->task->worker->runner->spec.task_limits.given != 0,
                .has_umask = exec->command->has_umask,
                .umask = exec->command->umask,
                .files = e->task->worker->runner->files_limit,
                .error = &e->record->start_error,
        };
        pid_t pid = command_spawn(&spawn, &e->pidfd);

        if (pid < 0)
                return (int)pid;
        e->pid = pid;
        if (e->group.fd < 0)
                worker_note(&e->task->worker->command, (uint64_t)pid);
        return 0;
}

static int start_with(struct execution *e, const char *input, size_t n_input)
{
        int fds[_PPP_STREAM_N] = { -EBADF, -EBADF }, in_fd = e->exec->null_fd, r = 0;
        bool own_stdin = e->exec->command->input == COMMAND_INPUT_STDIN;

        if (own_stdin)
                r = make_stdin(input, n_input, &in_fd);
        if (r >= 0)
                r = output_open(&e->output, e->exec, e->task, e->record, fds);
        if (r >= 0)
                r = spawn(e, in_fd, fds);
        for (enum ppp_stream i = 0; i < _PPP_STREAM_N; ++i)
                close_fd(fds[i]);
        if (own_stdin && in_fd != e->exec->null_fd)
                close_fd(in_fd);
        return r;
}

/* Returns 0, or fails the task. */
static int start(struct execution *e, const char *input, size_t n_input)
{
        int r = task_group_make(&e->group, e->task->worker, e->task->n_memory_raised);

        if (r < 0)
                return task_fail(e->task, PPP_REASON_IO, -r);
        r = expand(e, input, n_input);
        if (r >= 0)
                r = start_with(e, input, n_input);
        return r < 0 ? task_fail(e->task, PPP_REASON_COMMAND_START, -r) : 0;
}

/* Without a group, to its process group, whose number may be another's when it was waited for. */
static void signal_all(const struct execution *e, int signal)
{
        if (e->group.fd >= 0)
                task_group_signal(&e->group, signal);
        else if (e->pidfd >= 0)
                (void)kill(-e->pid, signal);
}

static void kill_all(const struct execution *e)
{
        if (e->group.fd < 0 || cgroup_kill(e->group.fd) < 0)
                signal_all(e, SIGKILL);
}

/* SIGTERM, which a command that is stopped does not act on, and later SIGKILL. */
static void end_command(struct execution *e)
{
        if (e->asked) {
                kill_all(e);
                e->until_ns = UINT64_MAX;
                return;
        }
        e->asked = true;
        signal_all(e, SIGTERM);
        signal_all(e, SIGCONT);
        e->until_ns = now_monotonic() + command_kill_after(e->exec->command);
}

/* -ETIME and -ECANCELED end the command in the ordinary way, another failure at once. */
static void interrupt_command(struct execution *e, int error)
{
        switch (error) {
        case -ETIME:
                e->timed_out |= !e->asked;
                break;
        case -ECANCELED:
                if (e->cancelled)
                        return;
                e->cancelled = true;
                break;
        default:
                e->error = error;
                e->asked = true;
        }
        end_command(e);
}

static void take_output(struct execution *e, enum ppp_stream stream, uint64_t until_ns)
{
        int r = output_take(&e->output, stream, until_ns);

        if (r >= 0)
                return;
        /* The command can print no more, since that could not be stored: it gets SIGPIPE. */
        if (r != -ETIME && r != -ECANCELED)
                output_close(&e->output);
        interrupt_command(e, r);
}

/* Waits for the end of the command, and takes what it prints meanwhile. */
static void follow(struct execution *e)
{
        const struct io_ops *io = e->task->worker->io;

        for (;;) {
                struct pollfd fds[1 + _PPP_STREAM_N] = { { e->pidfd, POLLIN, 0 } };
                int r;

                for (enum ppp_stream i = 0; i < _PPP_STREAM_N; ++i)
                        fds[1 + i] = (struct pollfd){ e->output.fds[i], POLLIN, 0 };
                r = io->poll(e->task, fds, ARRAY_SIZE(fds), e->until_ns, !e->cancelled);
                /* It was killed because nobody can wait for it in this way. */
                if (r < 0 && e->error < 0)
                        return;
                if (r <= 0)
                        interrupt_command(e, r < 0 ? r : -ETIME);
                for (enum ppp_stream i = 0; i < _PPP_STREAM_N && r > 0; ++i)
                        if (fds[1 + i].revents)
                                take_output(e, i, e->until_ns);
                if (r > 0 && fds[0].revents)
                        return;
        }
}

static void reap(struct execution *e)
{
        if (e->group.fd < 0)
                signal_all(e, SIGKILL);
        /* From here on its number may become another process's. */
        worker_note(&e->task->worker->command, 0);
        while (wait4(e->pid, &e->status, 0, &e->usage) < 0 && errno == EINTR)
                ;
        e->pidfd = close_fd(e->pidfd);
}

/*
 * Processes that the command has left: they are killed, and what they have printed so far is the
 * task's. Without a group those of its process group were, and nobody knows how many.
 */
static void end_rest(struct execution *e)
{
        const struct io_ops *io = e->task->worker->io;
        _cleanup_close_ int events_fd = -EBADF;
        uint64_t until_ns = now_monotonic() + EMPTY_NS;
        bool hears = !e->cancelled;

        if (!task_group_is_populated(&e->group))
                return;
        e->record->left_behind = task_group_count(&e->group);
        kill_all(e);
        if (cgroup_events_open(e->group.fd, &events_fd) < 0)
                return;
        while (task_group_is_populated(&e->group)) {
                struct pollfd poll = { events_fd, POLLPRI, 0 };
                int r = io->poll(e->task, &poll, 1, until_ns, hears);

                hears &= r != -ECANCELED;
                if (r == 0 || (r < 0 && r != -ECANCELED))
                        return;
                (void)cgroup_events_read(events_fd, NULL, NULL);
        }
}

static uint64_t usec_of(const struct timeval *time)
{
        return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

static void account(struct execution *e)
{
        struct ppp_task_record *record = e->record;
        const struct rusage *usage = &e->usage;

        record->known = PPP_USAGE_CPU | PPP_USAGE_RUSAGE | PPP_USAGE_IO;
        if (e->group.fd >= 0)
                record->known |= PPP_USAGE_LEFT;
        record->user_usec = usec_of(&usage->ru_utime);
        record->system_usec = usec_of(&usage->ru_stime);
        record->rss_peak_bytes = (uint64_t)usage->ru_maxrss * 1024;
        record->switches_voluntary = (uint64_t)usage->ru_nvcsw;
        record->switches_involuntary = (uint64_t)usage->ru_nivcsw;
        record->faults_minor = (uint64_t)usage->ru_minflt;
        record->faults_major = (uint64_t)usage->ru_majflt;
        record->read_bytes = (uint64_t)usage->ru_inblock * 512;
        record->written_bytes = (uint64_t)usage->ru_oublock * 512;
        /* Its group has counted its grandchildren too. */
        task_group_read(&e->group, record);
}

/* Another try gets more memory, if it may have more. */
static void raise_memory(struct ppp_task *task)
{
        const struct spec *spec = &task->worker->runner->spec;
        unsigned n = task->n_memory_raised;

        if (spec->command.retry_memory == 0 ||
            task_group_memory(spec, n + 1) <= task_group_memory(spec, n))
                return;
        ++task->n_memory_raised;
        task->again = true;
}

/* Why the command has failed; 0: it has not. */
static int judge(const struct execution *e)
{
        struct ppp_task *task = e->task;
        enum ppp_oom_blame blame;

        if (e->cancelled)
                return task_fail(task, PPP_REASON_CANCELLED, 0);
        if (e->error < 0)
                return task_fail(task, PPP_REASON_IO, -e->error);
        if (e->timed_out)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        if (WIFEXITED(e->status) && WEXITSTATUS(e->status) == 0)
                return 0;
        if (e->record->start_error)
                return task_fail(task, PPP_REASON_COMMAND_START, e->record->start_error);
        if (task_group_oom_killed(&e->group, task->worker->runner, &blame)) {
                if (blame == PPP_OOM_TASK)
                        raise_memory(task);
                return task_fail(task, PPP_REASON_OOM_KILLED, (int32_t)blame);
        }
        if (WIFSIGNALED(e->status))
                return task_fail(task, PPP_REASON_COMMAND_SIGNAL,
                                 WTERMSIG(e->status) |
                                         (WCOREDUMP(e->status) ? PPP_COMMAND_CORE : 0));
        return task_fail(task,
                         task_group_pids_met(&e->group) ? PPP_REASON_COMMAND_PIDS
                                                        : PPP_REASON_COMMAND_EXIT,
                         WEXITSTATUS(e->status));
}

static void finish(struct execution *e)
{
        task_group_remove(&e->group, e->task->worker);
        output_close(&e->output);
        template_free(e->arguments);
}

static int run(struct execution *e)
{
        follow(e);
        reap(e);
        end_rest(e);
        /*
         * The pipes have what was printed until now; a process that got away may hold them open. It
         * has ended in time, however long there is no room for it.
         */
        for (enum ppp_stream i = 0; i < _PPP_STREAM_N; ++i)
                take_output(e, i, UINT64_MAX);
        account(e);
        return judge(e);
}

int exec_run(struct ppp_task *task, const char *input, size_t n_input)
{
        const struct exec *exec = task->worker->runner->exec;
        struct execution e = {
                .task = task,
                .exec = exec,
                .record = &exec->tasks.records[task->index],
                .group = TASK_GROUP_NULL,
                .output = OUTPUT_NULL,
                .pidfd = -EBADF,
                .until_ns = task->deadline_ns ?: UINT64_MAX,
        };
        int r;

        ++e.record->attempts;
        e.record->known = e.record->left_behind = 0;
        e.record->start_error = 0;
        r = start(&e, input, n_input);
        if (r >= 0)
                r = run(&e);
        finish(&e);
        return r;
}
