#pragma once

/*
 * The listening socket: systemd's (socket activation) or one of our own. It takes turns like a
 * user, since the user of the next connection is known only after it was accepted. In each turn it
 * accepts connections for a millisecond.
 *
 * When the process or the system runs out of descriptors, a connection cannot be accepted, and the
 * socket stays readable. Then a spare descriptor is given up for a moment to tell that client why,
 * and the listener rests until a peer has left or a second has passed.
 */

#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "daemon/supervisor/base/turns.h"
#include "lib/fault.h"

struct listener {
        int fd;
        int spare_fd;
        char *path;        /* of a socket that we have made and will remove; NULL: systemd's */
        struct stat bound; /* of the socket's file when we made it */
        sd_event_source *source, *rest_source;
        struct turn turn;
        bool resting;
        /* Called for each new connection; takes ownership of @fd. */
        void (*accepted)(struct listener *listener, int fd, const struct ucred *credentials);
};

#define LISTENER_NULL                            \
        {                                        \
                .fd = -EBADF, .spare_fd = -EBADF \
        }

/*
 * Listens on the socket that systemd has passed (@path may be NULL then), or else on @path. On
 * failure @fault says why, except when memory ran out.
 */
int listener_init(struct listener *listener, struct turns *turns, sd_event *event, const char *path,
                  void (*accepted)(struct listener *, int, const struct ucred *),
                  struct fault *fault);

/* Stops accepting connections, and removes the socket's file if we have made it. */
void listener_deinit(struct listener *listener);

/* Ends the listener's rest, because a descriptor has become free. */
void listener_wake(struct listener *listener);

/* Tells a client why its connection is refused, and closes it. */
void listener_turn_away(int fd_consumed, const char *why, const char *hint);
