#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "cli/say.h"
#include "cli/summary.h"
#include "cli/talk.h"
#include "cli/units.h"

#define TASKS         120
#define BEFORE_KILL   20 /* results that are there when the node is killed */
#define NODE_ARGUMENT "--node"

/* Reads the words of a process's command line, each with its NUL. False: it is gone. */
static bool read_command(pid_t pid, char *text, size_t size)
{
        char path[64];
        size_t n = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
        file = fopen(path, "re");
        if (!file)
                return false;
        n = fread(text, 1, size - 1, file);
        fclose(file);
        text[n] = 0;
        return n > 0;
}

static pid_t parent_of(pid_t pid)
{
        char path[64], line[128];
        int parent = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/status", pid);
        file = fopen(path, "re");
        if (!file)
                return 0;
        while (parent == 0 && fgets(line, sizeof(line), file))
                (void)sscanf(line, "PPid: %d", &parent);
        fclose(file);
        return parent;
}

static bool is_node(pid_t pid)
{
        char command[256];
        const char *name, *argument;

        if (!read_command(pid, command, sizeof(command)))
                return false;
        name = strrchr(command, '/');
        name = name ? name + 1 : command;
        argument = command + strlen(command) + 1;
        return streq(name, "pppd-runner") && argument < command + sizeof(command) &&
               streq(argument, NODE_ARGUMENT);
}

