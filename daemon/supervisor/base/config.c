#include "daemon/supervisor/base/config-internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/supervisor/base/log.h"
#include "lib/inputs.h"

enum kind { KIND_NUMBER, KIND_SIZE, KIND_DURATION };

/* All keys of the section [jobs]. pppctl.conf(5) documents their ranges. */
static const struct key {
        const char *section, *name;
        enum kind kind;
        size_t offset;
        uint64_t min, max, value;
} keys[] = {
        { "jobs", "max_running", KIND_NUMBER, offsetof(struct config, max_running), 1, 4096, 4 },
        { "jobs", "max_running_per_user", KIND_NUMBER,
          offsetof(struct config, max_running_per_user), 0, 4096, 0 },
        { "jobs", "max_queued", KIND_NUMBER, offsetof(struct config, max_queued), 0, 1000000,
          1000 },
        { "jobs", "max_queued_per_user", KIND_NUMBER, offsetof(struct config, max_queued_per_user),
          0, 1000000, 0 },
        { "jobs", "keep_jobs", KIND_NUMBER, offsetof(struct config, keep_jobs), 1, 1000000000,
          1000 },
        { "jobs", "keep_age", KIND_DURATION, offsetof(struct config, keep_age_ns), 0,
          UINT64_C(36500) * 86400 * NSEC_PER_SEC, UINT64_C(30) * 86400 * NSEC_PER_SEC },
        { "jobs", "max_size_per_user", KIND_SIZE, offsetof(struct config, max_size_per_user), 0,
          UINT64_C(1) << 60, 0 },
        { "jobs", "keep_free", KIND_SIZE, offsetof(struct config, keep_free), 0, UINT64_C(1) << 60,
          0 },
        { "jobs", "inputs_size_max", KIND_SIZE, offsetof(struct config, inputs_size_max), 1,
          INPUTS_SIZE_MAX, UINT64_C(256) << 20 },
};

static const char *const kind_texts[] = {
        [KIND_NUMBER] = "a number",
        [KIND_SIZE] = "a size such as 64M (suffix K, M or G)",
        [KIND_DURATION] = "a duration such as 90s, 12h or 30d",
};

static uint64_t *key_value(struct config *config, const struct key *key)
{
        return (uint64_t *)((char *)config + key->offset);
}

void config_defaults(struct config *config)
{
        for (size_t i = 0; i < ARRAY_SIZE(keys); ++i)
                *key_value(config, &keys[i]) = keys[i].value;
        config->exec_group = -1;
        machines_config_defaults(&config->machines);
}

void config_deinit(struct config *config)
{
        machines_config_deinit(&config->machines);
}

int config_refuse(const struct place *place, const char *format, ...)
{
        _cleanup_free_ char *why = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&why, format, args) < 0)
                why = NULL;
        va_end(args);
        return fault_say(place->fault, -EBADMSG, NULL, "%s:%u: %s", place->file, place->line,
                         fault_text(why));
}

static int parse_value(enum kind kind, const char *s, uint64_t *ret)
{
        switch (kind) {
        case KIND_NUMBER:
                return parse_u64(s, strlen(s), UINT64_MAX, ret);
        case KIND_SIZE:
                return parse_size(s, ret);
        case KIND_DURATION:
                return parse_duration(s, ret);
        }
        assert(false);
        return -EINVAL;
}

static int set_key(struct config *config, const struct key *key, const char *text,
                   const struct place *place)
{
        uint64_t value;
        int r;

        r = parse_value(key->kind, text, &value);
        if (r == -EINVAL)
                return config_refuse(place, "%s takes %s, not \"%s\"", key->name,
                                     kind_texts[key->kind], text);
        if (r == -ERANGE || value < key->min || value > key->max)
                return config_refuse(
                        place, "%s = %s is out of range: give at least %llu and at most %llu%s",
                        key->name, text,
                        (unsigned long long)(key->kind == KIND_DURATION ? key->min / NSEC_PER_SEC
                                                                        : key->min),
                        (unsigned long long)(key->kind == KIND_DURATION ? key->max / NSEC_PER_SEC
                                                                        : key->max),
                        key->kind == KIND_DURATION ? " seconds" : "");
        *key_value(config, key) = value;
        return 0;
}

/* The group is looked up once, here, since that may take long. Empty: nobody. */
static int set_exec_group(struct config *config, const char *value, const struct place *place)
{
        const struct group *group;

        config->exec_group = -1;
        if (!*value)
                return 0;
        group = getgrnam(value);
        if (!group)
                return config_refuse(place, "allow: there is no group \"%s\"; groupadd makes one",
                                     value);
        config->exec_group = group->gr_gid;
        return 0;
}

static bool known_section(const char *name)
{
        if (streq(name, "machines") || streq(name, "node") || streq(name, "exec"))
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(keys); ++i)
                if (streq(keys[i].section, name))
                        return true;
        return false;
}

