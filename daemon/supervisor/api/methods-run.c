#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/supervisor/api/admission.h"
#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/api/methods.h"
#include "daemon/supervisor/jobs/levels.h"
#include "daemon/supervisor/limits/limit-check.h"

/* Inputs of up to this many bytes are checked in the call's own turn, more by a child. */
#define INPUTS_AT_ONCE (256U << 10)

static void bad_inputs(struct peer *peer, uint64_t line, const char *why)
{
        peer_error(peer, INTERFACE_JOBS ".BadInputs",
                   json_pack("{s:I, s:s}", "input", (json_int_t)line, "why", why));
}

static void failed_errno(struct peer *peer, int error, const char *attempted)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        (void)fault_errno(&fault, error, failure_advice(error), "%s", attempted);
        methods_fail(peer, &fault);
}

static bool check_size(struct peer *peer, uint64_t size)
{
        _cleanup_free_ char *why = NULL;
        uint64_t max = peer->owner->jobs->config->inputs_size_max;

        if (size <= max)
                return true;
        if (asprintf(&why,
                     "they have %llu bytes, more than the %llu that this daemon accepts for one "
                     "job: split the list, or raise inputs_size_max in pppctl.conf",
                     (unsigned long long)size, (unsigned long long)max) < 0)
                why = NULL;
        bad_inputs(peer, 0, fault_text(why));
        return false;
}

/* Checks that the descriptor is a memfd that nobody can change or cut short while we read it. */
static bool check_sealed(struct peer *peer, int fd, uint64_t *ret_size)
{
        int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, seals;
        struct stat st;

        seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0 || fstat(fd, &st) < 0) {
                methods_refuse(peer, "input_fd", "the descriptor is not a memfd",
                               "put the inputs in one made by memfd_create(MFD_ALLOW_SEALING)");
                return false;
        }
        if ((seals & needed) != needed) {
                methods_refuse(peer, "input_fd",
                               "the memfd is not sealed against shrinking, growing and writing",
                               "seal it: fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | "
                               "F_SEAL_WRITE)");
                return false;
        }
        *ret_size = (uint64_t)st.st_size;
        return check_size(peer, (uint64_t)st.st_size);
}

static bool take_inputs_fd(struct peer *peer, const json_t *index, struct varlink_message *message,
                           int *ret_fd, uint64_t *ret_size)
{
        json_int_t i = json_is_integer(index) ? json_integer_value(index) : -1;
        _cleanup_close_ int fd = -EBADF;

        if (i >= 0 && i < VARLINK_FDS_MAX)
                fd = varlink_message_take_fd(message, (size_t)i);
        if (fd < 0) {
                methods_refuse(peer, "input_fd",
                               "no descriptor with this index came with the message",
                               "send the memfd along (SCM_RIGHTS), and its index, 0 for the first");
                return false;
        }
        if (!check_sealed(peer, fd, ret_size))
                return false;
        *ret_fd = steal_fd(&fd);
        return true;
}

/* Adds up the bytes of all strings with a newline each. Answers the call if one is not an input. */
static bool measure_list(struct peer *peer, const json_t *list, size_t *ret)
{
        const json_t *value;
        size_t i, n = 0;

        json_array_foreach(list, i, value) {
                if (!json_is_string(value)) {
                        methods_refuse(peer, "inputs", "one of them is not a string",
                                       "write numbers as strings too: \"1000\"");
                        return false;
                }
                if (memchr(json_string_value(value), '\n', json_string_length(value))) {
                        bad_inputs(peer, i + 1, "it contains a newline, but an input is one line");
                        return false;
                }
                n += json_string_length(value) + 1;
        }
        *ret = n;
        return check_size(peer, n);
}

/* Makes one text with each string of @list as a line. NULL: the call was answered. */
static char *join_list(struct peer *peer, const json_t *list, size_t *ret_n)
{
        const json_t *value;
        char *text, *at;
        size_t i;

        if (!json_is_array(list)) {
                methods_refuse(peer, "inputs", "it is not an array of strings",
                               "give one string for each task");
                return NULL;
        }
        if (!measure_list(peer, list, ret_n))
                return NULL;
        text = at = malloc(MAX(*ret_n, 1U));
        if (!text) {
                failed_errno(peer, -ENOMEM, "copy the inputs");
                return NULL;
        }
        json_array_foreach(list, i, value) {
                at = mempcpy(at, json_string_value(value), json_string_length(value));
                *at++ = '\n';
        }
        return text;
}

static const json_t *get(const json_t *parameters, const char *name)
{
        const json_t *value = json_object_get(parameters, name);

        return json_is_null(value) ? NULL : value;
}

