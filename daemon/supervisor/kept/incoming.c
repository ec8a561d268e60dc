#include "daemon/supervisor/kept/incoming.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define PREFIX ".incoming-"
#define PIECE  65536
#define DEMO   "\ndemo:"
#define DEMO_TAIL                                                                      \
        (sizeof(DEMO) - 2) /* bytes kept of the previous piece: a DEMO may begin there \
                            */

int incoming_open(struct trash *trash, struct incoming *ret)
{
        static uint64_t n;
        struct incoming incoming = { .trash = trash };

        snprintf(incoming.name, sizeof(incoming.name), PREFIX "%" PRIu64, n++);
        incoming.fd = openat(trash->dir_fd, incoming.name,
                             O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (incoming.fd < 0)
                return -errno;
        *ret = incoming;
        return 0;
}

void incoming_deinit(struct incoming *incoming)
{
        incoming->fd = close_fd(incoming->fd);
        if (incoming->name[0])
                (void)trash_put(incoming->trash, incoming->name);
        incoming->name[0] = 0;
}

struct copy {
        struct incoming *incoming;
        struct inputs_scan scan;
        char buffer[DEMO_TAIL + PIECE]; /* the end of the previous piece, then this piece */
};

static void copy_init(struct copy *copy, struct incoming *incoming)
{
        copy->incoming = incoming;
        copy->scan = (struct inputs_scan){ .size = 0 };
        /* So the first line, too, has a newline before it. */
        memset(copy->buffer, '\n', DEMO_TAIL);
}

/* Handles the @n bytes that were read into the buffer, after the tail of the previous piece. */
static int copy_piece(struct copy *copy, size_t n, struct input_error *error)
{
        struct incoming *incoming = copy->incoming;
        const char *piece = copy->buffer + DEMO_TAIL;
        int r;

        r = inputs_scan_feed(&copy->scan, piece, n, error);
        if (r < 0)
                return r;
        if (!incoming->uses_demo)
                incoming->uses_demo = memmem(copy->buffer, DEMO_TAIL + n, DEMO, strlen(DEMO));
        r = write_all(incoming->fd, piece, n);
        memmove(copy->buffer, copy->buffer + n, DEMO_TAIL);
        return r;
}

static int copy_end(struct copy *copy, struct input_error *error)
{
        copy->incoming->size = copy->scan.size;
        return inputs_scan_end(&copy->scan, &copy->incoming->n_tasks, error);
}

int incoming_copy(struct incoming *incoming, int fd, struct input_error *error)
{
        struct copy copy;
        ssize_t n;
        int r;

        copy_init(&copy, incoming);
        while ((n = pread(fd, copy.buffer + DEMO_TAIL, PIECE, (off_t)copy.scan.size)) > 0) {
                r = copy_piece(&copy, (size_t)n, error);
                if (r < 0)
                        return r;
        }
        return n < 0 ? -errno : copy_end(&copy, error);
}

int incoming_copy_text(struct incoming *incoming, const char *text, size_t n,
                       struct input_error *error)
{
        struct copy copy;
        int r;

        copy_init(&copy, incoming);
        for (size_t at = 0; at < n; at += PIECE) {
                size_t k = MIN(n - at, (size_t)PIECE);

                memcpy(copy.buffer + DEMO_TAIL, text + at, k);
                r = copy_piece(&copy, k, error);
                if (r < 0)
                        return r;
        }
        return copy_end(&copy, error);
}

int incoming_take(struct incoming *incoming, int dir_fd, const char *name)
{
        if (renameat(incoming->trash->dir_fd, incoming->name, dir_fd, name) < 0)
                return -errno;
        incoming->name[0] = 0;
        return 0;
}

bool incoming_is_left(const char *name)
{
        return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}