static int assign(struct config *config, const char *section, const char *name, const char *value,
                  const struct place *place)
{
        int r;

        if (!section)
                return config_refuse(place, "%s comes before any section: put [jobs] above it",
                                     name);
        for (size_t i = 0; i < ARRAY_SIZE(keys); ++i)
                if (streq(keys[i].section, section) && streq(keys[i].name, name))
                        return set_key(config, &keys[i], value, place);
        if (streq(section, "exec") && streq(name, "allow"))
                return set_exec_group(config, value, place);
        r = config_machines_set(&config->machines, section, name, value, place);
        if (r != -ENOENT)
                return r;
        return config_refuse(place,
                             "unknown key \"%s\" in section [%s]: pppctl.conf(5) lists the keys",
                             name, section);
}

/* Cuts white space off both ends, in place. */
static char *trim(char *s)
{
        size_t n;

        s += strspn(s, " \t\r\f\v");
        n = strlen(s);
        while (n > 0 && strchr(" \t\r\f\v", s[n - 1]))
                s[--n] = 0;
        return s;
}

static int parse_section(char *line, char **section, const struct place *place)
{
        size_t n = strlen(line);

        if (line[n - 1] != ']')
                return config_refuse(place, "\"%s\" lacks the closing ] of a section", line);
        line[n - 1] = 0;
        if (!known_section(line + 1))
                return config_refuse(place,
                                     "unknown section [%s]: pppctl.conf(5) lists the sections",
                                     line + 1);
        *section = line + 1;
        return 0;
}

/* Parses one line, which ends with a NUL byte. *@section points into the file's text. */
static int parse_line(struct config *config, char *line, char **section, const struct place *place)
{
        char *equals;

        line = trim(line);
        if (*line == 0 || *line == '#' || *line == ';')
                return 0;
        if (*line == '[')
                return parse_section(line, section, place);
        equals = strchr(line, '=');
        if (!equals || equals == line)
                return config_refuse(place, "\"%s\" is neither a section nor KEY = VALUE", line);
        *equals = 0;
        return assign(config, *section, trim(line), trim(equals + 1), place);
}

int config_parse(struct config *config, const char *file, bool is_public, const char *text,
                 size_t n, struct fault *fault)
{
        struct place place = { file, 0, is_public, fault };
        _cleanup_free_ char *copy = NULL;
        char *section = NULL, *at, *line;
        int r;

        if (memchr(text, 0, n)) {
                place.line = 1;
                return config_refuse(&place, "the file contains a NUL byte: it is not text");
        }
        at = copy = strndup(text, n);
        if (!copy)
                return -ENOMEM;
        while ((line = strsep(&at, "\n"))) {
                ++place.line;
                r = parse_line(config, line, &section, &place);
                if (r < 0)
                        return r;
        }
        return 0;
}

/*
 * A directory that we may not even search, such as another user's home ($HOME may be left from
 * before a sudo), counts as one without a configuration for us.
 */
static bool is_out_of_reach(int error, const char *path)
{
        struct stat st;

        if (error != -EACCES || stat(path, &st) >= 0 || errno != EACCES)
                return false;
        supervisor_log(LOG_NOTICE,
                       "the configuration %s is left out: the daemon (user %u) may not look into "
                       "its directory; check that HOME or XDG_CONFIG_HOME is that user's",
                       path, geteuid());
        return true;
}

static int load_file(struct config *config, const char *path, bool required, struct fault *fault)
{
        _cleanup_free_ char *text = NULL;
        struct stat st;
        size_t n;
        int r;

        r = read_file_at(AT_FDCWD, path, &text, &n);
        if (!required && (r == -ENOENT || is_out_of_reach(r, path)))
                return 0;
        if (r >= 0 && stat(path, &st) < 0)
                r = -errno;
        if (r < 0)
                return fault_errno(fault, r, NULL, "read the configuration %s", path);
        r = config_parse(config, path, st.st_mode & S_IROTH, text, n, fault);
        explicit_bzero(text, n);
        return r;
}

static int is_fragment(const struct dirent *entry)
{
        size_t n = strlen(entry->d_name);

        return entry->d_name[0] != '.' && n > 5 && streq(entry->d_name + n - 5, ".conf");
}

static int load_fragments(struct config *config, const char *directory, bool required,
                          struct fault *fault)
{
        struct dirent **entries;
        int n, r = 0;

        n = scandir(directory, &entries, is_fragment, alphasort);
        if (n < 0)
                return errno == ENOENT || (!required && is_out_of_reach(-errno, directory))
                               ? 0
                               : fault_errno(fault, -errno, NULL, "list %s", directory);
        for (int i = 0; i < n; ++i) {
                _cleanup_free_ char *path = NULL;

                if (r >= 0 && asprintf(&path, "%s/%s", directory, entries[i]->d_name) < 0) {
                        path = NULL;
                        r = -ENOMEM;
                }
                if (r >= 0)
                        r = load_file(config, path, true, fault);
                free(entries[i]);
        }
        free(entries);
        return r;
}

int config_load(struct config *config, const char *path, bool required, struct fault *fault)
{
        _cleanup_free_ char *fragments = NULL;
        int r;
        if (asprintf(&fragments, "%s.d", path) < 0) {
                fragments = NULL;
                return -ENOMEM;
        }
        r = load_file(config, path, required, fault);
        return r < 0 ? r : load_fragments(config, fragments, required, fault);
}