static bool read_on_disconnect(struct peer *peer, const json_t *parameters, bool *ret_cancel)
{
        const json_t *value = get(parameters, "on_disconnect");
        const char *text = value ? json_string_value(value) : "continue";

        if (!text || (!streq(text, "continue") && !streq(text, "cancel"))) {
                methods_refuse(peer, "on_disconnect", "it is neither \"continue\" nor \"cancel\"",
                               "leave it out, or give one of the two");
                return false;
        }
        *ret_cancel = streq(text, "cancel");
        return true;
}

static bool read_spec(struct peer *peer, const json_t *parameters, struct spec *ret)
{
        json_t *json = json_object_get(parameters, "spec");
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        if (!json) {
                methods_refuse(
                        peer, "spec", "it is missing",
                        "give what to run and how: {\"workload\": \"sum\", \"level\": \"serial\"}");
                return false;
        }
        r = spec_from_json(json, ret, &fault);
        if (r == -EBADMSG)
                methods_refuse(peer, fault.field, fault.why, fault.advice);
        else if (r < 0)
                failed_errno(peer, r, "read the spec");
        return r >= 0;
}

/* A wrong file would otherwise make each task fail, and a FIFO would make it wait for ever. */
static bool check_ca_file(struct peer *peer, const struct spec *spec)
{
        struct stat st;
        const char *why;

        if (!spec->ca_file)
                return true;
        if (stat(spec->ca_file, &st) < 0 || access(spec->ca_file, R_OK) < 0)
                why = strerror(errno);
        else if (!S_ISREG(st.st_mode))
                why = "it is not a regular file";
        else
                return true;
        methods_refuse(peer, "spec.ca_file", why,
                       "name a PEM file of certificates that the daemon may read");
        return false;
}

/* Whether the client was in the group when it connected: SO_PEERCRED and SO_PEERGROUPS (4.13). */
static bool is_in_group(const struct peer *peer, gid_t group)
{
        _cleanup_free_ gid_t *groups = NULL;
        struct ucred credentials;
        socklen_t size = sizeof(credentials);

        if (getsockopt(peer->varlink.fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) >= 0 &&
            credentials.gid == group)
                return true;
        size = 0;
        if (getsockopt(peer->varlink.fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) >= 0 ||
            errno != ERANGE)
                return false;
        groups = malloc(size);
        if (!groups || getsockopt(peer->varlink.fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
                return false;
        for (size_t i = 0; i < size / sizeof(*groups); ++i)
                if (groups[i] == group)
                        return true;
        return false;
}

/*
 * A command runs as the daemon's user: for that user nothing is gained by it, and others need to be
 * let.
 */
static bool check_command(struct peer *peer, const struct spec *spec)
{
        const struct config *config = peer->owner->jobs->config;
        bool lets_some = config->exec_group >= 0;

        if (!spec->command.words || peer->uid == geteuid())
                return true;
        if (lets_some && (peer->uid == 0 || is_in_group(peer, (gid_t)config->exec_group)))
                return true;
        methods_refuse(peer, "spec.workload",
                       lets_some ? "you are not in the group whose members may run commands here"
                                 : "this daemon runs no commands of its users",
                       "take your own pppd (systemctl --user start pppd, pppctl --user run), whose "
                       "commands run as you; or have the administrator name a group of yours in "
                       "pppctl.conf: [exec] allow = GROUP");
        return false;
}

static bool check_level(struct peer *peer, const struct spec *spec)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (level_is_available(spec->level, peer->owner->jobs->env.engine, &fault))
                return true;
        peer_error(peer, INTERFACE_JOBS ".LevelUnavailable",
                   json_pack("{s:s, s:s, s:s}", "level", level_name(spec->level), "why", fault.why,
                             "hint", fault.advice));
        return false;
}

static bool check_limits(struct peer *peer, const struct spec *spec)
{
        const struct job_env *env = &peer->owner->jobs->env;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        r = limit_check(spec, env->groups, env->host, &fault);
        if (r == -EDOM)
                methods_refuse(peer, fault.field, fault.why, fault.advice);
        else if (r < 0)
                methods_fail(peer, &fault);
        return r >= 0;
}

bool methods_check_spec(struct peer *peer, const struct spec *spec)
{
        return check_level(peer, spec) && check_command(peer, spec) && check_ca_file(peer, spec) &&
               check_limits(peer, spec);
}

static void queue_full(struct peer *peer, int e)
{
        uint64_t limit = jobs_queue_limit(peer->owner->jobs, e);
        _cleanup_free_ char *why = NULL;

        int r;

        if (limit == 0)
                r = asprintf(&why, "max_running jobs are running, and none may wait "
                                   "(max_queued = 0); try again when one has ended");
        else
                r = asprintf(&why, "%llu job%s%s wait%s already; try again when some have ended",
                             (unsigned long long)limit, plural(limit),
                             e == JOBS_E_FULL_USER ? " of yours" : "", limit == 1 ? "s" : "");
        if (r < 0)
                why = NULL;
        peer_error(peer, INTERFACE_JOBS ".QueueFull",
                   json_pack("{s:I, s:s}", "limit", (json_int_t)limit, "why", fault_text(why)));
}

static void submit(struct peer *peer, struct submission *submission, bool cancel_on_disconnect)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct job *job;
        int r;

        r = jobs_submit(peer->owner->jobs, submission, &job, &fault);
        if (r < 0) {
                methods_fail(peer, &fault);
        } else if (r > 0) {
                queue_full(peer, r);
        } else {
                if (cancel_on_disconnect)
                        list_append(&peer->ties, &job->tie);
                peer_reply(peer, json_pack("{s:I}", "job", (json_int_t)job->record.number), false,
                           NULL, 0);
        }
}

