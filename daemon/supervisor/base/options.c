#include "daemon/supervisor/base/options.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "daemon/supervisor/base/log.h"
#include "lib/proc.h"

#define SOCKET_NAME "io.pppctl.Jobs"

static const char help[] =
        "Usage: pppd-supervisor [OPTION...]\n"
        "\n"
        "Runs the jobs that pppctl submits. Stays in the foreground.\n"
        "\n"
        "  --socket PATH   listen on PATH (default: the socket that systemd passes, else\n"
        "                  /run/pppctl/io.pppctl.Jobs as root,\n"
        "                  $XDG_RUNTIME_DIR/pppctl/io.pppctl.Jobs as a user)\n"
        "  --state DIR     keep jobs in DIR (default: $STATE_DIRECTORY, else\n"
        "                  /var/lib/pppctl as root, $XDG_STATE_HOME/pppctl as a user)\n"
        "  --config FILE   read this file and FILE.d/*.conf (default: /etc/pppctl/pppctl.conf,\n"
        "                  then as a user $XDG_CONFIG_HOME/pppctl/pppctl.conf)\n"
        "  --cgroup PATH   put jobs below this group of the cgroup v2 file system (default: the\n"
        "                  group that systemd delegated, else a new one below our own)\n"
        "  --runner PATH   the runner (default: pppd-runner beside this program)\n"
        "  --web PATH      the demo server (default: pppd-web beside this program)\n"
        "  --check-config  only read the configuration; exit with 78 if it is wrong\n"
        "  --help          print this\n"
        "  --version       print the version\n"
        "\n"
        "SIGTERM stops it: running jobs are interrupted, and resumed at the next start.\n"
        "SIGHUP makes it read the configuration again.\n";

static int join(char **ret, const char *format, ...) _printf_(2, 3);

static int join(char **ret, const char *format, ...)
{
        va_list args;
        char *text;
        int r;

        va_start(args, format);
        r = vasprintf(&text, format, args);
        va_end(args);
        if (r < 0)
                return supervisor_log_oom();
        free(*ret);
        *ret = text;
        return 0;
}

/* The value of a variable; NULL if it is empty or not set. */
static const char *get_environment(const char *name)
{
        const char *value = getenv(name);

        return value && *value ? value : NULL;
}

/* systemd separates several directories with colons; the first is ours. */
static size_t first_length(const char *paths)
{
        return strcspn(paths, ":");
}

/* With a passed socket no path is needed. The listener checks whether that socket can be used. */
static bool is_socket_passed(void)
{
        return sd_listen_fds(0) != 0;
}

static int default_socket(struct options *options)
{
        const char *given = get_environment("RUNTIME_DIRECTORY");
        const char *user = get_environment("XDG_RUNTIME_DIR");

        if (given)
                return join(&options->socket, "%.*s/" SOCKET_NAME, (int)first_length(given), given);
        if (geteuid() == 0)
                return join(&options->socket, "/run/pppctl/" SOCKET_NAME);
        if (user)
                return join(&options->socket, "%s/pppctl/" SOCKET_NAME, user);
        supervisor_log(LOG_ERR, "cannot tell where to listen: systemd passed no socket, and "
                                "neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set; start "
                                "pppd.socket, or give --socket PATH");
        return -ENOENT;
}

/* Our directory below $@variable, or else below $HOME/@fallback. -ENOENT when neither is set. */
static int user_directory(char **ret, const char *variable, const char *fallback)
{
        const char *directory = get_environment(variable), *home = get_environment("HOME");

        if (directory)
                return join(ret, "%s/pppctl", directory);
        if (home)
                return join(ret, "%s/%s/pppctl", home, fallback);
        return -ENOENT;
}

static int default_state(struct options *options)
{
        const char *given = get_environment("STATE_DIRECTORY");
        int r;

        if (given)
                return join(&options->state, "%.*s", (int)first_length(given), given);
        if (geteuid() == 0)
                return join(&options->state, "/var/lib/pppctl");
        r = user_directory(&options->state, "XDG_STATE_HOME", ".local/state");
        if (r == -ENOENT)
                supervisor_log(LOG_ERR, "cannot tell where to keep jobs: neither XDG_STATE_HOME "
                                        "nor HOME is set; set one, or give --state DIR");
        return r;
}

