#include "daemon/supervisor/api/methods.h"

#include <stdio.h>

#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/jobs/space.h"

static void get_info(struct peer *peer, json_t *parameters, struct varlink_message *message)
{
        static const char *const names[] = { NULL };

        if (!methods_check_names(peer, parameters, names))
                return;
        peer_reply(peer,
                   json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "pppctl", "product",
                             "pppd", "version", PPPCTL_VERSION, "url", "man:pppd.service(8)",
                             "interfaces", INTERFACE_SERVICE, INTERFACE_JOBS),
                   false, NULL, 0);
}

static void get_interface_description(struct peer *peer, json_t *parameters,
                                      struct varlink_message *message)
{
        const char *name = json_string_value(json_object_get(parameters, "interface"));
        const char *description = name ? interface_description(name) : NULL;

        if (!name || json_object_size(parameters) != 1)
                peer_error(peer, "org.varlink.service.InvalidParameter",
                           json_pack("{s:s}", "parameter", "interface"));
        else if (!description)
                peer_error(peer, "org.varlink.service.InterfaceNotFound",
                           json_pack("{s:s}", "interface", name));
        else
                peer_reply(peer, json_pack("{s:s}", "description", description), false, NULL, 0);
}

static const struct {
        const char *name;
        method_run *run;
} methods[] = {
        { INTERFACE_SERVICE ".GetInfo", get_info },
        { INTERFACE_SERVICE ".GetInterfaceDescription", get_interface_description },
        { INTERFACE_JOBS ".Run", method_run_job },
        { INTERFACE_JOBS ".Wait", method_wait },
        { INTERFACE_JOBS ".List", method_list },
        { INTERFACE_JOBS ".Show", method_show },
        { INTERFACE_JOBS ".Results", method_results },
        { INTERFACE_JOBS ".Cancel", method_cancel },
        { INTERFACE_JOBS ".Pause", method_pause },
        { INTERFACE_JOBS ".Resume", method_resume },
        { INTERFACE_JOBS ".Rerun", method_rerun },
        { INTERFACE_JOBS ".Doctor", method_doctor },
        { INTERFACE_JOBS ".Metrics", method_metrics },
        { INTERFACE_JOBS ".Nodes", method_nodes },
};

void methods_refuse(struct peer *peer, const char *field, const char *why, const char *hint)
{
        peer_error(peer, INTERFACE_JOBS ".BadRequest",
                   json_pack("{s:s, s:s, s:s}", "field", field, "why", why, "hint", hint));
}

void methods_fail(struct peer *peer, const struct fault *fault)
{
        const char *advice = fault->advice ?: failure_advice(fault->error);

        if (space_is_short(fault))
                peer_error(peer, INTERFACE_JOBS ".NoSpace",
                           json_pack("{s:s, s:s}", "why", fault->why, "hint", advice));
        else if (fault->field)
                peer_error(peer, INTERFACE_JOBS ".LimitUnavailable",
                           json_pack("{s:s, s:s, s:s}", "limit", fault->field, "why", fault->why,
                                     "hint", advice));
        else
                peer_error(peer, INTERFACE_JOBS ".Failed",
                           json_pack("{s:s, s:s, s:s}", "attempted", fault->attempted, "why",
                                     fault->why, "hint", advice));
}

static bool is_among(const char *name, const char *const *names)
{
        for (; *names; ++names)
                if (streq(name, *names))
                        return true;
        return false;
}

bool methods_check_names(struct peer *peer, const json_t *parameters, const char *const *names)
{
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)parameters, key, value)
                if (!is_among(key, names)) {
                        methods_refuse(
                                peer, key, "the method has no such parameter",
                                "see the interface: varlinkctl introspect SOCKET " INTERFACE_JOBS);
                        return false;
                }
        return true;
}

static void invalid_parameter(struct peer *peer, const char *name)
{
        peer_error(peer, "org.varlink.service.InvalidParameter",
                   json_pack("{s:s}", "parameter", name));
}

