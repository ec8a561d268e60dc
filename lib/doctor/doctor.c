#include "lib/doctor/check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define ASYNC    LEVEL_BIT(LEVEL_ASYNC)
#define MACHINES LEVEL_BIT(LEVEL_MACHINES)

static const struct check {
        const char *group, *name;
        unsigned levels; /* that do not work without it */
        check_look *look;
} checks[] = {
        { "kernel", "version", 0, check_kernel },
        { "kernel", "/proc", LEVELS_ALL, check_proc },
        { "kernel", "pidfd", LEVELS_ALL, check_pidfd },
        { "kernel", "pressure (PSI)", 0, check_psi },
        { "cgroups", "cgroup v2", 0, check_cgroup_mount },
        { "cgroups", "groups for jobs", 0, check_jobs_group },
        { "cgroups", "clone3 into a group", 0, check_clone },
        { "cgroups", "cgroup.kill", 0, check_cgroup_kill },
        { "cgroups", "cgroup.freeze", 0, check_cgroup_freeze },
        { "cgroups", "threaded groups", 0, check_threaded },
        { "limits", "cpu controller", 0, check_cpu },
        { "limits", "cpuset controller", 0, check_cpuset },
        { "limits", "memory controller", 0, check_memory },
        { "limits", "swap", 0, check_swap_max },
        { "limits", "pids controller", 0, check_pids },
        { "limits", "io controller", 0, check_io },
        { "limits", "io.max", 0, check_io_max },
        { "limits", "nice", 0, check_nice },
        { "accounting", "memory.peak", 0, check_memory_peak },
        { "accounting", "pids.peak", 0, check_pids_peak },
        { "io_uring", "allowed", ASYNC, check_uring },
        { "io_uring", "set-up", 0, check_uring_setup },
        { "io_uring", "MSG_RING", 0, check_uring_msg },
        { "io_uring", "WAITID", 0, check_uring_waitid },
        { "machines", "Redis client", MACHINES, check_redis_client },
        { "machines", "TLS to Redis", 0, check_redis_tls },
        { "machines", "redis-server", 0, check_redis_program },
        { "machines", "Redis", MACHINES, check_redis },
        { "process", "libcurl", 0, check_curl },
        { "process", "open files", 0, check_descriptors },
        { "process", "waiting jobs", 0, check_queue },
        { "process", "state directory", 0, check_state },
};

const char *check_status_name(enum check_status status)
{
        static const char *const names[_CHECK_STATUS_N] = { "yes", "partly", "no" };

        assert(status < _CHECK_STATUS_N);
        return names[status];
}

void finding_deinit(struct finding *finding)
{
        free(finding->detail);
        free(finding->remedy);
        finding->detail = finding->remedy = NULL;
}

void finding_set(struct finding *finding, enum check_status status, const char *remedy,
                 const char *detail, ...)
{
        va_list ap;
        finding_deinit(finding);
        va_start(ap, detail);
        if (vasprintf(&finding->detail, detail, ap) < 0)
                finding->detail = NULL;
        va_end(ap);
        finding->status = status;
        finding->remedy = status == CHECK_YES || !remedy ? NULL : strdup(remedy);
}
static int wait_for(pid_t pid, int *ret_signal)
{
        siginfo_t info = { 0 };

        while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0)
                if (errno != EINTR)
                        return -errno;
        if (info.si_code == CLD_EXITED)
                return 0;
        *ret_signal = info.si_status;
        return -ECHILD;
}

ssize_t check_in_child(void (*work)(int fd), void *ret, size_t size, int *ret_signal)
{
        _cleanup_close_ int read_fd = -EBADF, write_fd = -EBADF;
        int ends[2], r;
        pid_t pid, parent = getpid();
        ssize_t n;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        read_fd = ends[0];
        write_fd = ends[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(EXIT_FAILURE);
                /* No message of a library is to mix with the caller's output. */
                (void)dup2(write_fd, STDERR_FILENO);
                work(write_fd);
                _exit(EXIT_SUCCESS);
        }
        write_fd = close_fd(write_fd);
        n = read_all(read_fd, ret, size);
        r = wait_for(pid, ret_signal);
        return r < 0 ? r : n;
}

static int open_group(const char *path)
{
        int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;

        return fd < 0 ? -EBADF : fd;
}

static char *own_group(const char *mount, const char *own)
{
        char *path;

        return asprintf(&path, "%s%s", mount, streq(own, "/") ? "" : own) < 0 ? NULL : path;
}

#define TRY_NAME_SIZE 40

static void try_name(char name[static TRY_NAME_SIZE])
{
        snprintf(name, TRY_NAME_SIZE, DOCTOR_GROUP "%d", getpid());
}

static void admit(struct patient *patient, const struct doctor *doctor)
{
        _cleanup_free_ char *own = NULL;
        char name[TRY_NAME_SIZE];

        *patient = (struct patient){
                .doctor = doctor, .base_fd = -EBADF, .try_fd = -EBADF, .try_error = -ENOENT
        };
        if (cgroup_locate(&patient->mount, &own) < 0)
                return;
        if (!doctor->why_none)
                patient->base =
                        doctor->base ? strdup(doctor->base) : own_group(patient->mount, own);
        patient->base_fd = open_group(patient->base);
        if (patient->base_fd < 0)
                return;
        try_name(name);
        patient->try_error = cgroup_make(patient->base_fd, name, &patient->try_fd);
}

static void discharge(struct patient *patient)
{
        char name[TRY_NAME_SIZE];

        if (patient->try_fd >= 0) {
                patient->try_fd = close_fd(patient->try_fd);
                try_name(name);
                (void)cgroup_remove(patient->base_fd, name);
        }
        close_fd(patient->base_fd);
        free(patient->base);
        free(patient->mount);
}

static json_t *levels_to_json(unsigned levels)
{
        json_t *list = json_array();

        for (enum level i = 0; list && i < _LEVEL_N; ++i)
                if (levels & LEVEL_BIT(i) &&
                    json_array_append_new(list, json_string(level_name(i))) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static json_t *look(const struct patient *patient, const struct check *check)
{
        struct finding finding = { CHECK_NO, NULL, NULL };
        json_t *json;

        check->look(patient, &finding);
        json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "group", check->group, "name",
                         check->name, "status", check_status_name(finding.status), "detail",
                         finding.detail ?: "(out of memory)", "remedy", finding.remedy ?: "",
                         "levels", levels_to_json(check->levels));
        finding_deinit(&finding);
        return json;
}

json_t *doctor_look(const struct doctor *doctor)
{
        struct patient patient;
        json_t *list = json_array();

        admit(&patient, doctor);
        for (size_t i = 0; list && i < ARRAY_SIZE(checks); ++i)
                if (json_array_append_new(list, look(&patient, &checks[i])) < 0) {
                        json_decref(list);
                        list = NULL;
                }
        discharge(&patient);
        return list;
}