int supervisor_config_files(char *ret[static CONFIG_FILES_MAX], size_t *ret_n)
{
        _cleanup_free_ char *directory = NULL;
        size_t n = 0;
        int r;

        ret[0] = ret[1] = NULL;
        r = join(&ret[n++], "/etc/pppctl/pppctl.conf");
        if (r < 0)
                return r;
        if (geteuid() != 0 && !get_environment("STATE_DIRECTORY")) {
                r = user_directory(&directory, "XDG_CONFIG_HOME", ".config");
                if (r >= 0)
                        r = join(&ret[n++], "%s/pppctl.conf", directory);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        *ret_n = n;
        return 0;
}

/* The path of a program that was installed, or built, in the same directory as this one. */
static int beside(char **ret, const char *name)
{
        char path[PATH_MAX];
        ssize_t n;

        n = readlink("/proc/self/exe", path, sizeof(path) - 1);
        if (n < 0 || (size_t)n >= sizeof(path) - 1) {
                supervisor_log(LOG_ERR,
                               "cannot tell where %s is: /proc/self/exe cannot be read (%s); "
                               "give --runner PATH and --web PATH",
                               name, strerror(n < 0 ? errno : ENAMETOOLONG));
                return n < 0 ? -errno : -ENAMETOOLONG;
        }
        while (n > 0 && path[n - 1] != '/')
                --n;
        return join(ret, "%.*s%s", (int)n, path, name);
}

/* Runners are identified by their start time in /proc, so no job could be started without it. */
static int need_proc(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r = proc_check(&fault);

        if (r < 0)
                supervisor_log(LOG_ERR, "cannot start without /proc: %s; %s", fault.why,
                               fault.advice);
        return r;
}

static int fill_in(struct options *options)
{
        int r = need_proc();

        if (r < 0)
                return r;
        if (!options->socket && !is_socket_passed())
                r = default_socket(options);
        if (r >= 0 && !options->state)
                r = default_state(options);
        if (r >= 0 && !options->runner)
                r = beside(&options->runner, "pppd-runner");
        if (r >= 0 && !options->web)
                r = beside(&options->web, "pppd-web");
        return r;
}

enum {
        OPT_SOCKET = 256,
        OPT_STATE,
        OPT_CONFIG,
        OPT_CGROUP,
        OPT_RUNNER,
        OPT_WEB,
        OPT_CHECK_CONFIG,
        OPT_HELP,
        OPT_VERSION
};

static const struct option long_options[] = {
        { "socket", required_argument, NULL, OPT_SOCKET },
        { "state", required_argument, NULL, OPT_STATE },
        { "config", required_argument, NULL, OPT_CONFIG },
        { "cgroup", required_argument, NULL, OPT_CGROUP },
        { "runner", required_argument, NULL, OPT_RUNNER },
        { "web", required_argument, NULL, OPT_WEB },
        { "check-config", no_argument, NULL, OPT_CHECK_CONFIG },
        { "help", no_argument, NULL, OPT_HELP },
        { "version", no_argument, NULL, OPT_VERSION },
        { NULL, 0, NULL, 0 },
};

static char **option_target(struct options *options, int c)
{
        switch (c) {
        case OPT_SOCKET:
                return &options->socket;
        case OPT_STATE:
                return &options->state;
        case OPT_CONFIG:
                return &options->config;
        case OPT_CGROUP:
                return &options->cgroup;
        case OPT_RUNNER:
                return &options->runner;
        default:
                assert(c == OPT_WEB);
                return &options->web;
        }
}

static int usage(void)
{
        fprintf(stderr, "Try: pppd-supervisor --help\n");
        return -EINVAL;
}

static int answer(const char *text)
{
        return fputs(text, stdout) < 0 || fflush(stdout) < 0 ? -errno : 1;
}

int supervisor_options_parse(struct options *options, int argc, char **argv)
{
        int c, r;

        while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
                if (c == OPT_HELP)
                        return answer(help);
                if (c == OPT_VERSION)
                        return answer("pppd-supervisor " PPPCTL_VERSION "\n");
                if (c == '?' || c == ':')
                        return usage();
                if (c == OPT_CHECK_CONFIG) {
                        options->check_config = true;
                        continue;
                }
                if (*optarg == 0) {
                        supervisor_log(LOG_ERR, "an option has an empty argument: give a path");
                        return usage();
                }
                r = join(option_target(options, c), "%s", optarg);
                if (r < 0)
                        return r;
        }
        if (optind < argc) {
                supervisor_log(LOG_ERR, "unexpected argument \"%s\": only options are allowed",
                               argv[optind]);
                return usage();
        }
        return options->check_config ? 0 : fill_in(options);
}

void supervisor_options_deinit(struct options *options)
{
        free(options->socket);
        free(options->state);
        free(options->config);
        free(options->cgroup);
        free(options->runner);
        free(options->web);
        *options = (struct options)OPTIONS_NULL;
}
