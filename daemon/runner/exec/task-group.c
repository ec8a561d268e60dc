#include "daemon/runner/exec/task-group.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "lib/cgroup.h"
#include "lib/job-groups.h"

#define NAME_SIZE 32

static const char *name_of(uint32_t number, char text[static NAME_SIZE])
{
        snprintf(text, NAME_SIZE, "task-%" PRIu32, number);
        return text;
}

uint64_t task_group_memory(const struct spec *spec, unsigned n_raised)
{
        uint64_t memory = spec->task_limits.values[LIMIT_MEMORY_MAX], max = UINT64_MAX;

        if (limits_enforces(&spec->limits, LIMIT_MEMORY_MAX))
                max = spec->limits.values[LIMIT_MEMORY_MAX];
        for (unsigned i = 0; i < n_raised && memory < max; ++i)
                if (__builtin_mul_overflow(memory, (uint64_t)spec->command.retry_memory, &memory))
                        memory = max;
        return MIN(memory, max);
}

static int limit(const struct task_group *group, const struct spec *spec, unsigned n_raised,
                 const char *name)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct spec raised = *spec; /* borrowed */
        int r;

        if (n_raised > 0)
                raised.task_limits.values[LIMIT_MEMORY_MAX] = task_group_memory(spec, n_raised);
        r = task_group_limit(group->fd, &raised, &fault);
        if (r < 0)
                log_error("cannot limit %s: %s: %s; %s", name, fault.field, fault.why,
                          fault.advice);
        return r;
}

