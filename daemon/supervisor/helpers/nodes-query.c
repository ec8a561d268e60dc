#include "daemon/supervisor/helpers/nodes-query.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/supervisor/helpers/engine.h"
#include "lib/json-text.h"
#include "lib/runner-abi.h"

#define WAIT_USEC  UINT64_C(5000000) /* the runner itself takes three seconds at most */
#define ANSWER_MAX (UINT64_C(16) << 20)
#define WHY_MAX    1024

static void on_ended(struct child *child);

void nodes_query_init(struct nodes_query *query, struct engine *engine)
{
        static const struct child_ops ops = { .ended = on_ended };

        *query = (struct nodes_query)NODES_QUERY_NULL;
        query->engine = engine;
        list_init(&query->waiters);
        child_init(&query->child, engine->env.event, &ops, "the process that asks for nodes");
}

static void end(struct nodes_query *query)
{
        query->timer_source = sd_event_source_disable_unref(query->timer_source);
        child_clear(&query->child);
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

        why[MAX(n, (ssize_t)0)] = 0;
        why[strcspn(why, "\n")] = 0;
        if (strncmp(why, name, strlen(name)) == 0)
                memmove(why, why + strlen(name), strlen(why) - strlen(name) + 1);
        if (query->too_late)
                snprintf(why, WHY_MAX, "the Redis has not answered within five seconds");
        else if (query->child.start_attempted)
                snprintf(why, WHY_MAX, "cannot %s pppd-runner: %s", query->child.start_attempted,
                         strerror(-query->child.start_error));
        else if (!*why)
                snprintf(why, WHY_MAX, "pppd-runner " RUNNER_ARG_NODES " ended without an answer");
}

static void on_ended(struct child *child)
{
        struct nodes_query *query = container_of(child, struct nodes_query, child);
        json_t *json = NULL, *nodes;
        char why[WHY_MAX];

        if (child->status.si_code == CLD_EXITED && child->status.si_status == 0)
                json = read_answer(query->out_fd);
        read_why(query, why);
        end(query);
        nodes = json_object_get(json, "nodes");
        answer_all(query, json_is_array(nodes) ? nodes : NULL, why);
        json_decref(json);
}

static int on_too_late(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct nodes_query *query = userdata;

        query->too_late = true;
        child_kill(&query->child);
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

        return null_fd < 0 ? -errno : child_start(&query->child, &spawn, &attempted);
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
                r = sd_event_add_time_relative(event, &query->timer_source, CLOCK_MONOTONIC,
                                               WAIT_USEC, 1000, on_too_late, query);
        return r;
}

static void give_up(struct nodes_query *query)
{
        child_force(&query->child);
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

        if (!child_is_up(&query->child)) {
                r = start(query);
                if (r < 0) {
                        give_up(query);
                        return r;
                }
        }
        list_append(&query->waiters, &waiter->link);
        return 0;
}