bool methods_check_admits(struct peer *peer)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (!peer->owner->jobs->draining)
                return true;
        (void)fault_why(&fault, -ESHUTDOWN, "the daemon is stopping",
                        "try again when it has been started", "admit a job");
        methods_fail(peer, &fault);
        return false;
}

void methods_run_admitted(struct peer *peer, struct submission *submission,
                          struct incoming *incoming, bool cancel_on_disconnect, int r,
                          const struct input_error *error)
{
        if (r == -EBADMSG) {
                bad_inputs(peer, error->line, error->why);
                return;
        }
        if (r < 0) {
                failed_errno(peer, r, "copy the inputs into the state directory");
                return;
        }
        if (!methods_check_admits(peer))
                return;
        spec_fill(&submission->spec, peer->owner->jobs->env.host->n_cpus, incoming->n_tasks);
        submission->incoming = incoming;
        submit(peer, submission, cancel_on_disconnect);
}

bool methods_check_room(struct peer *peer)
{
        int r = jobs_may_submit(peer->owner->jobs, peer->uid);

        if (r < 0)
                failed_errno(peer, r, "admit a job");
        else if (r > 0)
                queue_full(peer, r);
        return r == 0;
}

/* The inputs came as a list of strings. */
static void run_list(struct peer *peer, const json_t *list, struct submission *submission,
                     struct incoming *incoming, bool cancel)
{
        struct input_error error = { 0, NULL };
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        text = join_list(peer, list, &n);
        if (!text)
                return;
        r = incoming_copy_text(incoming, text, n, &error);
        methods_run_admitted(peer, submission, incoming, cancel, r, &error);
}

/* The inputs came as a memfd. */
static void run_fd(struct peer *peer, const json_t *index, struct varlink_message *message,
                   struct submission *submission, struct incoming *incoming, bool cancel)
{
        struct input_error error = { 0, NULL };
        _cleanup_close_ int fd = -EBADF;
        uint64_t size;
        int r;

        if (!take_inputs_fd(peer, index, message, &fd, &size))
                return;
        if (size > INPUTS_AT_ONCE) {
                r = admission_begin(peer, submission, incoming, &fd, cancel);
                if (r < 0)
                        failed_errno(peer, r, "copy the inputs into the state directory");
                return;
        }
        r = incoming_copy(incoming, fd, &error);
        methods_run_admitted(peer, submission, incoming, cancel, r, &error);
}

static void run_inputs(struct peer *peer, const json_t *parameters, struct varlink_message *message,
                       struct submission *submission, bool cancel)
{
        const json_t *index = get(parameters, "input_fd"), *list = get(parameters, "inputs");
        _cleanup_(incoming_deinit) struct incoming incoming = INCOMING_NULL;
        int r;

        if (!index == !list) {
                methods_refuse(peer, index ? "inputs" : "input_fd",
                               index ? "both input_fd and inputs are given"
                                     : "neither input_fd nor inputs is given",
                               "give one of the two");
                return;
        }
        r = incoming_open(peer->owner->jobs->env.trash, &incoming);
        if (r < 0)
                failed_errno(peer, r, "make a file for the inputs in the state directory");
        else if (list)
                run_list(peer, list, submission, &incoming, cancel);
        else
                run_fd(peer, index, message, submission, &incoming, cancel);
}

void method_run_job(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        static const char *const names[] = { "spec", "input_fd", "inputs", "on_disconnect", NULL };
        struct submission submission = { .owner = peer->uid,
                                         .submitted_ns = now_monotonic(),
                                         .spec = SPEC_NULL };
        bool cancel;

        if (!methods_check_admits(peer) || !methods_check_names(peer, parameters, names))
                return;
        if (read_spec(peer, parameters, &submission.spec) &&
            methods_check_spec(peer, &submission.spec) &&
            read_on_disconnect(peer, parameters, &cancel) && methods_check_room(peer))
                run_inputs(peer, parameters, message, &submission, cancel);
        spec_deinit(&submission.spec);
}
