/* The sections [machines] and [node] of the configuration. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/supervisor/base/config-internal.h"
#include "lib/machines.h"

typedef int set_func(struct machines_config *machines, const char *value,
                     const struct place *place);

static int set_text(char **to, const char *value)
{
        char *copy = strdup(value);

        if (!copy)
                return -ENOMEM;
        free(*to);
        *to = copy;
        return 0;
}

static void forget(char **secret)
{
        if (*secret)
                explicit_bzero(*secret, strlen(*secret));
        free(*secret);
        *secret = NULL;
}

static int refuse_value(const struct place *place, const char *name, const struct fault *fault)
{
        _cleanup_free_ char *why = fault_sentence(fault);

        return config_refuse(place, "%s: %s", name, fault_text(why));
}

/* An empty value cancels one that an earlier file has set. */
static int set_redis(struct machines_config *machines, const char *value, const struct place *place)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct redis_url url = REDIS_URL_NULL;
        int r = 0;

        if (*value)
                r = redis_url_parse(value, &url, &fault);
        if (r == -EINVAL)
                return refuse_value(place, "redis", &fault);
        if (r < 0)
                return r;
        if (url.password && place->is_public) {
                redis_url_deinit(&url);
                return config_refuse(place, "redis has a password in it, and everybody may read "
                                            "this file: chmod o-r it, or put the password into a "
                                            "file of its own and name that file in password-file");
        }
        redis_url_deinit(&machines->url);
        machines->url = url;
        return 0;
}

/* The password is the first line of a file that other users may not read. */
static int set_password_file(struct machines_config *machines, const char *value,
                             const struct place *place)
{
        _cleanup_free_ char *text = NULL;
        struct stat st;
        int r;

        r = *value == '/' ? read_file_at(AT_FDCWD, value, &text, NULL) : -EINVAL;
        if (r >= 0 && stat(value, &st) < 0)
                r = -errno;
        if (r < 0)
                return config_refuse(place, "password-file: cannot read \"%s\": %s", value,
                                     r == -EINVAL ? "it is not an absolute path" : strerror(-r));
        text[strcspn(text, "\r\n")] = 0;
        forget(&machines->password);
        if (st.st_mode & S_IROTH)
                r = config_refuse(place, "password-file: everybody may read %s: chmod o-r it",
                                  value);
        else if (*text == 0)
                r = config_refuse(place, "password-file: the first line of %s is empty", value);
        else
                r = set_text(&machines->password, text);
        explicit_bzero(text, strlen(text));
        return r;
}

static int set_username(struct machines_config *machines, const char *value,
                        const struct place *place)
{
        return *value ? set_text(&machines->username, value)
                      : config_refuse(place, "username is empty: name a user of Redis' ACL");
}

static int set_ca_file(struct machines_config *machines, const char *value,
                       const struct place *place)
{
        if (*value != '/')
                return config_refuse(place, "ca-file takes an absolute path, not \"%s\"", value);
        if (access(value, R_OK) < 0)
                return config_refuse(place, "ca-file: cannot read %s: %s", value, strerror(errno));
        return set_text(&machines->ca_file, value);
}

static int set_name_like(char **to, const char *key, const char *value, const struct place *place)
{
        if (!machines_name_is_valid(value))
                return config_refuse(place,
                                     "%s takes 1 to %u printable characters without spaces, quotes "
                                     "and * ? [ ] \\, not \"%s\"",
                                     key, MACHINES_NAME_MAX, value);
        return set_text(to, value);
}

static int set_prefix(struct machines_config *machines, const char *value,
                      const struct place *place)
{
        return set_name_like(&machines->prefix, "prefix", value, place);
}

static int set_name(struct machines_config *machines, const char *value, const struct place *place)
{
        return set_name_like(&machines->name, "name", value, place);
}

static int set_heartbeat(struct machines_config *machines, const char *value,
                         const struct place *place)
{
        uint64_t ns;
        int r = parse_duration(value, &ns);

        if (r == -EINVAL)
                return config_refuse(
                        place,
                        "heartbeat takes a duration from 100ms to 1h, such as 5s, not \"%s\"",
                        value);
        if (r < 0 || ns < MACHINES_HEARTBEAT_MIN || ns > MACHINES_HEARTBEAT_MAX)
                return config_refuse(place, "heartbeat = %s is out of range: give 100ms to 1h",
                                     value);
        machines->heartbeat_ns = ns;
        return 0;
}

static int set_serve(struct machines_config *machines, const char *value, const struct place *place)
{
        if (!streq(value, "yes") && !streq(value, "no"))
                return config_refuse(place, "serve takes yes or no, not \"%s\"", value);
        machines->serve = streq(value, "yes");
        return 0;
}