/* The daemon's process, or the one that made its socket for it: systemd. */
static pid_t peer_of(const struct talk *talk)
{
        struct ucred peer = { 0 };
        socklen_t n = sizeof(peer);

        if (getsockopt(talk->pppd.varlink.fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
                return 0;
        return peer.pid;
}

/*
 * A node that the process @daemon has started (a node's own processes are of the same name), or, if
 * it has started none, one of the only daemon that has. 0: there is none, or several daemons have,
 * and nothing tells which are ours.
 */
static pid_t find_node(pid_t daemon)
{
        DIR *proc = opendir("/proc");
        pid_t ours = 0, other = 0, other_daemon = 0;
        bool several = false;

        if (!proc)
                return 0;
        for (struct dirent *entry; ours == 0 && (entry = readdir(proc));) {
                pid_t pid = atoi(entry->d_name), parent;

                if (pid <= 0 || !is_node(pid))
                        continue;
                parent = parent_of(pid);
                if (is_node(parent))
                        continue;
                if (parent == daemon)
                        ours = pid;
                several = several || (other_daemon && parent != other_daemon);
                other_daemon = parent;
                other = pid;
        }
        closedir(proc);
        if (ours)
                return ours;
        return several ? 0 : other;
}

/*
 * Whether the nodes are those of the private Redis, which pppd calls local-1 and so on. Others
 * serve other machines, and are not ours to kill.
 */
static int are_private(struct talk *talk, bool *ret)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        int r = pppd_ask(&talk->pppd, "list the nodes", "Nodes", json_object(), -EBADF, &reply);
        json_t *node;
        size_t i;

        *ret = r == 0;
        if (r)
                return r;
        json_array_foreach(json_object_get(reply.parameters, "nodes"), i, node)
                if (strncmp(job_text(node, "name"), "local-", strlen("local-")) != 0)
                        *ret = false;
        return 0;
}

static bool is_at_work(json_t *job)
{
        static const char *const states[] = { "queued", "running", "paused" };
        json_t *spec = json_object_get(job, "spec");

        for (size_t i = 0; i < ARRAY_SIZE(states); ++i)
                if (streq(job_text(job, "state"), states[i]))
                        return streq(job_text(spec, "level"), level_name(LEVEL_MACHINES));
        return false;
}

/* How many jobs use the nodes. */
static int count_jobs(struct talk *talk, uint64_t *ret)
{
        bool continues = true;
        int r;

        *ret = 0;
        r = pppd_call(&talk->pppd, "list the jobs", "List", json_object(), true, -EBADF);
        while (r == 0 && continues) {
                _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;

                r = pppd_receive(&talk->pppd, &reply);
                if (r)
                        break;
                continues = reply.continues;
                *ret += is_at_work(json_object_get(reply.parameters, "job"));
        }
        return r;
}

/* Not to be killed: why; NULL: one may be. */
static int spare_nodes(struct talk *talk, const char **ret_why)
{
        uint64_t n_jobs = 0;
        bool private;
        int r = are_private(talk, &private);

        if (r == 0)
                r = count_jobs(talk, &n_jobs);
        *ret_why = !private ? "this pppd has a Redis of its configuration, whose nodes serve others"
                   : n_jobs > 1 ? "other jobs use the nodes at this moment; try again later"
                                : NULL;
        return r;
}

/* Waits until the job has @n results, or has ended. */
static int await_results(struct talk *talk, uint64_t job, uint64_t n)
{
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        bool continues = true;
        uint64_t found = 0;
        int r = pppd_open_again(&pppd, &talk->pppd);

        if (r == 0)
                r = pppd_call(&pppd, "wait for the job", "Wait", pppd_about_job(job), true, -EBADF);
        while (r == 0 && continues && found < n) {
                _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
                json_t *shown;

                r = pppd_receive(&pppd, &reply);
                if (r == 0)
                        r = pppd_reply_job(&pppd, &reply, &shown);
                if (r)
                        break;
                continues = reply.continues;
                found = job_results(shown);
        }
        return r;
}

static int kill_a_node(struct talk *talk, uint64_t job)
{
        const char *why = NULL;
        pid_t node;
        int r = await_results(talk, job, BEFORE_KILL);

        if (r == 0)
                r = spare_nodes(talk, &why);
        if (r)
                return r;
        if (why)
                return talk_lacks(talk, "what the death of a node does: %s", why);
        node = find_node(peer_of(talk));
        if (node == 0)
                return talk_lacks(talk, "what the death of a node does: which processes are this "
                                        "pppd's nodes is not plain from /proc");
        if (kill(node, SIGKILL) < 0)
                return talk_lacks(talk,
                                  "what the death of a node does: kill process %d: %s; run this as "
                                  "the user whose pppd it is",
                                  node, strerrordesc_np(errno));
        talk_line(talk, "$ kill -9 %d    # one of the two nodes, while it works", node);
        return 0;
}

static int tell_machines(struct talk *talk)
{
        json_t *job = talk->runs[0].outcome.job;
        char wall[UNITS_SIZE];
        bool holds;

        if (!job)
                return talk_saw(talk, false, "the level machines, which cannot run here.");
        talk_fact(talk, "nodes", METRIC_COUNT, talk_number(talk, 0, "machines.nodes"),
                  "nodes that took part");
        talk_fact(talk, "done", METRIC_COUNT, (double)job_count(job, "tasks_done"), "tasks done");
        talk_fact(talk, "duplicates", METRIC_COUNT,
                  talk_number(talk, 0, "machines.results_duplicate"),
                  "results that came twice, and were recorded once");
        holds = job_count(job, "tasks_done") == TASKS && json_array_size(talk->not_shown) == 0;
        return talk_saw(talk, holds,
                        holds ? "a node died at work and nothing was lost: what it had in hand was "
                                "done again. All %" PRIu64 " tasks were done in %s, each recorded "
                                "once."
                              : "that a node may die without a loss. %" PRIu64
                                " tasks were done in %s.",
                        job_count(job, "tasks_done"),
                        units_seconds(talk_number(talk, 0, "wall_seconds"), wall));
}

const struct talk_chapter talk_machines = {
        .name = "machines",
        .title = "Machines: scale, and survive",
        .text = "Several machines share one queue, here a Redis and two nodes that pppd starts for "
                "itself. Nothing scales further, and a machine may fail without the others. But "
                "now there is a network between the parts.",
        .commands = (const struct talk_command[]){ { .arguments = "run machines mix",
                                                     .inputs = { { "sleep=100ms", TASKS } },
                                                     .meanwhile = kill_a_node },
                                                   { .arguments = NULL } },
        .drawn = 1,
        .told = tell_machines,
};
