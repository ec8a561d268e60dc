#pragma once

/*
 * Messages to systemd, by the protocol of sd_notify(3). We do not use the library's function: it
 * blocks while the other side does not read, and the event loop must not wait for that.
 */

#include "lib/util.h"

/*
 * Sends @text ("READY=1") to $NOTIFY_SOCKET; does nothing when that is not set. While the socket
 * has no room, an important message (@must) waits up to a second; any other is dropped with
 * -EAGAIN.
 */
int notify_send(const char *text, bool must);