static int set_workloads(struct machines_config *machines, const char *value,
                         const struct place *place)
{
        _cleanup_free_ char *copy = strdup(value);
        char *at = copy, *word, names[WORKLOAD_LIST_SIZE];
        unsigned set = 0;

        if (!copy)
                return -ENOMEM;
        while ((word = strsep(&at, " \t,"))) {
                enum workload_id id;

                if (*word == 0)
                        continue;
                if (workload_from_name(word, &id) < 0 || !(workloads_of_nodes() & WORKLOAD_BIT(id)))
                        return config_refuse(
                                place, "workloads: nodes have no workload \"%s\": give some of %s",
                                word, workload_list(workloads_of_nodes(), names));
                set |= WORKLOAD_BIT(id);
        }
        if (set == 0)
                return config_refuse(place, "workloads is empty: give some of %s",
                                     workload_list(workloads_of_nodes(), names));
        machines->workloads = set;
        return 0;
}

static int set_level(struct machines_config *machines, const char *value, const struct place *place)
{
        char names[LEVEL_LIST_SIZE];
        enum level level;

        if (level_from_name(value, &level) < 0 || !level_has(level, LEVEL_IN_NODES))
                return config_refuse(place, "level takes one of %s, not \"%s\"",
                                     level_list(levels_with(LEVEL_IN_NODES), names), value);
        machines->node.level = level;
        return 0;
}

static int set_count(const char *key, uint32_t max, uint32_t *to, const char *value,
                     const struct place *place)
{
        uint64_t v;

        if (parse_u64(value, strlen(value), max, &v) < 0 || v == 0)
                return config_refuse(place, "%s takes a number from 1 to %u, not \"%s\"", key, max,
                                     value);
        *to = (uint32_t)v;
        return 0;
}

static int set_workers(struct machines_config *machines, const char *value,
                       const struct place *place)
{
        return set_count("workers", SPEC_WORKERS_MAX, &machines->node.workers, value, place);
}

static int set_loops(struct machines_config *machines, const char *value, const struct place *place)
{
        return set_count("loops", SPEC_LOOPS_MAX, &machines->node.loops, value, place);
}

static int set_owners(struct machines_config *machines, const char *value,
                      const struct place *place)
{
        return set_count("owners", NODE_OWNERS_MAX, &machines->owners, value, place);
}

static const struct {
        const char *name;
        set_func *set;
} keys[] = {
        { "redis", set_redis },
        { "username", set_username },
        { "password-file", set_password_file },
        { "ca-file", set_ca_file },
        { "prefix", set_prefix },
        { "name", set_name },
        { "heartbeat", set_heartbeat },
        { "serve", set_serve },
        { "workloads", set_workloads },
        { "level", set_level },
        { "workers", set_workers },
        { "loops", set_loops },
        { "owners", set_owners },
};

/* [node] has the limits of `pppctl run` by the names of their options. */
static int set_limit(struct spec *node, const char *name, const char *value,
                     const struct place *place)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                bool of_worker = streq(name, limit_infos[i].worker_option);
                int r;

                if (!of_worker && !streq(name, limit_infos[i].option))
                        continue;
                r = limits_set_text(of_worker ? &node->worker_limits : &node->limits, i, value,
                                    &fault);
                return r == -EBADMSG ? refuse_value(place, name, &fault) : r;
        }
        return -ENOENT;
}

int config_machines_set(struct machines_config *machines, const char *section, const char *name,
                        const char *value, const struct place *place)
{
        if (streq(section, "node"))
                return set_limit(&machines->node, name, value, place);
        for (size_t i = 0; streq(section, "machines") && i < ARRAY_SIZE(keys); ++i)
                if (streq(name, keys[i].name))
                        return keys[i].set(machines, value, place);
        return -ENOENT;
}

void machines_config_defaults(struct machines_config *machines)
{
        *machines = (struct machines_config){
                .url = REDIS_URL_NULL,
                .heartbeat_ns = MACHINES_HEARTBEAT_NS,
                .workloads = workloads_of_nodes(),
                .owners = NODE_OWNERS_DEFAULT,
                .node = { .level = LEVEL_THREADS },
        };
}

void machines_config_deinit(struct machines_config *machines)
{
        redis_url_deinit(&machines->url);
        forget(&machines->password);
        free(machines->username);
        free(machines->ca_file);
        free(machines->prefix);
        free(machines->name);
        spec_deinit(&machines->node);
        machines_config_defaults(machines);
}

/*
 * Turns a member of a spec into the key that sets it: "spec.worker_limits.memory_max_bytes" into
 * "[node] worker-memory-max", "spec.workers" into "[machines] workers".
 */
static void name_field(const char *field, char *text, size_t size)
{
        const char *member = strrchr(field, '.') ? strrchr(field, '.') + 1 : field;

        for (enum limit i = 0; i < _LIMIT_N; ++i)
                if (streq(member, limit_infos[i].member)) {
                        snprintf(text, size, "[node] %s",
                                 strncmp(field, "spec.worker_limits.", 19) == 0
                                         ? limit_infos[i].worker_option
                                         : limit_infos[i].option);
                        return;
                }
        snprintf(text, size, "[machines] %s", member);
}

