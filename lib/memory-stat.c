#include "lib/memory-stat.h"

#include "lib/cgroup.h"

static const struct {
        const char *member, *key;
} fields[] = {
        { "anon_bytes", "anon" },     { "file_bytes", "file" },
        { "shmem_bytes", "shmem" },   { "kernel_stack_bytes", "kernel_stack" },
        { "slab_bytes", "slab" },     { "sock_bytes", "sock" },
        { "page_faults", "pgfault" }, { "page_faults_major", "pgmajfault" },
};

_Static_assert(ARRAY_SIZE(fields) == MEMORY_STAT_N, "a value each");

int memory_stat_read(int group_fd, struct memory_stat *ret)
{
        _cleanup_free_ char *text = NULL;
        struct memory_stat stat;
        bool any = false;
        int r;

        r = read_file_at(group_fd, "memory.stat", &text, NULL);
        if (r < 0)
                return r;
        for (size_t i = 0; i < MEMORY_STAT_N; ++i) {
                if (cgroup_find_keyed(text, fields[i].key, &stat.values[i]) >= 0)
                        any = true;
                else
                        stat.values[i] = UINT64_MAX;
        }
        if (!any)
                return -ENOENT;
        *ret = stat;
        return 0;
}

json_t *memory_stat_to_json(const struct memory_stat *stat)
{
        json_t *json = json_object();

        for (size_t i = 0; i < MEMORY_STAT_N; ++i)
                if (stat->values[i] != UINT64_MAX &&
                    json_object_set_new(json, fields[i].member,
                                        json_integer((json_int_t)stat->values[i])) < 0) {
                        json_decref(json);
                        return NULL;
                }
        return json;
}
