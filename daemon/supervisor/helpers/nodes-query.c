#include "daemon/supervisor/helpers/nodes-query.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "daemon/supervisor/child/child-exit.h"
#include "daemon/supervisor/child/spawn.h"
#include "daemon/supervisor/helpers/engine.h"
#include "lib/json-text.h"
#include "lib/runner-abi.h"

#define WAIT_USEC  UINT64_C(5000000) /* the runner itself takes three seconds at most */
#define ANSWER_MAX (UINT64_C(16) << 20)
#define WHY_MAX    1024

void nodes_query_init(struct nodes_query *query, struct engine *engine)
{
        *query = (struct nodes_query)NODES_QUERY_NULL;
        query->engine = engine;
        list_init(&query->waiters);
}

static void end(struct nodes_query *query)
{
        query->exit_source = sd_event_source_disable_unref(query->exit_source);
        query->timer_source = sd_event_source_disable_unref(query->timer_source);
        query->pidfd = close_fd(query->pidfd);
        query->complaint_fd = close_fd(query->complaint_fd);
        query->out_fd = close_fd(query->out_fd);
        query->err_fd = close_fd(query->err_fd);
}

static void answer_all(struct nodes_query *query, json_t *nodes, const char *why)
{
        struct nodes_waiter *waiter;

        list_for_each(waiter, &query->waiters, struct nodes_waiter, link) {
                list_remove(&waiter->link);
                waiter->answer(waiter, nodes, why);
        }
}

static json_t *read_answer(int fd)
{
        _cleanup_free_ char *text = NULL;
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0 || st.st_size <= 0 || (uint64_t)st.st_size > ANSWER_MAX)
                return NULL;
        text = malloc((size_t)st.st_size);
        n = text ? pread(fd, text, (size_t)st.st_size, 0) : -1;
        return n < 0 ? NULL : json_loadb(text, (size_t)n, 0, NULL);
}

/* The first line of what it said, without its name. */
static void read_why(struct nodes_query *query, char why[static WHY_MAX])
{
        static const char name[] = "pppd-runner: ";
        ssize_t n = pread(query->err_fd, why, WHY_MAX - 1, 0);
        const char *attempted;
        int r = spawn_hear(query->complaint_fd, &attempted);

        query->complaint_fd = -EBADF;

        why[MAX(n, (ssize_t)0)] = 0;
        why[strcspn(why, "\n")] = 0;
        if (strncmp(why, name, strlen(name)) == 0)
                memmove(why, why + strlen(name), strlen(why) - strlen(name) + 1);
        if (query->too_late)
                snprintf(why, WHY_MAX, "the Redis has not answered within five seconds");
        else if (r < 0)
                snprintf(why, WHY_MAX, "cannot %s pppd-runner: %s", attempted, strerror(-r));
        else if (!*why)
                snprintf(why, WHY_MAX, "pppd-runner " RUNNER_ARG_NODES " ended without an answer");
}

static int on_exit_of_runner(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct nodes_query *query = userdata;
        siginfo_t si = { 0 };
        char why[WHY_MAX];
        json_t *json = NULL, *nodes;

        if (child_exit_take(query->pidfd, &si, NULL) == -EAGAIN)
                return 0;
        if (si.si_code == CLD_EXITED && si.si_status == 0)
                json = read_answer(query->out_fd);
        read_why(query, why);
        end(query);
        nodes = json_object_get(json, "nodes");
        answer_all(query, json_is_array(nodes) ? nodes : NULL, why);
        json_decref(json);
        return 0;
}

static int on_too_late(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct nodes_query *query = userdata;

        query->too_late = true;
        (void)pidfd_send_signal(query->pidfd, SIGKILL, NULL, 0);
        return 0;
}

static int make_spec(const struct engine *engine, int *ret_fd)
{
        bool private = !machines_has_redis(engine->env.config);
        _cleanup_free_ char *text = NULL;
        json_t *json;
        int r;

        json = json_pack("{s:o}", "machines", engine_describe(engine, private, NULL));
        text = json ? json_text(json, JSON_COMPACT) : NULL;
        json_decref(json);
        if (!text)
                return -ENOMEM;
        r = memfd_sealed("pppd-spec", text, strlen(text), ret_fd);
        explicit_bzero(text, strlen(text));
        return r;
}

static int spawn_runner(struct nodes_query *query, int spec_fd)
{
        const struct engine_env *env = &query->engine->env;
        _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        char *argv[] = { (char *)"pppd-runner", (char *)RUNNER_ARG_NODES, NULL };
        struct spawn spawn = {
                .path = env->runner,
                .argv = argv,
                .envp = env->environment,
                .cgroup_fd = -EBADF,
                .fds = { null_fd, query->out_fd, query->err_fd, spec_fd },
                .n_fds = 4,
                .die_with_parent = true,
        };
        const char *attempted;
        struct spawned child;
        int r;

        r = null_fd < 0 ? -errno : spawn_child(&spawn, &child, &attempted);
        if (r < 0)
                return r;
        query->pidfd = child.pidfd;
        query->complaint_fd = child.complaint_fd;
        return 0;
}

static int start(struct nodes_query *query)
{
        sd_event *event = query->engine->env.event;
        _cleanup_close_ int spec_fd = -EBADF;
        int r;

        query->too_late = false;
        /* Files in memory: unlike a pipe, nobody has to read while it writes. */
        query->out_fd = memfd_create("pppd-nodes", MFD_CLOEXEC);
        query->err_fd = memfd_create("pppd-nodes-why", MFD_CLOEXEC);
        if (query->out_fd < 0 || query->err_fd < 0)
                return -errno;
        r = make_spec(query->engine, &spec_fd);
        if (r >= 0)
                r = spawn_runner(query, spec_fd);
        if (r >= 0)
                r = child_exit_watch(event, &query->exit_source, query->pidfd, on_exit_of_runner,
                                     query);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &query->timer_source, CLOCK_MONOTONIC,
                                               WAIT_USEC, 1000, on_too_late, query);
        return r;
}

static void give_up(struct nodes_query *query)
{
        if (query->pidfd >= 0)
                child_exit_force(query->pidfd);
        end(query);
}

void nodes_query_deinit(struct nodes_query *query)
{
        if (!query->engine)
                return;
        give_up(query);
        answer_all(query, NULL, "the daemon stops");
        *query = (struct nodes_query)NODES_QUERY_NULL;
}

int nodes_query_ask(struct nodes_query *query, struct nodes_waiter *waiter)
{
        int r;

        if (query->pidfd < 0) {
                r = start(query);
                if (r < 0) {
                        give_up(query);
                        return r;
                }
        }
        list_append(&query->waiters, &waiter->link);
        return 0;
}