/* A node's options are those of a job, so the same code checks them. */
static int check_node(const struct machines_config *machines, struct fault *fault)
{
        struct spec spec = SPEC_NULL;
        json_t *json = spec_to_json(&machines->node);
        char field[96];
        int r;

        if (!json)
                return -ENOMEM;
        r = spec_from_json(json, &spec, fault);
        json_decref(json);
        spec_deinit(&spec);
        if (r >= 0)
                return 0;
        name_field(fault->field, field, sizeof(field));
        return fault_say(fault, r, fault->advice, "the configuration's %s: %s", field, fault->why);
}

/* Runners are given these texts in JSON, which must be UTF-8. NULL is fine. */
static bool is_utf8(const char *text)
{
        json_t *json = text ? json_string(text) : NULL;

        json_decref(json);
        return json || !text;
}

/*
 * In a URL any byte may be written with %, so the file itself may be valid UTF-8. Messages do not
 * quote the values, which may be secret.
 */
static int check_texts(const struct machines_config *machines, struct fault *fault)
{
        const struct redis_url *url = &machines->url;

        if (!is_utf8(url->username) || !is_utf8(url->password) || !is_utf8(url->path) ||
            !is_utf8(url->host))
                return fault_say(fault, -EBADMSG, NULL,
                                 "the configuration's redis is not UTF-8: write the URL in UTF-8");
        if (!is_utf8(machines->username) || !is_utf8(machines->password) ||
            !is_utf8(machines->ca_file))
                return fault_say(fault, -EBADMSG, NULL,
                                 "the configuration's username, ca-file or the content of its "
                                 "password-file is not UTF-8: write it in UTF-8");
        return 0;
}

int machines_config_check(const struct machines_config *machines, struct fault *fault)
{
        int r;

        r = check_texts(machines, fault);
        if (r < 0)
                return r;
        if (!machines_has_redis(machines)) {
                if (machines->serve)
                        return fault_say(fault, -EBADMSG, NULL,
                                         "the configuration's [machines] says serve = yes but not "
                                         "which Redis to use: give redis = URL too");
                if (machines->username || machines->password || machines->ca_file)
                        return fault_say(
                                fault, -EBADMSG, NULL,
                                "the configuration's [machines] has a username, password-file or "
                                "ca-file but no Redis to use it with: give redis = URL too");
        }
        if (machines->url.password && machines->password)
                return fault_say(
                        fault, -EBADMSG, NULL,
                        "the configuration's [machines] has a password both in redis and in "
                        "password-file: remove one of the two");
        if (machines->username && !machines->password && !machines->url.password)
                return fault_say(
                        fault, -EBADMSG, NULL,
                        "the configuration's [machines] has a username but no password: give "
                        "password-file = FILE too");
        if (machines->url.username && machines->username)
                return fault_say(fault, -EBADMSG, NULL,
                                 "the configuration's [machines] has a user both in redis and in "
                                 "username: remove one of the two");
        if (machines->ca_file && !machines->url.tls)
                return fault_say(fault, -EBADMSG, NULL,
                                 "the configuration's [machines] has a ca-file, but redis is not a "
                                 "rediss:// URL: make it one, or remove ca-file");
        return check_node(machines, fault);
}

static int own_name(char **ret)
{
        char name[MACHINES_NAME_MAX + 1];

        if (gethostname(name, sizeof(name)) < 0)
                return -errno;
        name[sizeof(name) - 1] = 0;
        *ret = strdup(machines_name_is_valid(name) ? name : "localhost");
        return *ret ? 0 : -ENOMEM;
}

static int put_text(json_t *json, const char *key, const char *text)
{
        return text ? json_object_set_new(json, key, json_string(text)) : 0;
}

json_t *machines_config_to_json(const struct machines_config *machines)
{
        _cleanup_free_ char *name = NULL, *url = redis_url_to_text(&machines->url);
        json_t *json;

        if (!url || (!machines->name && own_name(&name) < 0))
                return NULL;
        json = json_pack("{s:s, s:s, s:I, s:s}", "redis", url, "prefix",
                         machines->prefix ?: MACHINES_PREFIX, "heartbeat_ns",
                         (json_int_t)machines->heartbeat_ns, "name", machines->name ?: name);
        /* Not by json_pack()'s "s*", which leaves out as well what it finds no memory for. */
        if (!json || put_text(json, "username", machines->username ?: machines->url.username) < 0 ||
            put_text(json, "password", machines->password ?: machines->url.password) < 0 ||
            put_text(json, "ca_file", machines->ca_file) < 0) {
                json_decref(json);
                return NULL;
        }
        return json;
}
