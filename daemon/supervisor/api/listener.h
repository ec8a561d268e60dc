#pragma once

/*
 * The listening socket: systemd's (socket activation) or one of our own. It takes turns as a user
 * does, since whose connection is next is known only when it is accepted, and accepts for a
 * millisecond in each.
 *
 * When the process or the system is out of descriptors a connection can't be accepted, and stays
 * readable for ever. A spare descriptor is given up for a moment then, to tell that client, and the
 * listener rests until a peer has left.
 */

#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "daemon/supervisor/base/turns.h"
#include "lib/fault.h"

struct listener {
        int fd;
        int spare_fd;
        char *path;        /* that we bound and remove; NULL: systemd's socket */
        struct stat bound; /* what we bound it to */
        sd_event_source *source, *rest_source;
        struct turn turn;
        bool resting;
        /* Takes @fd. */
        void (*accepted)(struct listener *listener, int fd, const struct ucred *credentials);
};

#define LISTENER_NULL                            \
        {                                        \
                .fd = -EBADF, .spare_fd = -EBADF \
        }

/*
 * Listens on the socket systemd passed if it passed one (@path may be NULL then), or on @path. On
 * failure @fault tells, unless it was for want of memory.
 */
int listener_init(struct listener *listener, struct turns *turns, sd_event *event, const char *path,
                  void (*accepted)(struct listener *, int, const struct ucred *),
                  struct fault *fault);

/* Accepts no more, and removes the socket if we bound it. */
void listener_deinit(struct listener *listener);

/* A descriptor has become free: accept again, if it rested. */
void listener_wake(struct listener *listener);

/* Tells a connection why it is not taken, and closes it. */
void listener_turn_away(int fd_consumed, const char *why, const char *hint);