/* Reads a flag of the call; without it *@ret is false. Returns false if it is not a boolean. */
static bool read_flag(const json_t *json, const char *name, bool *ret)
{
        const json_t *value = json_object_get(json, name);

        *ret = json_is_true(value);
        return !value || json_is_boolean(value);
}

/* Reads the members of a call beside its parameters. If one is wrong, answers the call and returns
 * false. */
static bool read_envelope(struct peer *peer, const json_t *json)
{
        static const char *const names[] = { "method", "parameters", "more",
                                             "oneway", "upgrade",    NULL };
        const json_t *parameters = json_object_get(json, "parameters");
        bool oneway, more, upgrade;
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)json, key, value)
                if (!is_among(key, names)) {
                        invalid_parameter(peer, key);
                        return false;
                }
        if (!json_is_string(json_object_get(json, "method")))
                key = "method";
        else if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
                key = "parameters";
        else if (!read_flag(json, "more", &more))
                key = "more";
        else if (!read_flag(json, "oneway", &oneway))
                key = "oneway";
        else if (!read_flag(json, "upgrade", &upgrade) || upgrade)
                key = "upgrade";
        else {
                peer->call.more = more;
                peer->call.oneway = oneway;
                return true;
        }
        invalid_parameter(peer, key);
        return false;
}

static void not_found(struct peer *peer, const char *method)
{
        const char *dot = strrchr(method, '.');
        _cleanup_free_ char *interface = NULL;

        if (!dot) {
                invalid_parameter(peer, "method");
                return;
        }
        interface = strndup(method, (size_t)(dot - method));
        if (interface && interface_description(interface))
                peer_error(peer, "org.varlink.service.MethodNotFound",
                           json_pack("{s:s}", "method", method));
        else
                peer_error(peer, "org.varlink.service.InterfaceNotFound",
                           json_pack("{s:s}", "interface", interface));
}

static void dispatch(struct peer *peer, struct varlink_message *message, json_t *parameters)
{
        const char *method = json_string_value(json_object_get(message->json, "method"));

        for (size_t i = 0; i < ARRAY_SIZE(methods); ++i)
                if (streq(methods[i].name, method)) {
                        event_loop_doing(methods[i].name);
                        methods[i].run(peer, parameters, message);
                        return;
                }
        not_found(peer, method);
}

void methods_dispatch(struct peer *peer, struct varlink_message *message)
{
        json_t *parameters;

        if (!read_envelope(peer, message->json))
                return;
        parameters = json_object_get(message->json, "parameters");
        parameters = json_is_object(parameters) ? json_incref(parameters) : json_object();
        if (parameters)
                dispatch(peer, message, parameters);
        else
                peer_reply(peer, NULL, false, NULL, 0);
        json_decref(parameters);
}

/* Copies the members of a spec that a list of jobs shows; the others may be of any length. */
static json_t *shorten_spec(const json_t *spec)
{
        static const char *const kept[] = { "workload", "level", "workers" };
        json_t *copy = json_object();

        for (size_t i = 0; copy && i < ARRAY_SIZE(kept); ++i) {
                json_t *value = json_object_get(spec, kept[i]);

                if (value && json_object_set(copy, kept[i], value) < 0) {
                        json_decref(copy);
                        return NULL;
                }
        }
        return copy;
}

json_t *methods_shorten(const json_t *parameters)
{
        const json_t *job = json_object_get(parameters, "job");
        json_t *copy, *shorter;

        if (!json_is_object(job))
                return NULL;
        copy = json_copy((json_t *)parameters);
        shorter = json_copy((json_t *)job);
        (void)json_object_del(shorter, "summary");
        if (!copy || !shorter ||
            json_object_set_new(shorter, "spec", shorten_spec(json_object_get(job, "spec"))) < 0 ||
            json_object_set_new(shorter, "omitted",
                                json_string("the summary and most of the spec: with them it would "
                                            "be longer than a message may be")) < 0 ||
            json_object_set(copy, "job", shorter) < 0) {
                json_decref(copy);
                copy = NULL;
        }
        json_decref(shorter);
        return copy;
}
