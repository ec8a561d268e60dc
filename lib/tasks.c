#include "lib/tasks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/results.h"

/* Chunks begin after it. */
static const char output_head[16] = PPP_OUTPUT_MAGIC;

uint64_t tasks_size(uint64_t n_tasks)
{
        return PPP_TASKS_HEADER_SIZE + n_tasks * sizeof(struct ppp_task_record);
}

static int write_head(int fd, const void *head, size_t n)
{
        ssize_t l = pwrite(fd, head, n, 0);

        return l == (ssize_t)n ? 0 : l < 0 ? -errno : -ENOSPC;
}

int tasks_create(int fd, uint64_t n_tasks)
{
        struct ppp_tasks_header header = {
                .version = PPP_TASKS_VERSION,
                .header_size = PPP_TASKS_HEADER_SIZE,
                .record_size = sizeof(struct ppp_task_record),
                .n_tasks = n_tasks,
                .output_end = sizeof(output_head),
        };

        assert(n_tasks > 0 && n_tasks <= RESULTS_MAX_TASKS);
        memcpy(header.magic, PPP_TASKS_MAGIC, sizeof(header.magic));
        if (ftruncate(fd, (off_t)tasks_size(n_tasks)) < 0)
                return -errno;
        return write_head(fd, &header, sizeof(header));
}

int task_output_create(int fd)
{
        return write_head(fd, output_head, sizeof(output_head));
}

int tasks_reserve(int fd, uint64_t n_tasks)
{
        return -posix_fallocate(fd, 0, (off_t)tasks_size(n_tasks));
}

static bool header_is_valid(const struct ppp_tasks_header *header, uint64_t size)
{
        return memcmp(header->magic, PPP_TASKS_MAGIC, sizeof(header->magic)) == 0 &&
               header->version == PPP_TASKS_VERSION &&
               header->header_size == PPP_TASKS_HEADER_SIZE &&
               header->record_size == sizeof(struct ppp_task_record) && header->n_tasks > 0 &&
               header->n_tasks <= RESULTS_MAX_TASKS && tasks_size(header->n_tasks) <= size;
}

int tasks_map(int fd, bool writable, struct tasks *ret)
{
        struct ppp_tasks_header header;
        struct stat st;
        uint64_t size;
        void *p;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
            !header_is_valid(&header, (uint64_t)st.st_size))
                return -EBADMSG;
        size = tasks_size(header.n_tasks);
        p = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        *ret = (struct tasks){
                .header = p,
                .records = (struct ppp_task_record *)((char *)p + PPP_TASKS_HEADER_SIZE),
                .n_tasks = header.n_tasks,
                .size = size,
        };
        return 0;
}

void tasks_unmap(struct tasks *tasks)
{
        if (tasks->header)
                munmap(tasks->header, tasks->size);
        *tasks = (struct tasks)TASKS_NULL;
}
