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
#define LOOKS_NS      (10 * NSEC_PER_MSEC)
#define LOOKS_MAX_NS  (10 * NSEC_PER_SEC)
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

/* One of pppd's own: its processes below it are of the same name. 0: there is none. */
static pid_t find_node(void)
{
        DIR *proc = opendir("/proc");
        pid_t found = 0;

        if (!proc)
                return 0;
        for (struct dirent *entry; found == 0 && (entry = readdir(proc));) {
                pid_t pid = atoi(entry->d_name);

                if (pid > 0 && is_node(pid) && !is_node(parent_of(pid)))
                        found = pid;
        }
        closedir(proc);
        return found;
}

/* Looks until the job has so many results, or has ended. */
static int await_results(struct talk *talk, uint64_t job, uint64_t n)
{
        const struct timespec look = { .tv_nsec = LOOKS_NS };
        uint64_t until = now_monotonic() + LOOKS_MAX_NS;
        uint64_t found = 0;
        int r = 0;

        while (r == 0 && found < n && now_monotonic() < until) {
                _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
                json_t *shown;

                r = pppd_ask(&talk->pppd, "look at the job", "Show", pppd_about_job(job), -EBADF,
                             &reply);
                if (r == 0)
                        r = pppd_reply_job(&talk->pppd, &reply, &shown);
                if (r == 0)
                        found = job_results(shown);
                if (r == 0 && found < n)
                        nanosleep(&look, NULL);
        }
        return r;
}

static int kill_a_node(struct talk *talk, uint64_t job)
{
        pid_t node;
        int r = await_results(talk, job, BEFORE_KILL);

        if (r)
                return r;
        node = find_node();
        if (node == 0)
                return talk_lacks(talk, "what the death of a node does: no node runs on this "
                                        "machine; see the processes in /proc");
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
        int r;

        if (!job)
                return talk_saw(talk, false, "the level machines, which cannot run here.");
        r = talk_fact(talk, "nodes", METRIC_COUNT, talk_number(talk, 0, "machines.nodes"),
                      "nodes that took part");
        if (r == 0)
                r = talk_fact(talk, "done", METRIC_COUNT, (double)job_count(job, "tasks_done"),
                              "tasks done");
        if (r == 0)
                r = talk_fact(talk, "duplicates", METRIC_COUNT,
                              talk_number(talk, 0, "machines.results_duplicate"),
                              "results that came twice, and were recorded once");
        if (r)
                return r;
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