int task_group_make(struct task_group *group, struct worker *worker, unsigned n_raised)
{
        static bool told;
        struct runner *runner = worker->runner;
        bool needed = runner->spec.task_limits.given != 0;
        char name[NAME_SIZE];
        int r;

        *group = (struct task_group)TASK_GROUP_NULL;
        if (runner->spec.command.no_group || runner->cgroup_fd < 0)
                return needed ? -ENOENT : 0;
        group->number = __atomic_fetch_add(&runner->n_task_groups, 1, __ATOMIC_RELAXED);
        /* First noted, then made: whoever buries the worker may find no group, but misses none. */
        worker_note(&worker->task_group, (uint64_t)group->number + 1);
        r = cgroup_make(runner->cgroup_fd, name_of(group->number, name), &group->fd);
        if (r < 0) {
                if (!__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
                        log_error("cannot make the cgroup %s: %s; %s; see cgroup.max.descendants "
                                  "of the groups above",
                                  name, strerrordesc_np(-r),
                                  needed ? "tasks fail, which need it for their limits"
                                         : "commands run without one, and what they leave behind "
                                           "is not counted");
                worker_note(&worker->task_group, 0);
                return needed ? r : 0;
        }
        r = limit(group, &runner->spec, n_raised, name);
        if (r < 0)
                task_group_remove(group, worker);
        return r;
}

void task_group_remove(struct task_group *group, struct worker *worker)
{
        char name[NAME_SIZE];

        if (group->fd < 0)
                return;
        group->fd = close_fd(group->fd);
        /* If it has a process in it after all, the supervisor ends that with the job. */
        (void)cgroup_remove(worker->runner->cgroup_fd, name_of(group->number, name));
        worker_note(&worker->task_group, 0);
}

void task_group_bury(struct worker *worker)
{
        uint64_t number = __atomic_load_n(&worker->task_group, __ATOMIC_ACQUIRE);
        _cleanup_close_ int fd = -EBADF;
        char name[NAME_SIZE];
        int r;

        if (worker->command > 0)
                (void)kill(-(pid_t)worker->command, SIGKILL);
        worker->command = 0;
        if (number == 0)
                return;
        fd = openat(worker->runner->cgroup_fd, name_of((uint32_t)(number - 1), name),
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = fd >= 0 ? cgroup_kill(fd) : 0;
        if (r < 0)
                log_error("cannot kill the processes that a command has left in %s: %s; they end "
                          "with the job",
                          name, strerrordesc_np(-r));
        worker->task_group = 0;
}

bool task_group_is_populated(const struct task_group *group)
{
        uint64_t populated;

        return group->fd >= 0 &&
               cgroup_read_keyed(group->fd, "cgroup.events", "populated", &populated) >= 0 &&
               populated;
}

/* Calls @each for each process of the group; they may come and go meanwhile. */
static void for_each_process(const struct task_group *group,
                             void (*each)(pid_t pid, void *userdata), void *userdata)
{
        _cleanup_free_ char *text = NULL;
        char *at, *line;

        if (group->fd < 0 || read_file_at(group->fd, "cgroup.procs", &text, NULL) < 0)
                return;
        at = text;
        while ((line = strsep(&at, "\n"))) {
                uint64_t pid;

                if (parse_u64(line, strlen(line), INT32_MAX, &pid) >= 0 && pid > 0)
                        each((pid_t)pid, userdata);
        }
}

static void count(pid_t pid, void *userdata)
{
        ++*(unsigned *)userdata;
}

unsigned task_group_count(const struct task_group *group)
{
        unsigned n = 0;

        for_each_process(group, count, &n);
        return n;
}

static void send_signal(pid_t pid, void *userdata)
{
        (void)kill(pid, *(const int *)userdata);
}

void task_group_signal(const struct task_group *group, int signal)
{
        for_each_process(group, send_signal, &signal);
}

static bool counts(int fd, const char *file, const char *key)
{
        uint64_t n;

        return fd >= 0 && cgroup_read_keyed(fd, file, key, &n) >= 0 && n > 0;
}

/* In memory.events.local a group counts what its own limit did, and not that of a group above
 * (5.2). */
bool task_group_oom_killed(const struct task_group *group, const struct runner *runner,
                           enum ppp_oom_blame *ret)
{
        if (!counts(group->fd, "memory.events", "oom_kill"))
                return false;
        if (counts(group->fd, "memory.events.local", "oom"))
                *ret = PPP_OOM_TASK;
        else
                *ret = counts(runner->cgroup_fd, "memory.events.local", "oom") ? PPP_OOM_JOB
                                                                               : PPP_OOM_UNKNOWN;
        return true;
}

bool task_group_pids_met(const struct task_group *group)
{
        return counts(group->fd, "pids.events", "max");
}

static void read_cpu(int fd, struct ppp_task_record *record)
{
        _cleanup_free_ char *text = NULL;

        if (read_file_at(fd, "cpu.stat", &text, NULL) >= 0 &&
            cgroup_find_keyed(text, "user_usec", &record->user_usec) >= 0 &&
            cgroup_find_keyed(text, "system_usec", &record->system_usec) >= 0)
                record->known |= PPP_USAGE_CPU;
}

/* The sum over all disks of "rbytes=…" and the like. */
static uint64_t add_up(const char *text, const char *key)
{
        uint64_t sum = 0, n;

        for (const char *at = text; (at = strstr(at, key));) {
                at += strlen(key);
                if (parse_u64(at, strspn(at, "0123456789"), UINT64_MAX, &n) >= 0)
                        sum += n;
        }
        return sum;
}

static void read_io(int fd, struct ppp_task_record *record)
{
        _cleanup_free_ char *text = NULL;

        if (read_file_at(fd, "io.stat", &text, NULL) < 0)
                return;
        record->read_bytes = add_up(text, "rbytes=");
        record->written_bytes = add_up(text, "wbytes=");
        record->known |= PPP_USAGE_IO;
}

void task_group_read(const struct task_group *group, struct ppp_task_record *record)
{
        static const struct {
                const char *file;
                enum ppp_usage bit;
                size_t offset;
        } pressures[] = {
                { "cpu.pressure", PPP_USAGE_PRESSURE_CPU,
                  offsetof(struct ppp_task_record, pressure_cpu_usec) },
                { "memory.pressure", PPP_USAGE_PRESSURE_MEMORY,
                  offsetof(struct ppp_task_record, pressure_memory_usec) },
                { "io.pressure", PPP_USAGE_PRESSURE_IO,
                  offsetof(struct ppp_task_record, pressure_io_usec) },
        };

        if (group->fd < 0)
                return;
        read_cpu(group->fd, record);
        if (cgroup_read_u64(group->fd, "memory.peak", &record->memory_peak_bytes) >= 0)
                record->known |= PPP_USAGE_MEMORY_PEAK;
        read_io(group->fd, record);
        for (size_t i = 0; i < ARRAY_SIZE(pressures); ++i)
                if (cgroup_read_pressure(group->fd, pressures[i].file, "some",
                                         (uint64_t *)((char *)record + pressures[i].offset)) >= 0)
                        record->known |= pressures[i].bit;
}
