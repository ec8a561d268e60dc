#include "daemon/runner/exec/exec.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/template.h"

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

static const char *find_variable(char *const *environment, const char *name)
{
        size_t n = strlen(name);

        for (; *environment; ++environment)
                if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
                        return *environment + n + 1;
        return NULL;
}

/* An empty one means the directory that the command runs in. */
static int take_path_apart(struct exec *exec)
{
        size_t n = 1, i = 0;
        char *at, *word;

        exec->path = strdup(find_variable(exec->environment, "PATH") ?: PATH_DEFAULT);
        if (!exec->path)
                return -ENOMEM;
        for (at = exec->path; (at = strchr(at, ':')); ++at)
                ++n;
        exec->directories = calloc(n + 1, sizeof(*exec->directories));
        if (!exec->directories)
                return -ENOMEM;
        at = exec->path;
        while ((word = strsep(&at, ":")))
                exec->directories[i++] = *word ? word : ".";
        return 0;
}

/* After a power cut the header may be older than what was written. Nobody else writes yet. */
static int find_output_end(struct exec *exec)
{
        struct ppp_tasks_header *header = exec->tasks.header;
        struct stat st;

        if (fstat(exec->output_fd, &st) < 0)
                return -errno;
        header->output_end = MAX(header->output_end, (uint64_t)st.st_size);
        return 0;
}

static int open_files(struct exec *exec, const struct runner *runner, int tasks_fd)
{
        int r;

        exec->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (exec->null_fd < 0)
                return -errno;
        r = tasks_map(tasks_fd, true, &exec->tasks);
        if (r < 0)
                return r;
        if (exec->tasks.n_tasks != runner->results.n_tasks)
                return -EBADMSG;
        return find_output_end(exec);
}

int exec_new(struct runner *runner, int tasks_fd, int output_fd, struct exec **ret)
{
        const struct command *command = &runner->spec.command;
        struct exec *exec = calloc(1, sizeof(*exec));
        int r = -ENOMEM;

        if (exec) {
                *exec = (struct exec){
                        .command = command,
                        .output_fd = output_fd,
                        .null_fd = -EBADF,
                        .environment = command->environment ?: environ,
                        .adds_input = command->input == COMMAND_INPUT_ARGUMENT &&
                                      !template_has_input(command),
                };
                r = take_path_apart(exec);
                if (r >= 0)
                        r = open_files(exec, runner, tasks_fd);
        }
        if (r < 0) {
                log_error("cannot prepare to run commands: %s; submit the job again",
                          r == -EBADMSG ? "the job's file of tasks is none, or was cut short"
                                        : strerrordesc_np(-r));
                exec_free(exec);
                return r;
        }
        *ret = exec;
        return 0;
}

struct exec *exec_free(struct exec *exec)
{
        if (!exec)
                return NULL;
        tasks_unmap(&exec->tasks);
        close_fd(exec->null_fd);
        free(exec->directories);
        free(exec->path);
        free(exec);
        return NULL;
}
