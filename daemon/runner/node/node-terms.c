/* The spec of a node (lib/runner-abi.h). */

#include <fcntl.h>
#include <sched.h>

#include "daemon/runner/node/node.h"
#include "lib/runner-abi.h"

static int refuse(const char *why)
{
        log_error("cannot serve as a node: %s", why);
        return -EBADMSG;
}

static int read_workloads(struct node_terms *terms, json_t *list)
{
        json_t *name;
        size_t i;

        json_array_foreach(list, i, name) {
                enum workload_id workload;

                if (!json_is_string(name) ||
                    workload_from_name(json_string_value(name), &workload) < 0)
                        return refuse("\"workloads\" names one that this version does not have");
                terms->workloads |= 1U << workload;
        }
        return terms->workloads ? 0 : refuse("\"workloads\" names none that it may run");
}

/* The part of a job's spec that a node has too. */
static int read_level(struct node_terms *terms, const char *level, json_int_t workers,
                      json_int_t loops, json_t *worker_limits)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        cpu_set_t cpus;
        unsigned n_cpus = 1;
        json_t *json;
        int r;

        json = json_pack("{s:s, s:s, s:o*, s:o*, s:O*}", "level", level, "workload", "words",
                         "workers", workers > 0 ? json_integer(workers) : NULL, "loops",
                         loops > 0 ? json_integer(loops) : NULL, "worker_limits", worker_limits);
        r = json ? spec_from_json(json, &terms->spec, &fault) : -ENOMEM;
        json_decref(json);
        if (r < 0) {
                log_error("cannot serve as a node: %s: %s", fault_text(fault.field),
                          fault_text(fault.why));
                return r;
        }
        if (!level_has(terms->spec.level, LEVEL_IN_NODES))
                return refuse("\"level\" is none of threads, processes and async");
        if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
                n_cpus = (unsigned)CPU_COUNT(&cpus);
        spec_fill(&terms->spec, n_cpus, UINT64_MAX);
        return 0;
}

static int read_owners(struct node_terms *terms, json_int_t owners, json_t *limits)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        if (owners < 1 || owners > NODE_OWNERS_MAX)
                return refuse("\"owners\" is no number of owners served at once");
        terms->owners_max = (unsigned)owners;
        r = limits ? limits_from_json(limits, "owner_limits", &terms->owner_limits, &fault) : 0;
        if (r == -EBADMSG)
                log_error("cannot serve as a node: %s: %s", fault.field, fault.why);
        return r;
}

static int read_node(struct node_terms *terms, json_t *json)
{
        json_t *machines, *workloads, *worker_limits = NULL, *owner_limits = NULL, *demo_url = NULL;
        json_int_t workers = 0, loops = 0, owners = NODE_OWNERS_DEFAULT;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        const char *level;
        int r;

        if (json_unpack_ex(json, NULL, JSON_STRICT,
                           "{s:{s:o, s:o, s:s, s?I, s?I, s?o, s?I, s?o}, s?o}", "node", "machines",
                           &machines, "workloads", &workloads, "level", &level, "workers", &workers,
                           "loops", &loops, "worker_limits", &worker_limits, "owners", &owners,
                           "owner_limits", &owner_limits, "demo_url", &demo_url) < 0)
                return refuse("its spec is not an object \"node\" of machines, workloads, level, "
                              "workers, loops, worker_limits, owners and owner_limits");
        r = machines_from_json(machines, &terms->machines, &fault);
        if (r < 0)
                return r == -EBADMSG ? refuse(fault.why) : r;
        r = read_workloads(terms, workloads);
        if (r >= 0)
                r = read_level(terms, level, workers, loops, worker_limits);
        if (r >= 0)
                r = read_owners(terms, owners, owner_limits);
        if (r >= 0 && json_is_string(demo_url) &&
            !(terms->demo_url = strdup(json_string_value(demo_url))))
                r = -ENOMEM;
        return r;
}

int runner_read_json(json_t **ret)
{
        _cleanup_free_ char *text = NULL;
        int r = read_file_at(AT_FDCWD, "/proc/self/fd/3" /* RUNNER_FD_SPEC */, &text, NULL);

        if (r < 0) {
                log_error("cannot read the spec: %s", strerrordesc_np(-r));
                return r;
        }
        *ret = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (!*ret) {
                log_error("cannot take the spec: it is no JSON");
                return -EBADMSG;
        }
        return 0;
}

int node_terms_read(struct node_terms *terms)
{
        json_t *json;
        int r;

        *terms = (struct node_terms){ .machines = MACHINES_NULL };
        r = runner_read_json(&json);
        if (r < 0)
                return r;
        r = read_node(terms, json);
        json_decref(json);
        return r;
}

void node_terms_deinit(struct node_terms *terms)
{
        machines_deinit(&terms->machines);
        spec_deinit(&terms->spec);
        limits_deinit(&terms->owner_limits);
        free(terms->demo_url);
}
