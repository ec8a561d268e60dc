/*
 * `pppctl doctor`: the features of a machine that pppd uses, whether they are there, and how to get
 * those that are not.
 */

#include "lib/doctor/doctor.h"

#include <pwd.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/table.h"
#include "cli/verbs.h"

#define SCHEMA "io.pppctl.doctor"

/* The checks, and the program that made them. */
struct diagnosis {
        json_t *checks; /* array; owned */
        bool has_daemon;
        char *socket;   /* of the daemon that answered; owned */
        unsigned works; /* bit set of enum level */
};

static void diagnosis_deinit(struct diagnosis *diagnosis)
{
        json_decref(diagnosis->checks);
        free(diagnosis->socket);
}

static const char *member(json_t *check, const char *name)
{
        return json_string_value(json_object_get(check, name)) ?: "";
}

/* It names no levels: they work as soon as there is a daemon. */
static json_t *socket_check(const char *status, const char *remedy, const char *detail)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:[]}", "group", "daemon", "name", "socket",
                         "status", status, "detail", detail, "remedy", remedy, "levels");
}

static const char *name_of(uid_t uid, char text[static 64])
{
        const struct passwd *user = getpwuid(uid);

        if (user)
                snprintf(text, 64, "%s", user->pw_name);
        else
                snprintf(text, 64, "the user %u", uid);
        return text;
}

/*
 * SO_PEERCRED names the user that made the socket: where the daemon is a service, that is
 * systemd's.
 */
static json_t *answered(const struct pppd *pppd, json_t *uid)
{
        char text[512], daemon[64], own[64];

        if (!json_is_integer(uid))
                return socket_check("yes", "", pppd->path);
        snprintf(text, sizeof(text), "%s, where the daemon is %s and you are %s", pppd->path,
                 name_of((uid_t)json_integer_value(uid), daemon), name_of(getuid(), own));
        return socket_check("yes", "", text);
}

static int add(struct diagnosis *diagnosis, json_t *check)
{
        return json_array_append_new(diagnosis->checks, check) < 0 ? cli_no_memory() : 0;
}

/* If a daemon cannot be asked, pppd_open() has said why on standard error. */
static int ask_daemon(const struct args *args, struct diagnosis *diagnosis)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        json_t *checks;
        int r;

        r = pppd_open(&pppd, args);
        if (r == 0)
                r = pppd_ask(&pppd, "ask what it finds on this machine", "Doctor", json_object(),
                             -EBADF, &reply);
        if (r)
                return r;
        checks = json_object_get(reply.parameters, "checks");
        if (!json_is_array(checks))
                return pppd_bad_reply(&pppd, "it has no array \"checks\"");
        diagnosis->checks = json_incref(checks);
        diagnosis->has_daemon = true;
        diagnosis->socket = strdup(pppd.path);
        return add(diagnosis, answered(&pppd, json_object_get(reply.parameters, "uid")));
}

static int look_for_ourselves(struct diagnosis *diagnosis)
{
        const struct doctor doctor = { .base = NULL };

        diagnosis->checks = doctor_look(&doctor);
        if (!diagnosis->checks)
                return cli_no_memory();
        return add(
                diagnosis,
                socket_check("no",
                             "start it with: systemctl start pppd, or systemctl --user start pppd",
                             "no daemon answers"));
}

static unsigned levels_of(json_t *check)
{
        unsigned set = 0;
        enum level level;
        json_t *name;
        size_t i;

        json_array_foreach(json_object_get(check, "levels"), i, name)
                if (json_is_string(name) && level_from_name(json_string_value(name), &level) >= 0)
                        set |= LEVEL_BIT(level);
        return set;
}

static void judge(struct diagnosis *diagnosis)
{
        json_t *check;
        size_t i;

        diagnosis->works = LEVELS_ALL;
        json_array_foreach(diagnosis->checks, i, check)
                if (streq(member(check, "status"), "no"))
                        diagnosis->works &= ~levels_of(check);
}

