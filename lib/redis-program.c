#include "lib/redis-program.h"

#include <stdio.h>
#include <sys/stat.h>

static bool is_executable(const char *path)
{
        struct stat st;

        return stat(path, &st) >= 0 && S_ISREG(st.st_mode) && access(path, X_OK) >= 0;
}

static int find_in(const char *directory, size_t n, char **ret)
{
        static const char *const names[] = { "redis-server", "valkey-server" };

        for (size_t i = 0; n > 0 && i < ARRAY_SIZE(names); ++i) {
                char *path;

                if (asprintf(&path, "%.*s/%s", (int)n, directory, names[i]) < 0)
                        return -ENOMEM;
                if (is_executable(path)) {
                        *ret = path;
                        return 0;
                }
                free(path);
        }
        return -ENOENT;
}

int redis_program_find(char **ret)
{
        const char *path = getenv("PATH") ?: "/usr/local/bin:/usr/bin:/bin";
        int r = -ENOENT;

        for (size_t n; r == -ENOENT && *path; path += n + (path[n] == ':')) {
                n = strcspn(path, ":");
                r = find_in(path, n, ret);
        }
        return r;
}