static int print_check(struct output *output, json_t *check, size_t room)
{
        _cleanup_free_ char *label = NULL, *remedy = NULL;

        if (asprintf(&label, "  %-20s %-7s ", member(check, "name"), member(check, "status")) < 0 ||
            asprintf(&remedy, "-> %s", member(check, "remedy")) < 0)
                return cli_no_memory();
        output_wrapped(output, label, strlen(label), member(check, "detail"), room);
        if (*member(check, "remedy"))
                output_wrapped(output, "", strlen(label), remedy, room);
        return 0;
}

static void print_levels(struct output *output, const struct diagnosis *diagnosis)
{
        output_text(output,
                    diagnosis->has_daemon ? "\nlevels\n" : "\nlevels, as soon as a daemon runs\n");
        for (enum level i = 0; i < _LEVEL_N; ++i)
                output_line(output, "  %-20s %s", level_name(i),
                            diagnosis->works >> i & 1 ? "yes" : "no");
}

static int print(struct output *output, const struct diagnosis *diagnosis)
{
        size_t room = table_room();
        int r = 0;
        const char *group = "";
        json_t *check;
        size_t i;

        if (diagnosis->has_daemon)
                output_line(output, "As pppd at %s finds it, which is what counts for its jobs:",
                            diagnosis->socket ?: "");
        else
                output_text(output, "As pppctl finds it, since no daemon answers:\n");
        json_array_foreach(diagnosis->checks, i, check) {
                if (!streq(group, member(check, "group")))
                        output_text(output, "\n"),
                                output_line(output, "%s", member(check, "group"));
                group = member(check, "group");
                r = print_check(output, check, room);
                if (r)
                        return r;
        }
        print_levels(output, diagnosis);
        return 0;
}

static int print_json(struct output *output, const struct diagnosis *diagnosis)
{
        json_t *levels = json_object(), *json;
        int r;

        for (enum level i = 0; i < _LEVEL_N; ++i)
                (void)json_object_set_new(levels, level_name(i),
                                          json_boolean(diagnosis->works >> i & 1));
        json = json_pack("{s:s, s:i, s:s, s:s*, s:o, s:O}", "schema", SCHEMA, "version", 1, "view",
                         diagnosis->has_daemon ? "daemon" : "own", "socket", diagnosis->socket,
                         "levels", levels, "checks", diagnosis->checks);
        r = json ? output_json(output, json, JSON_INDENT(2)) : cli_no_memory();
        json_decref(json);
        return r;
}

static int run(const struct args *args)
{
        _cleanup_(diagnosis_deinit) struct diagnosis diagnosis = { 0 };
        struct output output;
        int r = choose_nothing(args);

        if (r)
                return r;
        r = ask_daemon(args, &diagnosis);
        if (r == CLI_USAGE)
                return r;
        if (!diagnosis.checks)
                r = look_for_ourselves(&diagnosis);
        if (r)
                return r;
        judge(&diagnosis);
        output_init(&output, args_has(args, OPTION_JSON));
        if (output.json)
                r = print_json(&output, &diagnosis);
        else
                r = print(&output, &diagnosis);
        if (r == 0)
                r = output_finish(&output);
        if (r)
                return r;
        return diagnosis.has_daemon && diagnosis.works == LEVELS_ALL ? CLI_OK : CLI_FAILED;
}

const struct verb verb_doctor = {
        .name = "doctor",
        .synopsis = "",
        .what = "show what this machine lacks, and how to get it",
        .text = "Looks for each kernel feature, controller, limit and permission that pppd uses:\n"
                "whether it is there, why it is not, and after an arrow how to get it. The daemon\n"
                "looks, since what it finds counts for jobs; where none answers, pppctl does. The\n"
                "exit status is 0 when a daemon answers and all levels work, otherwise 1.",
        .examples = "  pppctl doctor\n"
                    "  pppctl doctor --json | jq -r '.checks[] | select(.status != \"yes\").name'",
        .options = OPTION_BIT(OPTION_JSON),
        .run = run,
};
